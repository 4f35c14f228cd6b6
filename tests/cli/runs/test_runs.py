"""``dreg runs``: list, tag, note, verify, export, import, rm and gc, as a user types them."""

import json
import shutil
from pathlib import Path

import pytest

from dregcli.cli.main import main
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, Outcome, run, typed
from tests.support.store_faults import flip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one name, the second with another estimator and a lower bound."""
    root = tmp_path_factory.mktemp("made") / "runs"
    for words in (("--estimator", "dreg"), ("--estimator", "dreg-alpha", "--lr", "1e-5", "--seed", "1")):
        assert main(typed("train", *SMALL, *words, "--name", "x", "--runs-dir", root, "--quiet")) == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str], root: Path):
    def call(*words: object) -> Outcome:
        return run(capsys, "runs", *words, "--runs-dir", root)

    return call


def _names(outcome: Outcome) -> list[str]:
    return [f"{each['name']}/v{each['version']:03d}" for each in outcome.json["runs"]]


def test_list_shows_how_runs_stand(runs) -> None:
    shown = runs("list")
    assert shown.code == 0
    header, first, second = shown.out.splitlines()[0:1] + [line for line in shown.out.splitlines() if "x/v00" in line]
    assert header.split()[:4] == ["run", "status", "test", "valid"]
    values = dict(zip(header.split(), first.split(), strict=False))
    expected = {"run": "x/v001", "status": "completed", "step": "20/20", "data": "digits", "objective": "iwae"}
    assert values | expected | {"estimator": "dreg"} == values
    assert "dreg-alpha" in second.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["x/v001", "x/v002"]),
        (("--reverse",), ["x/v002", "x/v001"]),
        (("--estimator", "dreg"), ["x/v001"]),
        (("--estimator", "dreg-alpha"), ["x/v002"]),
        (("--estimator", "iwae/dreg-alpha:alpha=0.9"), ["x/v002"]),
        (("--estimator", "rws/dreg"), []),
        (("--objective", "iwae", "--dataset", "digits"), ["x/v001", "x/v002"]),
        (("--dataset", "mnist"), []),
        (("--status", "completed"), ["x/v001", "x/v002"]),
        (("--status", "crashed", "--status", "failed"), []),
        (("--sort", "test"), ["x/v002", "x/v001"]),
        (("--sort", "valid.bound", "--reverse"), ["x/v001", "x/v002"]),
        (("--sort", "train.ess", "--limit", "1"), None),
        (("x/v002",), ["x/v002"]),
    ],
)
def test_list_filters_and_sorts(runs, words: tuple[str, ...], expected: list[str] | None) -> None:
    found = runs("list", *words, "--json")
    assert found.code == 0
    assert found.json["of"] == (1 if words == ("x/v002",) else 2)
    assert len(_names(found)) == 1 if expected is None else _names(found) == expected


def test_list_of_what_cannot_be_asked(runs) -> None:
    wrong = runs("list", "--sort", "valid.bond")
    assert wrong.code == 2
    assert "Did you mean 'valid.bound'?" in wrong.err
    assert "use one of completed" not in wrong.err
    assert "use one of running" in runs("list", "--status", "done").err
    assert runs("list", "y").code == 13


def test_an_empty_store(capsys, tmp_path: Path) -> None:
    shown = run(capsys, "runs", "list", "--runs-dir", tmp_path / "none")
    assert shown.code == 0
    assert "no runs" in shown.out
    assert "dreg train" in shown.out
    assert run(capsys, "runs", "verify", "--runs-dir", tmp_path / "none").code == 0


def test_a_damaged_run_does_not_hide_the_others(runs, root: Path) -> None:
    flip(root / "x" / "v001" / "run.json", 50)
    shown = runs("list")
    assert shown.code == 0
    assert "x/v002" in shown.out
    assert "x/v001 cannot be read" in shown.err
    assert "dreg runs verify x/v001" in shown.err


def test_tags_and_notes(runs) -> None:
    assert "x/v002: paper fig:3" in runs("tag", "x/v002", "--add", "paper", "--add", "fig:3").out
    assert runs("tag", "x/v001", "--add", "paper", "--json").json["runs"][0]["tags"] == ["paper"]
    assert _names(runs("list", "--tag", "paper", "--json")) == ["x/v001", "x/v002"]
    assert _names(runs("list", "--tag", "paper", "--tag", "fig:3", "--json")) == ["x/v002"]
    assert "x/v002: fig:3" in runs("tag", "x/v002", "--remove", "paper").out
    assert "paper" in runs("list").out
    wrong = runs("tag", "x/v002", "--add", "two words", "--add", "good")
    assert wrong.code == 2
    assert "'two words'" in wrong.err
    assert "good" not in runs("tag", "x/v002").out
    assert "no notes" in runs("note", "x/v002").out
    runs("note", "x/v002", "first")
    runs("note", "x/v002", "second [bold]not bold")
    assert [each["text"] for each in runs("note", "x/v002", "--json").json["notes"]] == [
        "first",
        "second [bold]not bold",
    ]
    assert "[bold]not bold" in runs("note", "x/v002").out
    assert runs("note", "x/v002", "y" * 10_001).code == 2
    assert runs("verify").code == 0


def test_verify(runs, root: Path) -> None:
    sound = runs("verify", "--json")
    assert (sound.code, sound.json) == (0, {"runs": 2, "sound": True, "findings": []})
    flip(root / "x" / "v002" / "metrics.h5", 900)
    found = runs("verify")
    assert found.code == 1
    assert f"fault: {root / 'x' / 'v002' / 'metrics.h5'}" in found.out
    assert runs("verify", "x/v001").code == 0
    flip(root / "store.json", 5)
    assert runs("verify").code == 1


def test_there_and_back_in_one_file(runs, capsys, root: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "run.zip", tmp_path / "other"
    assert runs("export", "x/v001", file).code == 0
    again = runs("export", "x/v001", file)
    assert again.code == 2
    assert "This file exists already" in again.err
    found = run(capsys, "runs", "import", file, "--runs-dir", other, "--json")
    new = {"run": f"{other}/x/v001", "origin": "x/v001", "imported": True, "same_as": [], "faults": []}
    assert found.json == new
    here, there = (
        run(capsys, "eval", "x/v001", "--k", 8, "--split", "test", "--runs-dir", folder, "--json").json["results"][0]
        for folder in (root, other)
    )
    assert here["bound"] == there["bound"]
    # It is prolonged there as it would have been here.
    for folder in (root, other):
        assert run(capsys, "train", "--resume", "x/v001", "--steps", 25, "--runs-dir", folder).code == 0
    a, b = (RunStore(folder).resolve("x/v001")[0].metrics("train")["bound"].tolist() for folder in (root, other))
    assert a == b
    assert run(capsys, "runs", "import", tmp_path / "nothing.zip", "--runs-dir", other).code == 20


def test_rm_asks_and_can_be_undone(runs, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = runs("rm", "x/v001")
    assert nobody.code == 2
    assert "dreg runs rm x/v001 --yes" in nobody.err
    done = runs("rm", "x/v001", "--yes")
    assert "to restore:  dreg runs rm --restore x/v001" in done.out
    assert _names(runs("list", "--json")) == ["x/v002"]
    assert runs("gc", "--dry-run", "--json").json["removed"] is False
    assert runs("rm", "--restore", "x/v001").code == 0
    assert _names(runs("list", "--json")) == ["x/v001", "x/v002"]
    assert runs("rm", "--restore", "x/v001").code == 13
    assert len(runs("rm", "x", "--yes", "--json").json["removed"]) == 2
    assert runs("gc", "--older-than", 1, "--yes", "--json").json["paths"] == []
    gone = runs("gc", "--yes", "--json").json
    assert gone["removed"] is True
    assert gone["bytes"] > 1000
    assert runs("rm", "--restore", "x/v001").code == 13
    assert "nothing to remove" in runs("gc").out


def test_a_live_run_is_neither_removed_nor_exported(runs, root: Path, tmp_path: Path) -> None:
    RunStore(root).claim("live", spec={}, environment={})
    for words in (("rm", "live", "--yes"), ("rm", "x", "live", "--yes"), ("export", "live/v001", tmp_path / "y.zip")):
        refused = runs(*words)
        assert refused.code == 14
        assert "is being written by process" in refused.err
    assert sorted(_names(runs("list", "--json"))) == ["live/v001", "x/v001", "x/v002"]
    assert _names(runs("list", "--status", "running", "--json")) == ["live/v001"]


def test_keep_last_keeps_so_many_checkpoints(capsys, tmp_path: Path) -> None:
    words = ("train", *SMALL, "--checkpoint-every", 4, "--eval-every", 0, "--name", "x", "--runs-dir", tmp_path)
    assert run(capsys, *words, "--keep-last", 4).code == 0
    (kept,) = RunStore(tmp_path).runs()
    assert kept.checkpoints() == [8, 12, 16, 20]
    assert run(capsys, "train", "--resume", "x", "--steps", 28, "--keep-last", 1, "--runs-dir", tmp_path).code == 0
    assert kept.checkpoints() == [28]  # the last, which is the best as well
    assert json.loads((kept.path / "spec.json").read_text())["keep_last"] == 1
    assert run(capsys, *words, "--keep-last", 0).code == 2
