"""Names of groups that the user gives, in every output of a report."""

import json
from pathlib import Path

import pytest

from dregcli.app.reporting.renames import LABELS_FILE, parse_renames, stored_renames
from dregcli.app.reporting.report import make_report
from dregcli.errors import UsageError
from dregcli.report.labels import Rename
from tests.support.cli import run
from tests.support.store_study import add_eval, add_run

LEARNED = "dreg-cv:alpha=0.000320980438259562,beta=0.0,gamma=0.0,delta=0.0"


def _file(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / LABELS_FILE).write_text(text, encoding="utf-8")
    return root


def test_a_pattern_may_contain_an_equals_sign() -> None:
    assert parse_renames(["iwae/dreg K=8 = few", "a=b"]) == [Rename("iwae/dreg K=8", "few"), Rename("a", "b")]


@pytest.mark.parametrize("text", ["", "=", "a", "a=", "=b", " = b"])
def test_a_label_needs_a_pattern_and_a_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not a pattern and a name"):
        parse_renames([text])


def test_the_file_of_a_store_is_read_in_its_order(tmp_path) -> None:
    assert stored_renames(tmp_path) == []
    found = stored_renames(_file(tmp_path, '"iwae/stl" = "STL"\n"*" = "others"\n'))
    assert found == [Rename("iwae/stl", "STL"), Rename("*", "others")]


@pytest.mark.parametrize("text", ["x", '"a" = 1', '[labels]\n"a" = "b"', '"a" = ""', '"" = "b"', "a = b"])
def test_a_file_with_anything_else_is_refused(tmp_path, text: str) -> None:
    with pytest.raises(UsageError) as error:
        stored_renames(_file(tmp_path, text))
    assert error.value.where == str(tmp_path / LABELS_FILE)


def test_every_output_has_the_names(capsys, tmp_path) -> None:
    root = _file(tmp_path / "runs", '"iwae/stl" = "file STL"\n"iwae/dreg" = "file DReG"\n')
    for estimator in ("dreg", "stl"):
        add_eval(add_run(root, estimator=estimator), -88.0)
    add_run(root, estimator="dreg", dataset="mnist", data_checksum="m" * 64)
    options = ("--label", "iwae/dreg=typed DReG")
    outputs = {
        "tables": run(capsys, "report", *options).out,
        "csv": run(capsys, "report", *options, "--csv", "-").out,
        "latex": run(capsys, "report", *options, "--latex", "-").out,
        "json": json.dumps(run(capsys, "report", *options, "--json").json),
    }
    page = tmp_path / "page.html"
    done = run(capsys, "report", *options, "--html", page)
    assert done.code == 0, done.err
    outputs["html"] = page.read_text(encoding="utf-8")
    assert {name for name, text in outputs.items() if "typed DReG" not in text or "file STL" not in text} == set()
    assert {name for name, text in outputs.items() if "file DReG" in text} == set()


def test_a_name_that_no_group_has_is_reported(capsys, tmp_path) -> None:
    root = _file(tmp_path / "runs", '"nothing" = "is not reported"\n')
    add_run(root)
    error = run(capsys, "report", "--label", "iwae/dref=DReG").err
    assert "--label 'iwae/dref=DReG' names no group" in error
    assert "nothing" not in error
    assert run(capsys, "report", "--label", "dreg").code == 2


def test_learned_digits_are_for_json(capsys, tmp_path) -> None:
    root = tmp_path / "runs"
    add_run(root, estimator=LEARNED, name="learned")
    (section,) = make_report([], runs_dir=root).sections
    assert [*section.labels.values()] == ["iwae/dreg-cv:alpha=0.000321"]
    for command in (("report",), ("runs", "list"), ("runs", "show", "learned")):
        shown = run(capsys, *command)
        assert shown.code == 0, shown.err
        assert "dreg-cv:alpha=0.000321" in shown.out
        assert LEARNED not in shown.out
        assert LEARNED in json.dumps(run(capsys, *command, "--json").json)
