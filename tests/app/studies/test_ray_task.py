"""The task of a run in a Ray cluster, and the box for what it says."""

import json
import os
import signal
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.studies.messages import Gone
from dregcli.app.studies.ray import cluster, task
from dregcli.app.studies.ray.task import Box
from dregcli.specs.run import RunSpec
from dregcli.store import trash
from dregcli.store.job import Job, JobKind, own_job
from dregcli.store.runs import RunStore

ORDER = {"label": "run 1 of 1"}


def test_nothing_is_kept_of_a_start_after_a_later_one_has_begun() -> None:
    box = Box()
    assert [box.begin(0, "a"), box.begin(1, "a")] == [0, 0]
    box.put(0, 0, {"note": ["first"]})
    assert box.begin(0, "b") == 1
    box.put(0, 0, {"note": ["of the lost node"]})
    box.put(0, 1, {"note": ["second"]})
    box.put(1, 0, {"note": ["other"]})
    assert box.take() == [
        (0, {"started": ["on node a"]}),
        (1, {"started": ["on node a"]}),
        (0, {"note": ["first"]}),
        (0, {"started": ["Ray lost it on node a, and goes on with it on node b"]}),
        (0, {"note": ["second"]}),
        (1, {"note": ["other"]}),
    ]
    assert box.take() == []


class Process:
    """A worker that says a few things at once, and its last words when it is stopped."""

    stopped: int
    variables: dict[str, str]

    def __init__(self, order: Any, tell: Any, variables: dict[str, str]) -> None:
        assert order == ORDER
        type(self).stopped, type(self).variables = 0, variables
        self._tell = tell
        for said in (
            {"started": []},
            {"begin": ["train", 4, "steps", 0]},
            {"update": [1, None]},
            {"update": [2, None]},
        ):
            tell(said)

    def stop(self) -> None:
        type(self).stopped += 1
        if self.stopped == 1:
            self._tell({"error": {"kind": "Terminated"}})
            self._tell(Gone("ended"))


def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comes: signal.Signals) -> list[Any]:
    """What a task says that gets a signal after its first update."""
    stop, box = StopRequest(), Box()

    def put(*words: Any) -> None:
        box.put(*words)
        if "update" in words[-1]:
            stop.received = comes

    def remote(method: Any) -> Any:
        return SimpleNamespace(remote=method)

    @contextmanager
    def requests() -> Any:
        yield stop

    context = SimpleNamespace(get_task_id=lambda: "abc")
    ray = SimpleNamespace(get=lambda value: value, get_runtime_context=lambda: context)
    monkeypatch.setattr(task, "import_module", lambda _: ray)
    monkeypatch.setattr(task, "stop_requests", requests)
    monkeypatch.setattr(task, "ProcessWorker", Process)
    (tmp_path / "mark").touch()
    actor = SimpleNamespace(begin=remote(box.begin), put=remote(put))
    try:
        task.train(ORDER, 0, actor, str(tmp_path / "mark"), "a study")
    finally:
        kept = [message for _, message in box.take()][1:]
    assert own_job(Process.variables) == Job("abc", None, 0, "a study", JobKind.RAY)
    return kept


BEGUN = [{"begin": ["train", 4, "steps", 0]}, {"update": [1, None]}]


def test_a_cancelled_task_says_how_its_run_ended(monkeypatch, tmp_path) -> None:
    kept = said(monkeypatch, tmp_path, signal.SIGINT)
    assert kept == [*BEGUN, {"error": {"kind": "Terminated"}}, {"gone": "ended"}], "the second update came too soon"
    assert Process.stopped >= 1


def test_a_task_whose_node_leaves_keeps_its_work_and_leaves_the_rest_to_ray(monkeypatch, tmp_path) -> None:
    handed_on: list[int] = []
    monkeypatch.setattr(task, "raise_signal", handed_on.append)
    kept = said(monkeypatch, tmp_path, signal.SIGTERM)
    assert kept == BEGUN, "a run that Ray starts again has not ended"
    assert (Process.stopped >= 1, handed_on) == (True, [signal.SIGTERM])


def test_a_job_of_dreg_comes_before_one_of_slurm_around_it() -> None:
    job = Job("abc", None, 2, "a study", JobKind.RAY)
    assert own_job({"SLURM_JOB_ID": "7", **job.variables}) == job
    assert own_job({"SLURM_JOB_ID": "7"}) == Job("7", None, 0, None)
    assert job.replaces(Job("abc", None, 1, "a study", JobKind.RAY))
    assert not job.replaces(Job("abc", None, 1, "another study", JobKind.RAY))
    assert not job.replaces(Job("abc", None, 1, "a study"))
    assert Job.parse(json.loads(json.dumps(job.document()))) == job


def test_garbage_collection_leaves_the_mark_of_a_study_that_runs_for_hours(tmp_path) -> None:
    """A node that gets a run then must still see it; the store is as before when the study ends."""
    store = RunStore(tmp_path)
    with cluster.marked(store) as mark:
        left = tmp_path / ".left.tmp"
        left.write_bytes(b"")
        for path in (mark, left):
            os.utime(path, (0, 0))
        found = trash.garbage(store.runs(), tmp_path, older_than=timedelta(0), now=store.clock.now())
        assert found == [left]
        assert (mark.exists(), store.runs()) == (True, [])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("settings", "wanted"), [({}, (1, 0)), ({"threads": 4}, (4, 0)), ({"threads": 2, "device": "cuda"}, (2, 1))]
)
def test_a_run_needs_its_threads_and_its_gpu(settings: dict[str, Any], wanted: tuple[int, int]) -> None:
    needed = cluster.needs(RunSpec.model_construct(**{"device": "cpu", "threads": None, **settings}))
    assert (needed["num_cpus"], needed["num_gpus"]) == wanted
