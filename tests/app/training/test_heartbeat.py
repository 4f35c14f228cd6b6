"""A run in a long evaluation is alive to readers who have its heartbeat alone."""

from pathlib import Path

from dregcli.app.training.heartbeat import Heartbeat
from dregcli.store.runs import RunStore
from tests.support.listener import Recorder
from tests.support.store_faults import CountingFileSystem
from tests.support.store_runs import ENVIRONMENT, SPEC, FakeClock


def test_updates_flush_when_that_is_due(tmp_path: Path) -> None:
    time, told = FakeClock(), Recorder()
    writer = RunStore(tmp_path, CountingFileSystem(), time.clock).claim("x", spec=SPEC, environment=ENVIRONMENT)
    listener = Heartbeat(told, writer)

    def beat() -> float:
        lease = writer.run.info().lease
        assert lease is not None
        return (time.time - lease.heartbeat).total_seconds()

    listener.begin("evaluate test", 100, "examples")
    time.pass_seconds(29)
    listener.update(10)
    assert beat() == 29
    time.pass_seconds(1)
    listener.update(20, {"bound": -1.0})
    assert beat() == 0
    listener.end()
    assert told.updates == [(10, {}), (20, {"bound": -1.0})]
