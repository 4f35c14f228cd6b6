"""A run is alive to readers who have its heartbeat alone, whatever its process is at."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.planning.plan import resolve_plan
from dregcli.app.training import heartbeat, train
from dregcli.engine.training import Trainer
from dregcli.errors import RunStateError
from dregcli.filesystem import LocalFileSystem
from dregcli.names import RunStatus
from dregcli.specs.resolve import merge_options
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter
from tests.support.listener import Recorder
from tests.support.quick_training import quick_training
from tests.support.shared_disk import Host
from tests.support.store_faults import CountingFileSystem, FailingFileSystem
from tests.support.store_runs import ENVIRONMENT, SPEC, FakeClock


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "_SECONDS", 0.005)


def beat(run: Run) -> Any:
    lease = run.info().lease
    assert lease is not None
    return lease.heartbeat


def until(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 10.0
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.002)
    return True


def test_it_beats_until_the_block_ends_also_after_a_full_disk(tmp_path: Path) -> None:
    clock = FakeClock()
    disk = FailingFileSystem(10_000, errno.ENOSPC, lasting=False)
    writer = RunStore(tmp_path, disk, clock.clock).claim("x", spec=SPEC, environment=ENVIRONMENT)
    writer.append("train", {"step": 1})
    for at in (disk.count + 1, disk.count + 2, 10_000):
        disk.at = at
        with heartbeat.heartbeat(writer):
            clock.pass_seconds(290)
            assert until(lambda: beat(writer.run) == clock.time)
    assert not writer.run.metrics("train"), "rows are for the thread that appends them"
    ended = beat(writer.run)
    clock.pass_seconds(290)
    time.sleep(0.05)
    assert beat(writer.run) == ended


def test_it_ends_when_another_process_has_the_run(tmp_path: Path) -> None:
    time_now = FakeClock()
    first, second = (Host(tmp_path / "runs", name, time_now) for name in ("first", "second"))
    with first.here() as store:
        writer = store.claim("x", spec=SPEC, environment=ENVIRONMENT)
        time_now.pass_seconds(301)
    second.refresh()
    with second.here() as store:
        store.reopen(Run(store.root / "x" / "v001", store.fs, store.clock))
    first.refresh()
    threads = threading.active_count()
    with first.here(), heartbeat.heartbeat(writer):
        assert until(lambda: threading.active_count() == threads)
        with pytest.raises(RunStateError, match="was taken over"):
            writer.flush()
    second.refresh()
    (lease,) = [run.info().lease for run in second.store.runs()]
    assert lease is not None
    assert (lease.host, lease.generation) == ("second", 2)


def test_a_beat_puts_no_older_state_in_the_place_of_a_newer_one(tmp_path: Path) -> None:
    class SlowForOthers(LocalFileSystem):
        """A thread that is not the main one waits between the content of a file and its name."""

        def write(self, path: Path, content: bytes) -> None:
            super().write(path, content)
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                time.sleep(0.1)

    begun = threading.Event()
    writer: RunWriter = RunStore(tmp_path, SlowForOthers()).claim("x", spec=SPEC, environment=ENVIRONMENT)
    thread = threading.Thread(target=writer.beat)
    thread.start()
    assert begun.wait(10.0)
    writer.add_failure({"step": 3})
    thread.join()
    assert [each["step"] for each in writer.run.info().failures] == [3]
    writer.finish(RunStatus.FAILED, {})
    with pytest.raises(RunStateError, match="is finished"):
        writer.beat()


@pytest.mark.parametrize("long", ["warm_up", "advance"])
def test_a_training_beats_while_it_compiles_and_in_a_long_step(tmp_path: Path, monkeypatch, long: str) -> None:
    quick_training(monkeypatch)
    store, act, seen = RunStore(tmp_path, CountingFileSystem()), getattr(Trainer, long), list[bool]()

    def slow(trainer: Trainer) -> Any:
        (run,) = store.runs()
        before = beat(run)
        seen.append(until(lambda: beat(run) > before))
        return act(trainer)

    monkeypatch.setattr(Trainer, long, slow)
    options, faults = merge_options({"k": 2, "steps": 1, "hidden": (6,), "latent_dim": 2, "device": "cpu"}, {}, None)
    plan, threads = resolve_plan(options, Path("unused"), faults), threading.active_count()
    train.start(plan, name="run", store=store, argv=["dreg"], listener=Recorder())
    assert seen == [True]
    assert threading.active_count() == threads
