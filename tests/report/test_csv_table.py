"""Runs as a tidy table."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.app.reporting.exports import report_runs
from dregcli.app.reporting.report import make_report
from dregcli.names import RunStatus
from tests.support.store_study import add_eval, add_run, add_study


def table(root: Path, **options: Any) -> tuple[str, list[dict[str, str]]]:
    """The text, and its rows as the standard library's reader has them, strictly."""
    text = report_runs(make_report([], runs_dir=root), time_to=options.get("time_to")).csv()
    return text, list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_one_row_a_run_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    runs = add_study(tmp_path, estimators={"dreg": -90.0, "stl": -91.0}, seeds=range(2))
    for i, run in enumerate(runs):
        add_eval(run, -88.0 - i, k=5000)
    text, rows = table(tmp_path, time_to=-95.0)
    assert len(rows) == 4
    assert [row["run"] for row in rows] == [run.label for run in runs]
    assert [row["seed"] for row in rows] == ["0", "1", "0", "1"]
    assert len({row["group"] for row in rows}) == 2
    assert [row["label"] for row in rows] == ["iwae/dreg"] * 2 + ["iwae/stl"] * 2
    for row, run in zip(rows, runs, strict=True):
        spec, summary = run.spec(), run.info().summary
        for name, value in spec.items():
            if value == {}:  # each option of a model has a column, and this model has no options
                continue
            told = ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            assert row[f"spec.{name}"] == told
        assert row["spec.model"] == "vae", "what a spec leaves out is spelt out"
        assert row["spec.parent"] == ""
        assert float(row["bound_nats.test"]) == summary["bound"]["test"], "every digit is kept"
        assert (row["step"], row["steps_per_second"], row["seconds"]) == ("1000", "50.0", "20.0")
        assert (row["eval.test.k5000.ess"], row["eval.test.k5000.khat_share"]) == ("8.5", "0.25")
        assert (row["eval.test.k5000.active_units"], row["eval.test.k5000.examples"]) == ("20", "100")
        assert 0.0 < float(row["time_to_-95_seconds"]) <= 20.0
    assert [row["eval.test.k5000.bound_nats"] for row in rows] == ["-88.0", "-89.0", "-90.0", "-91.0"]
    lines = text.split("\r\n")
    assert lines[-1] == ""
    assert len(lines) == 6
    assert "\n" not in "".join(lines), "lines end as RFC 4180 has it"


def test_final_bounds_say_over_how_many_examples_they_are(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, summary={"bounds": {"test": {"n": 250}, "train": {"n": 1000}}})
    add_run(tmp_path, seed=1)
    _, rows = table(tmp_path)
    assert [row["bound_examples.test"] for row in rows] == ["250", ""]
    assert [row["bound_examples.train"] for row in rows] == ["1000", ""]
    assert "bound_examples.valid" not in rows[0], "no run recorded it"


def test_what_a_run_does_not_have_is_an_empty_cell(tmp_path: Path) -> None:
    whole = add_run(tmp_path, seed=0)
    add_eval(whole, math.nan, k=8, ess=math.nan, khat=None)
    add_run(tmp_path, seed=1, status=RunStatus.FAILED, summary={"steps_per_second": math.nan})
    add_run(tmp_path, seed=2, status=RunStatus.RUNNING)
    _, rows = table(tmp_path)
    assert [row["status"] for row in rows] == ["completed", "failed", "running"]
    assert [row["bound_nats.test"] for row in rows] == ["-90.0", "", ""]
    assert [row["steps_per_second"] for row in rows] == ["50.0", "", ""]
    assert [row["step"] for row in rows] == ["1000", "1000", "1000"], "of one that lives, the last that is logged"
    assert [row["eval.test.k8.bound_nats"] for row in rows] == ["", "", ""]
    assert [row["eval.test.k8.active_units"] for row in rows] == ["20", "", ""]
    assert "eval.test.k8.khat_share" not in rows[0]
    assert not any("time_to" in name for name in rows[0])
    assert not any("nan" in value.lower() for row in rows for value in row.values())


def test_evaluations_that_differ_are_columns_of_their_own(tmp_path: Path) -> None:
    first, second = add_run(tmp_path, seed=0), add_run(tmp_path, seed=1)
    add_eval(first, -88.0, k=8)
    add_eval(first, -87.5, k=8)  # again: the newest counts
    add_eval(first, -87.0, k=8, seed=3)
    add_eval(first, -86.0, k=8, checkpoint=500)
    add_eval(first, -85.0, k=8, split="valid")
    add_eval(first, -84.0, k=16, n=100)
    add_eval(second, -83.0, k=16, n=50)
    _, rows = table(tmp_path)
    found = {
        name.removesuffix(".bound_nats"): [row[name] for row in rows]
        for name in rows[0]
        if name.startswith("eval.") and name.endswith(".bound_nats")
    }
    assert found == {
        "eval.test.k8": ["-87.5", ""],
        "eval.test.k8.seed3": ["-87.0", ""],
        "eval.test.k8.step500": ["-86.0", ""],
        "eval.valid.k8": ["-85.0", ""],
        "eval.test.k16.n100": ["-84.0", ""],
        "eval.test.k16.n50": ["", "-83.0"],
    }


def test_a_finetuned_encoder_tracked_estimators_and_odd_text(tmp_path: Path) -> None:
    parent = {"run": "x/v001", "checkpoint": 3, "model_sha256": "0" * 64, "reset_encoder": True}
    columns = {"stl.posterior_variance": np.linspace(2.0, 1.0, 20).tolist(), "tracked_window": [50.0] * 20}
    add_run(tmp_path, name="a", parent=parent, track_estimators=["stl"], extra=columns, dataset='my "own", data\nset')
    _, rows = table(tmp_path)
    assert rows[0]["spec.parent.run"] == "x/v001"
    assert rows[0]["spec.parent.reset_encoder"] == "true"
    assert rows[0]["spec.track_estimators"] == "stl"
    assert rows[0]["spec.dataset"] == 'my "own", data\nset', "quoted as RFC 4180 has it"
    assert float(rows[0]["tracked.stl.posterior_variance"]) == 1.0


def test_columns_do_not_repeat(tmp_path: Path) -> None:
    for run in add_study(tmp_path, estimators={"dreg": -90.0, "stl": -91.0}, seeds=range(2)):
        add_eval(run, -88.0)
    text, _ = table(tmp_path, time_to=-90.0)
    header = next(csv.reader(io.StringIO(text, newline="")))
    assert len(header) == len(set(header))


@pytest.mark.parametrize("time_to", [-90.0, -1000.0])
def test_time_to_is_empty_where_it_never_was(tmp_path: Path, time_to: float) -> None:
    add_run(tmp_path, level=-95.0)
    _, rows = table(tmp_path, time_to=time_to)
    assert (rows[0][f"time_to_{time_to:g}_seconds"] != "") == (time_to == -1000.0)
