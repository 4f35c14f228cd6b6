"""Runs with ``--final-eval none`` or ``test``, as every command that shows bounds shows them."""

import csv
import json
from pathlib import Path

import pytest

from dregcli.app.reporting import figures
from dregcli.report.figures import gap
from tests.support.cli import SMALL, run
from tests.support.report_rows import grouped, run_row
from tests.support.store_study import add_run


@pytest.fixture
def store(tmp_path) -> Path:
    root = tmp_path / "runs"
    for seed in range(4):
        add_run(root, name="whole", seed=seed)
        add_run(root, name="tested", estimator="stl", seed=seed, summary={"bound": {"test": -91.0 - seed}})
        add_run(root, name="nothing", estimator="reparam", seed=seed, summary={"bound": {}})
    return root


@pytest.mark.usefixtures("store")
def test_a_report_stands_without_some_bounds(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(figures, "SUFFIXES", (".svg",))
    files = [tmp_path / name for name in ("page.html", "runs.csv", "table.tex", "pictures")]
    words = [word for pair in zip(("--html", "--csv", "--latex", "--figures"), files, strict=True) for word in pair]
    outcome = run(capsys, "report", *words)
    assert outcome.code == 0, outcome.err
    assert "groups by their test final bound" in outcome.out
    assert "its runs have no bounds" in outcome.err
    assert all(each.exists() for each in files)
    lines = list(csv.DictReader(files[1].read_text().splitlines()))
    columns = [name for name in lines[0] if name.startswith("bound_nats")]
    known = {line["run"].partition("/")[0]: {column for column in columns if line[column]} for line in lines}
    assert len(known["whole"]) == 3
    assert len(known["tested"]) == 1
    assert known["nothing"] == set()
    content = run(capsys, "report", "--json").json
    found = {group["runs"][0]["run"].split("/")[-2]: group["bound"] for group in content["groups"]}
    assert found["whole"]["train"]["n"] == found["tested"]["test"]["n"] == 4
    assert found["tested"]["train"] is None
    assert set(found["nothing"].values()) == {None}


@pytest.mark.usefixtures("store")
def test_other_commands_stand_too(capsys, tmp_path) -> None:
    for words in (
        ("runs", "list"),
        ("runs", "show", "nothing/v001"),
        ("runs", "diff", "nothing/v001", "tested/v001"),
        ("report", "nothing"),
        ("runs", "export", "--tensorboard", tmp_path / "events"),
    ):
        outcome = run(capsys, *words)
        assert outcome.code == 0, (words, outcome.err)
    listed = {row["run"]: row["bound"] for row in run(capsys, "runs", "list", "--json").json["runs"]}
    (nothing,) = (bound for name, bound in listed.items() if "nothing/v001" in name)
    assert nothing["test"] is None


def test_train_shows_dashes_and_says_null(capsys) -> None:
    words = ("train", *SMALL, "--final-eval", "test", "--eval-k", 8)
    shown = run(capsys, *words).out.splitlines()
    assert shown[0].endswith("iwae/dreg: bound at K=8 (trained at K=4), nats per example")
    by_split = {line.split()[0]: line.split()[1:] for line in shown[2:5]}
    assert by_split["train"] == by_split["valid"] == ["-", "-"]
    assert by_split["test"][-1] == "250"
    assert any(line.startswith("not computed (--final-eval test): train, valid; compute all: ") for line in shown)
    result = json.loads(run(capsys, *words, "--json").out)
    assert {split: value is None for split, value in result["bound"].items()} == {
        "train": True,
        "valid": True,
        "test": False,
    }
    assert (result["k"], result["eval_k"]) == (4, 8)


def test_a_gap_between_bounds_at_unlike_k_is_not_drawn() -> None:
    *_, alike = grouped([run_row(seed) for seed in range(2)])
    *_, unlike = grouped([run_row(seed, eval_k=8) for seed in range(2)])
    assert gap.gap_figure(alike) is not None
    assert gap.gap_figure(unlike) is None
