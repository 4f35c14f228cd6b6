"""``dreg runs show`` and ``diff``."""

import shutil
from pathlib import Path

import pytest

from dregcli.cli.main import main
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run, typed
from tests.support.store_faults import flip, forbid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "runs"
    for words in ((), ("--lr", "2e-3", "--seed", "1"), ("--seed", "0")):
        assert main(typed("train", *SMALL, *words, "--name", "x", "--runs-dir", root, "--quiet")) == 0
    assert main(["eval", "x/v001", "--k", "8", "--runs-dir", str(root), "--quiet", "--json"]) == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def test_show_tells_everything(capsys, root: Path) -> None:
    run(capsys, "runs", "note", "x/v001", "mine", "--runs-dir", root)
    shown = run(capsys, "runs", "show", "x/v001", "--runs-dir", root)
    assert shown.code == 0
    for words in ("completed", "digits", "iwae", "20 of 20", "evals/", "mine", "typed", "dreg report"):
        assert words in shown.out, words
    told = run(capsys, "runs", "show", "x/v001", "--runs-dir", root, "--json").json
    assert told["spec"]["lr"] == 1e-3
    (kept,) = told["checkpoints"]
    assert (kept["step"], kept["best"], kept["fault"]) == (told["best"], True, None)
    assert told["bound"]["test"] == told["summary"]["bound"]["test"]
    assert told["notes"][0]["text"] == "mine"
    assert told["damage"] == []
    several = run(capsys, "runs", "show", "x", "--runs-dir", root)
    assert "name one version, such as x/v003" in several.err


def test_show_of_what_is_damaged_or_never_began(capsys, root: Path) -> None:
    flip(root / "x" / "v001" / "environment.json", 30)
    shown = run(capsys, "runs", "show", "x/v001", "--runs-dir", root)
    assert shown.code == 0
    assert f"damaged: {root / 'x' / 'v001' / 'environment.json'}" in shown.err
    assert "20 of 20" in shown.out
    (root / "y" / "v001").mkdir(parents=True)
    never = run(capsys, "runs", "show", "y", "--runs-dir", root)
    assert never.code == 0
    assert "dreg runs rm y/v001" in never.out
    flip(root / "x" / "v002" / "run.json", 30)
    assert run(capsys, "runs", "show", "x/v002", "--runs-dir", root).code == 20


def test_show_says_how_to_go_on(capsys, root: Path) -> None:
    store = RunStore(root)
    info = store.resolve("x/v001")[0]
    writer = store.reopen(info, spec={**info.spec(), "steps": 30})
    shown = run(capsys, "runs", "show", "x/v001", "--runs-dir", root)
    assert "running, written by process" in shown.out
    writer.finish("interrupted", {"step": 20})
    assert f"dreg train --resume {root}/x/v001" in run(capsys, "runs", "show", "x/v001", "--runs-dir", root).out


def test_diff_tells_what_differs_and_nothing_else(capsys, root: Path) -> None:
    found = run(capsys, "runs", "diff", "x/v001", "x/v002", "--runs-dir", root, "--json").json
    assert {each["field"]: (each["a"], each["b"]) for each in found["spec"]} == {"lr": (1e-3, 2e-3), "seed": (0, 1)}
    assert found["environment"] == []
    fields = {each["field"] for each in found["results"]}
    assert "bounds.test.value" in fields
    assert not {"seconds", "steps_per_second", "run", "last.train.seconds"} & fields
    shown = run(capsys, "runs", "diff", "x/v001", "x/v002", "--runs-dir", root)
    assert "environment: the same" in shown.out
    assert "+0.001" in shown.out


def test_runs_of_one_spec_do_not_differ(capsys, root: Path) -> None:
    shown = run(capsys, "runs", "diff", "x/v001", "x/v003", "--runs-dir", root)
    assert shown.out.split("\n")[:3] == ["spec: the same", "environment: the same", "results: the same"]
    everything = run(capsys, "runs", "diff", "x/v001", "x/v003", "--all", "--runs-dir", root, "--json").json
    assert "time" in {each["field"] for each in everything["environment"]}
    assert run(capsys, "runs", "diff", "x/v001", "z", "--runs-dir", root).code == 13


def test_show_and_verify_of_a_folder_that_this_user_may_not_read(
    capsys, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root / "x" / "v001" / "checkpoints"
    forbid(monkeypatch, folder)
    told = run(capsys, "runs", "show", "x/v001", "--runs-dir", root, "--json")
    assert (told.code, told.json["checkpoints"], told.json["step"]) == (0, [], 20)
    assert told.json["damage"] == [f"{folder}: The folder cannot be read: Permission denied"]
    verified = run(capsys, "runs", "verify", "x/v001", "--runs-dir", root, "--json")
    assert (verified.code, [each["file"] for each in verified.json["findings"]]) == (1, [str(folder)])


def test_verify_of_a_run_that_this_user_may_not_read(capsys, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "x" / "v001"
    forbid(monkeypatch, folder)
    verified = run(capsys, "runs", "verify", "--runs-dir", root, "--json")
    assert (verified.code, verified.json["runs"]) == (1, 3)
    (found,) = verified.json["findings"]
    assert (found["file"], found["kind"]) == (str(folder / "run.json"), "fault")
    assert "cannot be read" in found["what"]
