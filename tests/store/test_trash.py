"""Removed runs can come back until the trash is emptied, and their numbers are never given again."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from dregcli.errors import RunNotFound, RunStateError, StoreWriteError
from dregcli.names import RunStatus
from dregcli.store import trash
from dregcli.store.kept_weights import KeptWeights
from dregcli.store.lease import own_lease, take_lease
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from tests.store.test_fault_matrix import bury
from tests.support.store_faults import CountingFileSystem, Killed, KillingFileSystem, flip
from tests.support.store_runs import ENVIRONMENT, SPEC

NOW = datetime.now(UTC)
FS = CountingFileSystem()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path, CountingFileSystem())
    for _ in range(3):
        store.claim("x", spec=SPEC, environment=ENVIRONMENT).finish(RunStatus.COMPLETED, {})
    return store


def test_there_and_back(store: RunStore) -> None:
    run = store.runs()[2]
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    where = trash.remove(FS, run)
    assert [each.version for each in store.runs()] == [1, 2]
    assert [entry.label for entry in trash.removed(store.root)] == ["x/v003"]
    assert trash.restore(FS, store.root, "x/v003") == run.path
    assert not where.exists()
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    assert verify_run(run) == []


def test_a_removed_version_s_number_is_not_given_again(store: RunStore) -> None:
    trash.remove(FS, store.runs()[2])
    assert store.claim("x", spec=SPEC, environment=ENVIRONMENT).run.version == 4
    trash.empty(FS, trash.garbage(store.runs(), store.root, older_than=timedelta(0), now=NOW + timedelta(days=1)))
    assert trash.removed(store.root) == []
    assert [run.version for run in store.runs()] == [1, 2, 4]
    assert store.resolve("x")[-1].version == 4


def test_one_that_is_written_is_refused(store: RunStore) -> None:
    live = store.claim("x", spec=SPEC, environment=ENVIRONMENT).run
    with pytest.raises(RunStateError, match="is being written by process"):
        trash.check_not_live(live)
    trash.check_not_live(store.runs()[0])


def test_what_cannot_come_back(store: RunStore) -> None:
    with pytest.raises(RunNotFound, match="no 'x/v003' in the trash"):
        trash.restore(FS, store.root, "x/v003")
    trash.remove(FS, store.runs()[2])
    (store.root / "x" / "v003").mkdir()
    with pytest.raises(RunStateError, match="already"):
        trash.restore(FS, store.root, "x/v003")
    (store.root / "x" / "v003" / "evals").mkdir()
    with pytest.raises(RunStateError, match="it is not a run") as caught:
        trash.restore(FS, store.root, "x/v003")
    assert caught.value.hint == "move that folder away, then restore the run again"


def test_what_is_written_into_a_run_that_was_removed_meanwhile_keeps_it_from_nothing(store: RunStore) -> None:
    """Each way to write is refused with the command that brings the run back, and that command then works."""
    run = store.runs()[2]
    writer = store.claim("x", spec=SPEC, environment=ENVIRONMENT)
    writer.append("train", {"step": 1, "bound": -1.0})
    weights = KeptWeights(run, "key", k=1, examples=2, batch=2, kind="float32")
    assert weights.open(0)
    weights.add(0, np.zeros((1, 2), np.float32))
    weights.close()
    ways: list[Callable[[], object]] = [
        lambda: run.add_result("evals", "a", arrays={}, attrs={}),
        lambda: run.put_partial("bias", "a", arrays={}, attrs={}),
        lambda: run.add_file("figures", "a", ".png", b"x"),
        lambda: run.add_label(note="x"),
        lambda: weights.open(0),
        lambda: weights.finish("a", {}),
        writer.flush,
    ]
    for removed in (run, writer.run):
        trash.remove(FS, removed)
    for way in ways:
        with pytest.raises(
            (StoreWriteError, RunStateError), match="was removed or renamed in the meantime"
        ) as caught:
            way()
        assert "dreg runs rm --restore x/v00" in str(caught.value.hint)
    for removed in (run, writer.run):
        assert trash.restore(FS, store.root, removed.key) == removed.path
    for way in ways:
        way()


def test_a_kill_at_any_operation_leaves_the_run_in_one_of_the_two_places(store: RunStore) -> None:
    for number in range(1, 30):
        run = store.runs()[0]
        try:
            trash.remove(KillingFileSystem(number), run)
        except Killed:
            assert run.path.exists() != bool(trash.removed(store.root))
            if not run.path.exists():
                trash.restore(FS, store.root, run.label)
            continue
        assert number > 4
        return
    pytest.fail("it was killed every time")


def test_garbage_is_what_nobody_can_be_building(store: RunStore) -> None:
    live = store.claim("x", spec=SPEC, environment=ENVIRONMENT).run
    dead = store.runs()[0]
    old, new = (NOW - timedelta(hours=age) for age in (2, 0))
    claim = store.root / ".claims" / "a-0"
    places = (live.path, dead.path, dead.path / "evals", store.root, claim)
    for folder in (dead.path / "evals", claim):
        folder.mkdir(parents=True)
    for folder in places:
        for name, time in ((".old.tmp", old), (".new.tmp", new)):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (time.timestamp(), time.timestamp()))
    found = trash.garbage(store.runs(), store.root, older_than=timedelta(0), now=NOW)
    gone = (store.root, claim, dead.path, dead.path / "evals")
    assert found == [folder / ".old.tmp" for folder in gone]
    trash.empty(FS, found)
    assert not any(path.exists() for path in found)
    assert (live.path / ".old.tmp").exists()


def test_only_what_has_lain_long_enough(store: RunStore) -> None:
    trash.remove(FS, store.runs()[0])
    week = timedelta(days=7)
    assert trash.garbage(store.runs(), store.root, older_than=week, now=NOW + timedelta(days=6)) == []
    assert len(trash.garbage(store.runs(), store.root, older_than=week, now=NOW + timedelta(days=8))) == 1


def test_who_resumed_it_just_now_is_a_writer(store: RunStore) -> None:
    """It has taken its lease, and not come to write run.json yet."""
    run = store.claim("x", spec=SPEC, environment=ENVIRONMENT).run
    bury(run)
    trash.check_not_live(run)
    take_lease(FS, run.path, own_lease(2, NOW))
    with pytest.raises(RunStateError, match=f"is being written by process {os.getpid()}"):
        trash.check_not_live(run)
    flip(run.path / "leases" / "0002" / "holder.json", 40)
    trash.check_not_live(run)  # run.json knows of no living writer


def _aged(path: Path, hours: float) -> Path:
    time = (NOW - timedelta(hours=hours)).timestamp()
    os.utime(path, (time, time))
    return path


def test_garbage_at_any_depth_and_of_a_damaged_run_too(store: RunStore) -> None:
    damaged, whole, _ = store.runs()
    flip(damaged.path / "run.json", 30)
    expected: list[Path] = []
    for folder in (damaged.path, whole.path / "checkpoints" / "step-00000001", whole.path / "rolled-back" / "0001-x"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".left.tmp").write_bytes(b"x")
        expected.append(_aged(folder / ".left.tmp", 2))
    (whole.path / "rolled-back" / "link").symlink_to(store.root)
    assert trash.garbage(store.runs(), store.root, older_than=timedelta(0), now=NOW) == expected


def test_a_folder_that_is_being_filled_is_no_garbage(store: RunStore) -> None:
    """An import extracts there: the folder is as old as its last new name, what is inside is not."""
    building = store.root / ".x.abcd.tmp"
    building.mkdir()
    (building / "part").write_bytes(b"x")
    _aged(building, 2)
    assert trash.garbage(store.runs(), store.root, older_than=timedelta(0), now=NOW) == []
    _aged(building / "part", 2)
    assert trash.garbage(store.runs(), store.root, older_than=timedelta(0), now=NOW) == [building]


def test_size_counts_each_file_once_and_no_link(store: RunStore) -> None:
    folder = store.root / "sized"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_bytes(b"123")
    (folder / "b").write_bytes(b"12345")
    (folder / "link").symlink_to(store.root)
    assert trash.size(folder) == 8
    assert trash.size(store.root / "gone") == 0
