"""Leases of hosts that share a disk: a living writer keeps its run, and a dead one's is taken over in time."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from dregcli.errors import RunStateError
from dregcli.names import RunStatus
from dregcli.store import lease
from dregcli.store.job import Job, own_job
from dregcli.store.lease import Lease
from dregcli.store.records import read_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter
from tests.support.shared_disk import Host
from tests.support.store_runs import FakeClock

BEAT = 30
LIMIT = 300


class Two:
    """A writer's host and another one, with the true time."""

    def __init__(self, folder, *, ahead: float = 0.0) -> None:
        self.time = FakeClock()
        self.writers = Host(folder / "runs", "first", self.time)
        self.other = Host(folder / "runs", "second", self.time, ahead)
        with self.writers.here() as store:
            self.writer = store.claim("x", spec={"k": 1}, environment={})

    def beats(self, times: int) -> None:
        """The writer lives; what the other host sees of the disk is older than the last beat each time it looks."""
        for _ in range(times):
            self.look()
            with self.writers.here():
                self.writer.flush()
            self.time.pass_seconds(BEAT)
            assert self.status() is RunStatus.RUNNING
            with self.other.here() as store, pytest.raises(RunStateError, match="being written by process"):
                store.reopen(self.run(store))

    def run(self, store: RunStore) -> Run:
        (run,) = store.runs()
        return run

    def look(self) -> None:
        self.other.refresh()

    def status(self) -> RunStatus:
        with self.other.here() as store:
            return self.run(store).status()

    def dies(self) -> float:
        """The writer beats no more; return after how many seconds the other host knows."""
        with self.writers.here():
            self.writer.flush()
        for seconds in range(0, 900, 10):
            self.look()
            if self.status() is RunStatus.CRASHED:
                return seconds
            self.time.pass_seconds(10)
        pytest.fail("nobody takes it over")

    def taken_over(self) -> RunWriter:
        self.look()
        with self.other.here() as store:
            return store.reopen(self.run(store))


@pytest.mark.parametrize("ahead", [0, -120, 120])
def test_a_living_writer_keeps_its_run_and_a_dead_ones_is_taken_over(tmp_path, ahead: float) -> None:
    two = Two(tmp_path, ahead=ahead)
    two.beats(12)
    assert two.dies() == LIMIT - ahead + 10
    writer = two.taken_over()
    writer.append("train", {"step": 1})
    writer.finish(RunStatus.COMPLETED, {"step": 1})
    # The dead one was asleep, and wakes up.
    two.writers.refresh()
    with two.writers.here(), pytest.raises(RunStateError, match="on second"):
        two.writer.flush()
    two.writers.refresh()
    assert two.run(two.writers.store).status() is RunStatus.COMPLETED


def test_a_limit_without_room_for_the_clocks_would_not_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_LIMIT", lease.HEARTBEAT_LIMIT / 2)
    two = Two(tmp_path, ahead=120)
    with pytest.raises(AssertionError):
        two.beats(12)


def test_a_host_whose_view_is_old_takes_no_run_that_another_has_taken_over(tmp_path) -> None:
    two = Two(tmp_path)
    third = Host(tmp_path / "runs", "third", two.time)
    two.time.pass_seconds(LIMIT + 1)
    two.taken_over()
    with third.here() as store, pytest.raises(RunStateError, match="being written by"):
        store.reopen(two.run(store))


FIRST = {"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.mark.parametrize(
    ("environment", "job", "name"),
    [
        ({}, None, ""),
        ({"SLURM_JOB_ID": "7"}, Job("7", None, 0, None), "7"),
        (FIRST, Job("70", "3", 0, None), "70_3"),
        ({**FIRST, "SLURM_RESTART_COUNT": "2", "SLURM_CLUSTER_NAME": "a"}, Job("70", "3", 2, "a"), "70_3"),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "many"}, Job("7", None, 0, None), "7"),
        ({"SLURM_JOB_ID": "", "SLURM_ARRAY_TASK_ID": "3"}, None, ""),
    ],
)
def test_the_job_of_slurm(environment: Mapping[str, str], job: Job | None, name: str) -> None:
    assert own_job(environment) == job
    if job:
        assert job.name == name
        assert Job.parse(job.document()) == job


def _in_job(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "RESTART_COUNT", "CLUSTER_NAME"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_job_that_is_started_again_elsewhere_goes_on_at_once(tmp_path, monkeypatch) -> None:
    _in_job(monkeypatch, FIRST)
    two = Two(tmp_path)
    assert read_info(two.writer.run.path / "run.json").lease is not None
    two.time.pass_seconds(5)
    two.look()
    others = (
        {},
        FIRST,  # not started again: a second process of the same start
        {**FIRST, "SLURM_ARRAY_TASK_ID": "4", "SLURM_RESTART_COUNT": "1"},
        {**FIRST, "SLURM_ARRAY_JOB_ID": "71", "SLURM_RESTART_COUNT": "1"},
        {**FIRST, "SLURM_RESTART_COUNT": "1", "SLURM_CLUSTER_NAME": "another"},
        {"SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": "1"},
    )
    for other in others:
        _in_job(monkeypatch, other)
        assert two.status() is RunStatus.RUNNING, other
    with two.other.here() as store, pytest.raises(RunStateError, match="on first in SLURM job 70_3"):
        store.reopen(two.run(store))
    _in_job(monkeypatch, {**FIRST, "SLURM_RESTART_COUNT": "1"})
    assert two.status() is RunStatus.CRASHED
    writer = two.taken_over()
    writer.flush()
    # The start after that one, on the first host again.
    two.writers.refresh()
    _in_job(monkeypatch, {**FIRST, "SLURM_RESTART_COUNT": "2"})
    with two.writers.here() as store:
        store.reopen(two.run(store)).finish(RunStatus.COMPLETED, {})
    two.look()
    with two.other.here(), pytest.raises(RunStateError, match="taken over"):
        writer.flush()


def test_a_job_that_is_started_again_on_its_host_goes_on_at_once_in_another_container_too(monkeypatch) -> None:
    now = FakeClock().time
    for changes in ({"boot_id": "another"}, {"pid_namespace": "pid:[1]"}):
        _in_job(monkeypatch, FIRST)
        there = replace(lease.own_lease(1, now), **changes)
        assert lease.is_alive(there, now)
        _in_job(monkeypatch, {**FIRST, "SLURM_RESTART_COUNT": "1"})
        assert not lease.is_alive(there, now)


def test_a_lease_of_an_earlier_version_has_no_job(monkeypatch) -> None:
    _in_job(monkeypatch, {})
    now = FakeClock().time
    document = lease.own_lease(1, now).document()
    del document["job"]
    assert Lease.parse(document).job is None
