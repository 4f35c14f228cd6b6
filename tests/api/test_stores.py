"""A store and its runs from Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dregcli
from dregcli.api.frames import Frame, frame_of
from dregcli.cli.main import main
from dregcli.errors import RunNotFound, UsageError
from tests.support.cli import SMALL, typed
from tests.support.store_study import add_study


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two completed runs of different models, and one that was claimed and died; to be read only."""
    folder = tmp_path_factory.mktemp("stores") / "runs"
    more = ("--model", "linear-gaussian", "--binarisation", "none", "--likelihood", "gaussian")
    for name, words in {"a": SMALL, "b": (*SMALL[:6], *SMALL[8:], *more)}.items():
        words = ["train", *words, "--name", name, "--runs-dir", folder, "--final-eval", "test", "--quiet"]
        assert main(typed(*words)) == 0
    assert main(["runs", "tag", "a", "--add", "paper", "--runs-dir", str(folder)]) == 0
    (folder / "c/v001").mkdir(parents=True)
    return folder


def test_a_store_lists_its_runs(root: Path) -> None:
    store = dregcli.open_store(root)
    assert [run.name for run in store.runs()] == [run.name for run in store]
    assert sorted(run.name for run in store) == ["a/v001", "b/v001", "c/v001"]
    assert len(store) == 3
    for conditions, names in (
        ({"tag": "paper"}, ["a/v001"]),
        ({"tag": "other"}, []),
        ({"status": "crashed"}, ["c/v001"]),
        ({"dataset": "digits", "objective": "iwae", "estimator": "iwae/dreg"}, ["a/v001", "b/v001"]),
        ({"name": "b"}, ["b/v001"]),
    ):
        assert [run.name for run in store.runs(**conditions)] == names
        assert store.frame(**conditions)["run"] == names
    with pytest.raises(UsageError, match="no status 'done'"):
        store.runs(status="done")
    with pytest.raises(RunNotFound):
        store.runs("nothing")
    nothing = dregcli.open_store(root / "empty").frame()
    assert set(nothing) == set(store.frame()), "a table without rows has its columns"
    assert (nothing.rows, nothing["spec.k"], nothing["bound.test"]) == (0, [], [])
    assert str(root) in repr(store)


def test_a_frame_is_columns_that_pandas_takes(root: Path) -> None:
    frame = dregcli.open_store(root).frame()
    table = pd.DataFrame(frame).set_index("name")
    assert len(table) == frame.rows == 3
    run = dregcli.load_run("a", runs_dir=root)
    assert table.loc["a", "bound.test"] == run.summary["bound"]["test"]
    assert frame["bound.train"] == frame["bound.valid"] == [None] * 3, "only final bounds: of --final-eval test, one"
    assert run.metrics("valid")["bound"].size == 1
    assert list(table["spec.hidden"].fillna("-")) == ["16,8", "", "-"]
    assert table.loc["a", "tags"] == "paper"
    assert table["spec.k"].dropna().tolist() == [4, 4]
    for column in frame.values():
        assert len({type(value) for value in column if value is not None}) <= 1, "one type a column, as polars wants"
        assert all(value is None or isinstance(value, bool | int | float | str) for value in column)


def test_a_column_has_one_type() -> None:
    frame = frame_of([{"a": 1, "b": [1, 2], "c": "x"}, {"a": 2.5, "b": [[200, 200], [100]], "c": 3, "d": True}])
    assert frame == {"a": [1.0, 2.5], "b": ["1,2", "200,200/100"], "c": ["x", "3"], "d": [None, True]}
    assert repr(frame) == "<Frame of 2 rows: a, b, c, d>"


def test_notebooks_show_tables_without_markup_from_names(root: Path) -> None:
    frame = Frame({"<b>": ["<script>", None], "x": np.array([0.1234567891, np.nan])})
    assert frame._repr_html_() == (
        "<table><tr><th>&lt;b&gt;</th><th>x</th></tr>"
        "<tr><td>&lt;script&gt;</td><td>0.123457</td></tr><tr><td></td><td></td></tr></table>"
    )
    assert "<p>70 more rows</p>" in Frame({"x": list(range(100))})._repr_html_()
    store = dregcli.open_store(root)
    assert "<td>a/v001</td><td>completed</td><td>digits</td>" in store._repr_html_()
    assert "<tr><td>K</td><td>4</td></tr>" in store.load("a")._repr_html_()


def test_a_report_shows_the_groups(root: Path) -> None:
    report = dregcli.open_store(root).report("a", "b")
    html = report._repr_html_()
    assert html.count("<table>") == 2, "the two models see different pixels"
    bound = dregcli.load_run("a", runs_dir=root).summary["bound"]["test"]
    assert f"{bound:.2f}" in html
    frame = report.frame()
    assert sorted(frame["run"]) == ["a/v001", "b/v001"]
    assert len(pd.DataFrame(frame)) == 2
    assert len(report.as_json()["groups"]) == 2
    assert all(isinstance(each, str) for each in report.warnings)


def test_a_report_says_what_it_left_out_and_what_its_labels_mean(tmp_path: Path) -> None:
    words = ("dreg-cv:alpha=0.1717,beta=0.25", "dreg-cv:alpha=0.3,beta=0.25")
    *_, damaged = add_study(tmp_path, estimators=dict.fromkeys(words, -90.0), seeds=range(2))
    (damaged.path / "run.json").write_text("{")
    report = dregcli.open_store(tmp_path).report()
    assert any(f"left out: {damaged.path}" in each for each in report.warnings)
    html = report._repr_html_()
    for said in (
        f"left out: {damaged.path}",
        "The objective of all groups is iwae.",
        "no test of which group is best",
    ):
        assert said in html


def test_metrics_are_columns(root: Path) -> None:
    run = dregcli.open_store(root).load("a")
    train = run.metrics()
    assert train["step"].tolist() == [5, 10, 15, 20]
    assert len(pd.DataFrame(train)) == 4
    assert (run.metrics("valid").rows, run.metrics("test").rows) == (1, 0)
    with pytest.raises(UsageError, match="no split 'validation'") as refused:
        run.metrics("validation")
    assert refused.value.hint == "use one of train, valid, test"
    assert run.evaluations() == []
    assert (run.spec.k, str(run.status), run.tags) == (4, "completed", ("paper",))
    assert dregcli.load_run(root / "a/v001").name == run.name


def test_stores_and_runs_need_no_torch(root: Path) -> None:
    code = (
        "import sys, dregcli\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        f"store = dregcli.open_store({str(root)!r}); store.frame(); store._repr_html_()\n"
        "store.report('a')._repr_html_()\n"
        "run = store.load('a'); run.spec, run.metrics(), run.evaluations(), run._repr_html_()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
