"""``dreg runs doctor``."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dregcli.app.runs import doctor as runs_doctor
from dregcli.names import RunStatus
from dregcli.store import trash
from dregcli.store.records import Clock
from dregcli.store.runs import RunStore
from tests.store.test_fault_matrix import bury
from tests.support.cli import run
from tests.support.store_faults import CountingFileSystem, FailingFileSystem, flip, forbid
from tests.support.store_runs import ENVIRONMENT, SPEC, FakeClock


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs", CountingFileSystem())
    for _ in range(2):
        store.claim("x", spec=SPEC, environment=ENVIRONMENT).finish(RunStatus.COMPLETED, {})
    return store


def _health(capsys, store: RunStore) -> tuple[int, dict[str, str]]:
    found = run(capsys, "runs", "doctor", "--runs-dir", store.root, "--json")
    return found.code, {each["check"]: each["health"] for each in found.json["checks"]}


def test_a_healthy_store(capsys, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(store.root.rglob("*"))
    code, health = _health(capsys, store)
    assert code == 0
    assert set(health.values()) == {"ok"}
    assert sorted(store.root.rglob("*")) == before
    shown = run(capsys, "runs", "doctor", "--runs-dir", store.root)
    assert "2, all readable" in shown.out
    removed = replace(store.runs()[0], path=store.root / "x" / "v003")
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "runs", lambda _: [*store.resolve("x"), removed])
        assert "2, all readable" in run(capsys, "runs", "doctor", "--runs-dir", store.root).out
    assert run(capsys, "runs", "doctor", "--runs-dir", store.root / "none").code == 0


def test_what_stopped_on_its_way_and_what_was_left(capsys, store: RunStore) -> None:
    store.claim_folder("killed")
    shown = run(capsys, "runs", "doctor", "--runs-dir", store.root)
    assert f"unfinished: dreg runs rm killed/v001 --runs-dir {store.root}\n" in shown.out
    assert "--resume" not in shown.out
    bury(store.claim("y", spec=SPEC, environment=ENVIRONMENT).run)
    trash.remove(store.fs, store.runs()[0])
    code, health = _health(capsys, store)
    assert code == 0
    assert {name for name, each in health.items() if each == "warning"} == {"unfinished", "leftovers"}
    shown = run(capsys, "runs", "doctor", "--runs-dir", store.root)
    for told in (
        "unfinished: dreg train --resume y/v001",
        "unfinished: dreg runs rm y/v001",
        "leftovers: dreg runs gc",
    ):
        assert f"{told} --runs-dir {store.root}\n" in shown.out


def test_what_cannot_be_read(capsys, store: RunStore) -> None:
    flip(store.runs()[0].path / "run.json", 60)
    code, health = _health(capsys, store)
    assert (code, health["runs"]) == (1, "fault")
    flip(store.root / "store.json", 4)
    code, health = _health(capsys, store)
    assert (code, health["format"], "runs" in health) == (1, "fault", False)


def test_a_run_from_the_future(capsys, store: RunStore) -> None:
    time = FakeClock()
    time.pass_seconds(timedelta(days=3650).total_seconds())
    later = RunStore(store.root, store.fs, Clock(now=lambda: time.time))
    later.claim("z", spec=SPEC, environment=ENVIRONMENT).finish(RunStatus.COMPLETED, {})
    assert _health(capsys, store)[1]["clock"] == "warning"


def test_a_disk_that_refuses(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_doctor, "RunStore", lambda root: RunStore(root, FailingFileSystem(2)))
    checks = {check.name: check for check in runs_doctor.examine(runs_dir=store.root)}
    assert checks["disk"].health is runs_doctor.Health.FAULT
    assert "No space" in checks["disk"].what
    monkeypatch.setattr(runs_doctor, "LITTLE_SPACE", 10**18)
    assert {c.name: c.health for c in runs_doctor.examine(runs_dir=store.root)}["space"] is runs_doctor.Health.WARNING


def test_a_folder_that_this_user_may_not_read(capsys, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.runs()[0].path / "checkpoints"
    folder.mkdir()
    forbid(monkeypatch, folder)
    code, health = _health(capsys, store)
    assert (code, health["leftovers"]) == (1, "fault")
    shown = run(capsys, "runs", "doctor", "--runs-dir", store.root)
    assert "leftovers: make it readable for this user" in shown.out
