"""``dreg runs list``, ``show``, ``diff``, ``tag`` and ``note`` on runs made by hand: damage and words."""

from pathlib import Path
from typing import Any

import pytest

from dregcli.names import RunStatus
from dregcli.store import documents
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import Outcome, run
from tests.support.store_faults import CountingFileSystem, flip
from tests.support.store_runs import save

SPEC = {
    "dataset": "digits",
    "objective": "iwae",
    "estimator": "dreg",
    "k": 4,
    "steps": 20,
    "seed": 0,
    "batch_size": 16,
}
ENVIRONMENT: dict[str, Any] = {
    "time": "2026-01-02T03:04:05+00:00",
    "argv": ["dreg", "train", "--name", "it's"],
    "packages": {"torch": "2.0"},
    "git": {"commit": "c0ffee", "clean": False, "diff": "+one\n", "untracked_text": {"new.py": "x = 1\n"}},
}


def _make(root: Path, name: str = "x", *, environment: dict[str, Any] | None = None, **spec: object) -> Run:
    writer = RunStore(root, CountingFileSystem()).claim(
        name, spec={**SPEC, **spec}, environment=environment or ENVIRONMENT
    )
    writer.append("valid", {"step": 20, "bound": -31.0})
    save(writer, 20, best=True)
    writer.log("started")
    writer.finish(RunStatus.COMPLETED, {"step": 20, "seconds": 4.0, "bound": {"valid": -29.0, "test": -28.0}})
    return writer.run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str], root: Path):
    def call(*words: object) -> Outcome:
        return run(capsys, "runs", *words, "--runs-dir", root)

    return call


def test_a_run_that_cannot_be_read_is_a_row(runs, root: Path) -> None:
    flip(_make(root, "a").path / "run.json", 40)
    alone = runs("list")
    assert (alone.code, alone.out.splitlines()[1].split()[:3]) == (0, ["a/v001", "unreadable", "-"])
    _make(root, "b")
    shown = runs("list", "--limit", 5)
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == ["b/v001", "a/v001"]
    assert f"({root}/a/v001/run.json); see  dreg runs verify a/v001" in shown.err
    whole, broken = runs("list", "--json").json["runs"]
    assert whole.keys() == broken.keys() - {"error"}
    assert (broken["status"], broken["name"], broken["version"], broken["step"]) == ("unreadable", "a", 1, None)
    assert broken["error"]["where"] == f"{root}/a/v001/run.json"
    filtered = runs("list", "--estimator", "dreg")
    assert "a/v001" not in filtered.out
    assert "a/v001" in filtered.err
    assert "1 of 2 runs" in filtered.err


def test_damaged_tags_hide_no_run(runs, root: Path) -> None:
    made = _make(root)
    made.add_label(add=["paper"])
    flip(made.path / "labels" / "label.json", 30)
    shown = runs("list")
    assert "x/v001" in shown.out
    assert f"({made.path}/labels/label.json)" in shown.err
    told = runs("show", "x/v001", "--json")
    assert (told.code, told.json["step"]) == (0, 20)
    assert "label.json" in told.json["damage"][0]
    for words in (("tag", "x"), ("note", "x")):
        refused = runs(*words)
        assert refused.code == 20
        assert "label.json" in refused.err


def test_list_tells_all_values(runs, root: Path) -> None:
    _make(root)
    (row,) = runs("list", "--json").json["runs"]
    assert (row["run"], row["seconds"], row["step"]) == (f"{root}/x/v001", 4.0, 20)
    assert row["spec"]["batch_size"] == 16
    assert row["bound"] == {"train": None, "valid": -29.0, "test": -28.0}
    assert row["last"] == {"valid": {"step": 20.0, "bound": -31.0}}


def test_tags_of_all_versions(runs, root: Path) -> None:
    for _ in range(3):
        _make(root)
    newest = runs("tag", "x", "--add", "new")
    assert (newest.out, "x/v003, its newest of 3 completed versions" in newest.err) == ("x/v003: new\n", True)
    every = runs("tag", "x", "x/v002", "--all", "--add", "old", "--remove", "new", "--json").json["runs"]
    assert [each["tags"] for each in every] == [["old"]] * 3
    assert len(list((root / "x" / "v002" / "labels").iterdir())) == 1
    both = runs("tag", "x", "--add", "b", "--remove", "b")
    assert both.code == 2
    assert "at once: b" in both.err
    assert runs("note", "x", " ").code == 2
    missing = runs("tag", "x", "nope", "--all", "--add", "z")
    assert missing.code == 13
    assert "z" not in runs("tag", "x").out


def test_a_name_of_one_version_is_said_to_mean_it(runs, root: Path) -> None:
    _make(root)
    assert f"x means {root}/x/v001, its only completed version" in runs("tag", "x", "--add", "t").err
    assert runs("tag", "x/v001").err == ""


def test_show_says_what_is_whole_what_was_typed_and_what_can_be(runs, root: Path) -> None:
    made = _make(root, k=8, batch_size=32)
    made.add_label(note="two\nlines")
    lines = runs("show", "x/v001").out.splitlines()

    def told(name: str) -> str:
        return next(line for line in lines if line.startswith(f"{name} ")).removeprefix(name).strip()

    assert told("checkpoint").startswith("step 20, whole, ")
    assert told("checkpoint").endswith(" kB, best")
    assert told("log") == f"{root}/x/v001/log.txt"
    assert told("typed") == """dreg train --name 'it'"'"'s'"""
    assert told("repeat") == f"dreg runs rerun x/v001 --runs-dir {root}"
    assert told("k") == "8"
    assert "batch_size 32" in told("defaults").split(", ")
    assert "k 8" not in told("defaults")
    note = lines.index(next(line for line in lines if line.startswith("note ")))
    assert lines[note + 1] == " " * 18 + "lines"
    flip(made.path / "checkpoints" / "step-00000020" / "model.safetensors", 9)
    damaged = runs("show", "x/v001", "--json")
    assert damaged.json["checkpoints"][0]["fault"] == "model.safetensors does not match its digest"
    assert "step-00000020: model.safetensors" in damaged.err


def test_show_tells_every_damage_and_the_rest(runs, root: Path) -> None:
    made = _make(root)
    made.add_result("evals", "e", arrays={}, attrs={"value": -27.0, "stderr": 0.5, "split": "test", "k": 64, "n": 9})
    flip(made.path / "environment.json", 5)
    made.add_result("bias", "b", arrays={}, attrs={})
    flip(made.path / "bias" / "b.h5", 700)
    shown = runs("show", "x/v001")
    assert "evals/e.h5: -27.00 ± 0.50 nats, test, k 64, n 9" in shown.out
    assert shown.err.count("damaged: ") == 2


def test_show_of_a_live_run(runs, root: Path) -> None:
    RunStore(root).claim("live", spec=SPEC, environment={})
    shown = runs("show", "live/v001").out
    assert "running, written by process" in shown
    assert "last sign of life 0 s ago" in shown
    assert f"dreg report {root}/live/v001 --runs-dir {root}" in shown


def test_diff_of_two_patches_of_one_commit(runs, root: Path) -> None:
    git = {**ENVIRONMENT["git"], "diff": "+two\n", "untracked_text": {"new.py": "x = 2\n"}}
    _make(root, "a")
    _make(root, "b", environment={**ENVIRONMENT, "git": git, "time": "later", "argv": []})
    _make(root, "c", environment={**ENVIRONMENT, "time": "later", "argv": []})
    rows = runs("diff", "a/v001", "b/v001", "--json").json["environment"]
    assert [row["field"] for row in rows] == ["git.diff", "git.untracked_text.new.py"]
    digest = documents.sha256(b"+one\n")[:12]
    assert rows[0]["a"] == f"5 characters, SHA-256 {digest}"
    assert "environment: the same" in runs("diff", "a/v001", "c/v001").out
    everything = runs("diff", "a/v001", "b/v001", "--all")
    assert "+one\\n" in everything.out
    assert "time" in everything.out


def test_diff_counts_what_a_spec_leaves_out(runs, root: Path) -> None:
    _make(root, "a")
    _make(root, "b", compile="off", keep_last=3, batch_size=24)
    found = runs("diff", "a/v001", "b/v001", "--json").json
    assert found["spec"] == [
        {"field": "batch_size", "a": 16, "b": 24, "difference": 8},
        {"field": "keep_last", "a": 2, "b": 3, "difference": 1},
    ]
    assert runs("diff", "a/v001", "b/v001", "a/v001").code == 2
    assert runs("diff", "a/v001").code == 2


def test_a_list_reads_no_metrics_and_little_of_each_run(runs, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _make(root)
    made.add_label(add=["t"])
    read: list[str] = []
    original = documents.read_bytes
    monkeypatch.setattr(
        documents, "read_bytes", lambda path, *, limit: (read.append(path.name), original(path, limit=limit))[1]
    )
    assert runs("list").code == 0
    assert sorted(read) == ["label.json", "run.json", "spec.json", "store.json"]
