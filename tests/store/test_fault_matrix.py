"""Every change of the disk that the store makes, times every fault that a disk has: what must hold afterwards.

The matrix is generated: each act runs once on a counting file system, and then once for each of its operations and
each fault. A write that fails has left half of its content, as on a full disk; a kill stops everything at once.

After a fault: the error is a StoreWriteError that names a place and the next step; all that was readable before is
readable still, each row of metrics once; no temporary is left; and the same act, called again on a disk that is well,
comes to what it comes to without a fault. After a kill the same holds for the next process, temporaries apart.
"""

import copy
import errno
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.errors import StoreCorrupt, StoreWriteError
from dregcli.filesystem import discard, write_aside
from dregcli.names import RunStatus
from dregcli.store import documents, layout, log
from dregcli.store.records import read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from dregcli.store.writer import RunWriter
from tests.support.store_faults import CountingFileSystem, Killed, temporaries
from tests.support.store_runs import ENVIRONMENT, SPEC, save, train

KILL = 0
FAULTS = {
    "full disk": errno.ENOSPC,
    "read-only": errno.EROFS,
    "permission": errno.EACCES,
    "device": errno.EIO,
    "vanished": errno.ENOENT,
    "kill": KILL,
}
LASTING = (errno.ENOSPC, errno.EROFS)
"""Faults that stay: of a full disk for what needs space, of a read-only one for everything."""


class Disk(CountingFileSystem):
    """Well until it is armed."""

    def __init__(self) -> None:
        super().__init__()
        self.at, self.error = 0, KILL

    def arm(self, at: int, error: int) -> None:
        self.count, self.at, self.error = 0, at, error
        self.operations.clear()

    def fault(self, operation: str, path: Path, content: bytes) -> None:
        if not self.at or self.count < self.at:
            return
        first = self.count == self.at
        if self.error == KILL:
            if first and operation in ("write", "append"):
                _half(operation, path, content)
            raise Killed
        needs_space = operation in ("mkdir", "write", "append")
        if not first and (self.error not in LASTING or (self.error != errno.EROFS and not needs_space)):
            return
        if operation in ("write", "append") and self.error != errno.EROFS:
            _half(operation, path, content)
        raise OSError(self.error, "planted", str(path))


def _half(operation: str, path: Path, content: bytes) -> None:
    with path.open("ab" if operation == "append" else "xb") as file:
        file.write(content[: len(content) // 2])


@dataclass(frozen=True)
class Act:
    """One thing that the store does.

    Attributes:
        prepare: makes what it is done to, on a disk that is well.
        do: does it, with what ``prepare`` gave.
        again: does it in the next process, after a kill.
        last: the step at which a run that is being written ends, to compare what continued with what never stopped.
    """

    prepare: Callable[[RunStore], Any]
    do: Callable[[RunStore, Any], object]
    again: Callable[[RunStore], object]
    last: int | None = None


def _claim(store: RunStore) -> RunWriter:
    return store.claim("x", spec=SPEC, environment=ENVIRONMENT)


def _trained(store: RunStore) -> RunWriter:
    """Rows to step 10 and a checkpoint; rows to 14, flushed; rows to 16, not yet."""
    writer = _claim(store)
    writer.log("started")
    train(writer, 1, 10)
    save(writer, 10, best=True)
    train(writer, 11, 14)
    writer.flush()
    train(writer, 15, 16)
    return writer


def _thinned(store: RunStore) -> RunWriter:
    """So many checkpoints that the next one takes another's place."""
    writer = _trained(store)
    for step in (17, 18):
        train(writer, step, step)
        save(writer, step)
    train(writer, 19, 19)
    return writer


def _dead(store: RunStore) -> Run:
    run = _trained(store).run
    bury(run)
    return run


def bury(run: Run) -> None:
    """Has the run's writer, this process, look dead."""
    disk, path = CountingFileSystem(), run.path / layout.RUN_FILE
    if path.exists() and (lease := (info := read_info(path)).lease):
        write_aside(disk, path, write_info(replace(info, lease=replace(lease, process_start=1))))
    for holder in (run.path / layout.LEASES_FOLDER).glob("[0-9]*/holder.json"):
        write_aside(disk, holder, documents.seal(documents.unseal(holder) | {"process_start": 1}))


def _resume(store: RunStore) -> RunWriter:
    """What the next process does: go on from the newest checkpoint, or anew where there was nothing yet."""
    runs = [run for run in store.runs() if run.info().started]
    if not runs:
        return _claim(store)
    writer = store.reopen(runs[-1])
    writer.roll_back(runs[-1].load_checkpoint("last").step if runs[-1].checkpoints() else 0)
    return writer


def _to_the_end(writer: RunWriter, last: int) -> None:
    """Trains what is left and finishes."""
    writer.flush()
    known = writer.run.metrics("train")["step"].tolist() if writer.run.all_metrics() else []
    train(writer, int(max(known, default=0)) + 1, last)
    save(writer, last)
    writer.finish(RunStatus.COMPLETED, {"step": last})


def _goes_on(last: int) -> Callable[[RunStore], object]:
    def again(store: RunStore) -> None:
        if store.runs()[-1].status() is not RunStatus.COMPLETED:
            _to_the_end(_resume(store), last)

    return again


def _done(store: RunStore) -> RunWriter:
    writer = _trained(store)
    save(writer, 16)
    return writer


def _finish(_: RunStore, writer: RunWriter) -> None:
    writer.finish(RunStatus.COMPLETED, {"step": 16})


def _reopen(store: RunStore, run: Run) -> None:
    # As after a failed attempt of this very process, which is still there and would hold its lease.
    bury(run)
    store.reopen(run, spec={**SPEC, "steps": 99}, environment={"threads": 3}).roll_back(10)


def _result(store: RunStore, run: Run) -> None:
    run = Run(run.path, store.fs)
    run.add_result("evals", "test", arrays={"bound": np.arange(3.0)}, attrs={"k": 8})


def _partial(store: RunStore, run: Run) -> None:
    run = Run(run.path, store.fs)
    run.put_partial("evals", "test", arrays={"bound": np.arange(3.0)}, attrs={"k": 8})
    run.put_partial("evals", "test", arrays={"bound": np.arange(4.0)}, attrs={"k": 8})
    run.drop_partial("evals", "test")


def _figure(store: RunStore, run: Run) -> None:
    Run(run.path, store.fs).add_file("figures", "curves", ".png", b"\x89PNG" + bytes(100))


def _on_the_run(act: Callable[[RunStore, Run], object]) -> Callable[[RunStore], object]:
    return lambda store: act(store, store.runs()[-1])


ACTS = {
    "claim": Act(lambda store: None, lambda store, _: _claim(store), _claim),
    "flush": Act(_trained, lambda _, writer: writer.flush(), _goes_on(16), 16),
    "log": Act(_trained, lambda _, writer: writer.log("a line"), _goes_on(16), 16),
    # A checkpoint beside the others has the same operations up to the removal of the other one.
    "checkpoint in place of another": Act(_thinned, lambda _, writer: save(writer, 19), _goes_on(19), 19),
    "finish": Act(_done, _finish, _goes_on(16)),
    "resume": Act(_dead, _reopen, _on_the_run(_reopen)),
    "result": Act(_dead, _result, _on_the_run(_result)),
    "partial": Act(_dead, _partial, _on_the_run(_partial)),
    "figure": Act(_dead, _figure, _on_the_run(_figure)),
}


def _content(store: RunStore) -> dict[str, Any]:
    """All that is readable of the one run that has begun; reading it is the first of the claims."""
    found: dict[str, Any] = {}
    for run in store.runs():
        info = run.info()
        if not info.started:
            assert info.status is RunStatus.CRASHED
            continue
        run.spec(), run.environment(), run.resumed_environments(), log.unsealed(run.path, info)
        assert [each for each in verify_run(run) if each.kind == "fault"] == []
        rows = [step for columns in run.all_metrics().values() for step in columns["step"].tolist()]
        assert rows == sorted(set(rows)), "a row of metrics twice"
        last = run.load_checkpoint("last") if run.checkpoints() else None
        assert last is None or not last.skipped
        found[run.label] = {
            "status": info.status,
            "rows": rows,
            "checkpoint": last.step if last else None,
            "best": run.best(),
            "results": len(run.results("evals")),
            "figures": len(list((run.path / "figures").glob("*.png"))),
        }
    return found


def _kept(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether nothing of what was readable is gone. Taking a run back to a checkpoint puts later rows aside."""
    for label, old in before.items():
        new = now[label]
        lost = set(old["rows"]) - set(new["rows"])
        if old["checkpoint"] is not None and (new["checkpoint"] or 0) < old["checkpoint"]:
            return False
        if any(row <= (old["checkpoint"] or 0) for row in lost) or old["results"] > new["results"]:
            return False
        if old["best"] is not None and new["best"] is None:
            return False
    return True


_LOCK = type(threading.Lock())


class _Prepared:
    """What an act is done to, made once: its folder is copied back, and what is in memory copied, for each fault.

    The folder of the fault before is put aside, because that is one operation, and removing it is hundreds.
    """

    def __init__(self, root: Path, act: Act) -> None:
        self._root, self._kept, self._done = root, root.with_name("kept"), root.with_name("done")
        self._done.mkdir()
        self._store = RunStore(root, Disk())
        self._subject = act.prepare(self._store)
        if root.exists():
            shutil.copytree(root, self._kept)
        self.content = _content(RunStore(root))

    def again(self) -> tuple[RunStore, Disk, Any]:
        if self._root.exists():
            self._root.rename(self._done / str(len(list(self._done.iterdir()))))
        if self._kept.exists():
            shutil.copytree(self._kept, self._root)
        # In one call: the store and what was made with it share their disk. A writer's lock cannot be copied.
        locks = {
            id(each): each for each in getattr(self._subject, "__dict__", {}).values() if isinstance(each, _LOCK)
        }
        store, subject = copy.deepcopy((self._store, self._subject), locks)
        return store, store.fs, subject


def _operations(prepared: _Prepared, act: Act) -> tuple[list[str], Any, Any]:
    """The operations of an act on a disk that is well, what it comes to, and what the run comes to in the end."""
    store, disk, subject = prepared.again()
    disk.arm(0, KILL)
    act.do(store, subject)
    operations, content = list(disk.operations), _comparable(store)
    if act.last is not None:
        _to_the_end(subject, act.last)
    return operations, content, _comparable(store)


def _met(act: Callable[[], object]) -> StoreWriteError | Killed | None:
    try:
        act()
    except (StoreWriteError, Killed) as error:
        return error
    return None


def _comparable(store: RunStore) -> Any:
    """What the newest run holds: a claim that failed half way may have cost a version number, a result been kept."""
    return [each | {name: bool(each[name]) for name in ("results", "figures")} for each in _content(store).values()][
        -1:
    ]


@pytest.mark.parametrize("fault", ["full disk", "read-only", "kill"])
@pytest.mark.parametrize("name", ACTS)
def test_a_fault_at_any_operation_of_any_act(tmp_path: Path, name: str, fault: str) -> None:
    _check(tmp_path, ACTS[name], fault)


def test_other_faults_at_any_operation_of_the_act_that_has_them_all(tmp_path: Path) -> None:
    """To the store they differ from a read-only disk in the error's number alone, and they do not last.

    Each operation meets one of them, in turns of 3.
    """
    name = "checkpoint in place of another"
    store = RunStore(tmp_path / "counted", disk := Disk())
    subject = ACTS[name].prepare(store)
    disk.arm(0, KILL)
    ACTS[name].do(store, subject)
    assert set(disk.operations) == {"mkdir", "write", "sync", "rename", "remove", "rmdir"}
    _check(tmp_path, ACTS[name], "permission", "device", "vanished")


def _check(tmp_path: Path, act: Act, *faults: str) -> None:
    root = tmp_path / "runs"
    prepared = _Prepared(root, act)
    before = prepared.content
    operations, expected, in_the_end = _operations(prepared, act)
    assert len(operations) >= 4
    for number, operation in enumerate(operations, start=1):
        fault = faults[number % len(faults)]
        error = FAULTS[fault]
        store, disk, subject = prepared.again()
        disk.arm(number, error)
        reached = f"{fault} at operation {number}: {operation}"
        met = _met(lambda: act.do(store, subject))  # noqa: B023 - called at once
        if isinstance(met, Killed):
            assert error == KILL, reached
            for run in RunStore(root).runs():
                bury(run)
            assert _kept(before, _content(RunStore(root))), reached
            act.again(RunStore(root, CountingFileSystem()))
            assert _comparable(RunStore(root)) == in_the_end, reached
        elif met is not None:
            assert error != KILL, reached
            assert met.what, reached
            assert met.hint, reached
            assert str(root) in str(met.where), reached
            assert _kept(before, _content(RunStore(root))), reached
            # What cannot be removed stays, under a name that nobody reads.
            assert error in LASTING or operation in ("remove", "rmdir") or not temporaries(root), reached
            disk.arm(0, KILL)
            act.do(store, subject)
            assert _comparable(RunStore(root)) == expected, reached
        else:
            # Where it changes nothing, as of an operation that cleans up.
            assert error != KILL, reached
            assert _comparable(RunStore(root)) == expected, reached


def _in_place(store: RunStore, run: Run) -> None:
    path = run.path / layout.RUN_FILE
    content = path.read_bytes()
    store.fs.remove(path)
    store.fs.write(path, content)


def _all_checkpoints_first(store: RunStore, run: Run) -> None:
    for step in run.checkpoints():
        discard(store.fs, run.path / layout.CHECKPOINTS_FOLDER / layout.step_name(step))
    bury(run)
    writer = store.reopen(run)
    save(writer, 20)


@pytest.mark.parametrize("fault", ["full disk", "kill"])
@pytest.mark.parametrize("twin", [_in_place, _all_checkpoints_first])
def test_a_store_that_writes_in_place_or_removes_first_is_caught(
    tmp_path: Path, twin: Callable[[RunStore, Run], object], fault: str
) -> None:
    with pytest.raises((AssertionError, StoreCorrupt, StoreWriteError)):
        _check(tmp_path, Act(_dead, twin, _on_the_run(twin)), fault)
