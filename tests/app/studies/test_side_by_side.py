"""Runs of a study in other processes: what the study does with what they say, and with those that fall silent."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.models.code import Code, CodeKind
from dregcli.app.studies import pipes
from dregcli.app.studies.messages import Gone, Message
from dregcli.app.studies.outcome import GO_ON, Failure, StudyResult
from dregcli.app.studies.plan import StudyPlan, plan_study
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.app.studies.side_by_side import Start, UnexpectedInWorker, Worker, start_process
from dregcli.app.studies.study import run_study
from dregcli.app.studies.worker import Order, Outcome, settle
from dregcli.errors import DregError, Interrupted, StoreWriteError, Terminated, UsageError, WorkerLost
from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.listener import Recorder
from tests.support.quick_training import quick_training

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 4,
    "hidden": (6,),
    "latent_dim": 2,
    "log_every": 2,
    "eval_every": 0,
    "device": "cpu",
    "backward": "dense",
    "seeds": "0-1",
    "estimator": ["dreg", "reparam"],
}
LABELS = [
    f"run {i} of 4: iwae/{e}, seed {s}"
    for i, (s, e) in enumerate(((s, e) for s in (0, 1) for e in ("dreg", "reparam")), 1)
]

Tell = Callable[[Message | Gone], None]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def planned(**options: Any) -> StudyPlan:
    return plan_study(TrainRequest({**SMALL, **options}), Files({}, {}), NOWHERE)


class Workers:
    """Workers that live in this process: the oldest ends when there are as many as there may be, or no more come.

    Args:
        root: the store.
        says: for some labels, what a worker says in place of training its run, before it is gone.
        at_once: number of workers at which the oldest ends.
    """

    def __init__(self, root: Path, says: dict[str, list[Message | Gone]] | None = None, at_once: int = 2) -> None:
        self._root, self._says, self._at_once = root, says or {}, at_once
        self._plan = planned()
        self.started: list[str] = []
        self.open: list[tuple[Order, Tell]] = []
        self.most = 0
        self.stopped: list[str] = []

    def start(self, order: Order, tell: Tell) -> "_Worker":
        document = order.document()
        assert Order.parse(document).document() == document
        self.started.append(order.label)
        self.open.append((order, tell))
        self.most = max(self.most, len(self.open))
        while len(self.open) == self._at_once or (self.open and order.label == LABELS[-1]):
            self._end(*self.open.pop(0))
        return _Worker(self, order, tell)

    def _end(self, order: Order, tell: Tell) -> None:
        said = self._says.get(order.label)
        if said is None:
            tell({"begin": ["train", 4, "steps", 0]})
            tell({"update": [2, {"bound": -1.0}]})
            (mine,) = [each for each in self._plan.combinations if each.spec == order.spec]
            store, data = RunStore(self._root), self._plan.data(mine)
            said = [{"outcome": settle(order, store=store, data=data, listener=Recorder()).document()}, Gone("ended")]
        for each in said:
            tell(each)


class _Worker:
    def __init__(self, of: Workers, order: Order, tell: Tell) -> None:
        self._of, self._order, self._tell = of, order, tell

    def stop(self) -> None:
        if (self._order, self._tell) in self._of.open:
            self._of.open.remove((self._order, self._tell))
            self._of.stopped.append(self._order.label)
            parts = {"what": "Stopped by SIGTERM; ...", "where": f"{self._order.label}, step 7", "hint": "?"}
            self._tell({"error": {"kind": "Terminated", **parts}})
            self._tell(Gone("ended"))


def trained(
    root: Path, workers: Workers, recorder: Recorder | None = None, jobs: int = 2, start: Start | None = None
) -> StudyResult:
    return run_study(
        planned(),
        store=RunStore(root),
        data_dir=NOWHERE,
        argv=["dreg"],
        listener=recorder or Recorder(),
        jobs=jobs,
        start=start or workers.start,
    )


def test_the_study_is_the_serial_one(tmp_path) -> None:
    serial = trained(tmp_path / "serial", Workers(tmp_path), jobs=1)
    workers, recorder = Workers(tmp_path / "beside"), Recorder()
    beside = trained(tmp_path / "beside", workers, recorder)
    assert (workers.started, workers.most) == (LABELS, 2)
    for one, other in zip(serial.runs, beside.runs, strict=True):
        assert one.run
        assert other.run
        assert one.run.label == other.run.label
        assert replace(one, run=None, info=None) == replace(other, run=None, info=None)
        assert differences(one.run, other.run) == []
    assert beside.exit_code == 0
    assert recorder.begun == [("4 runs, 2 at once", 4, "runs", 0)]
    assert [done for done, _ in recorder.updates] == [1, 2, 3, 4]
    assert [*recorder.pieces] == LABELS
    assert all(each.begun == [("train", 4, "steps", 0)] for each in recorder.pieces.values())
    assert {recorder.open_tasks, *(each.open_tasks for each in recorder.pieces.values())} == {0}
    assert [note for note in recorder.notes if note.startswith(f"{LABELS[3]}: done, test bound ")]

    again = Workers(tmp_path / "beside")
    assert all(each.skipped for each in trained(tmp_path / "beside", again).runs)
    assert again.started == [], "no process is started for a run that is done"


def test_more_jobs_than_runs_are_as_many_as_there_are_runs(tmp_path) -> None:
    workers, recorder = Workers(tmp_path, at_once=4), Recorder()
    assert trained(tmp_path, workers, recorder, jobs=9).exit_code == 0
    assert workers.most == 4
    assert recorder.begun[0][0] == "4 runs, 4 at once"


def test_a_worker_that_is_killed_is_a_failed_run_and_the_others_go_on(tmp_path) -> None:
    killed: list[Message | Gone] = [{"begin": ["train", 4, "steps", 0]}, Gone("was killed by SIGKILL")]
    killed.append({"output": "printed later, by a process that it had started"})
    workers, recorder = Workers(tmp_path, {LABELS[1]: killed}), Recorder()
    result = trained(tmp_path, workers, recorder)
    assert [each.failure is not None for each in result.runs] == [False, True, False, False]
    assert result.exit_code == WorkerLost.exit_code
    assert result.report
    assert len(result.report.runs) == 3
    (told,) = recorder.warnings
    assert told.startswith(f"{LABELS[1]}: failed: The process that trained this run was killed by SIGKILL.")
    assert f"next:  {GO_ON}; if memory ran out, use a smaller --jobs or --k-chunk" in told
    assert recorder.pieces[LABELS[1]].open_tasks == 0
    assert trained(tmp_path, Workers(tmp_path, at_once=1)).exit_code == 0


def test_a_worker_that_is_stopped_alone_is_a_failed_run_too(tmp_path) -> None:
    parts = {"what": "Stopped by SIGTERM; a checkpoint was written first.", "where": "x", "hint": "y"}
    alone: list[Message | Gone] = [{"error": {"kind": "Terminated", **parts}}, Gone("ended")]
    result = trained(tmp_path, Workers(tmp_path, {LABELS[0]: alone}))
    assert [each.failure for each in result.runs] == [Failure(**parts, exit_code=143), None, None, None]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated)])
def test_a_signal_stops_all_that_are_in_progress_and_starts_no_more(tmp_path, monkeypatch, number, error) -> None:
    workers = Workers(tmp_path, at_once=3)
    start = workers.start

    def signalled(order: Order, tell: Tell) -> _Worker:
        if order.label == LABELS[1]:
            os.kill(os.getpid(), number)
        return start(order, tell)

    monkeypatch.setattr(workers, "start", signalled)
    with pytest.raises(error) as raised:
        trained(tmp_path, workers)
    assert type(raised.value) is error
    assert (workers.started, workers.stopped) == (LABELS[:2], LABELS[:2])
    assert raised.value.what == f"Stopped by {number.name}; what the 2 runs in progress had done is kept."
    assert raised.value.where == f"{LABELS[0]}, step 7; {LABELS[1]}, step 7"
    assert raised.value.hint == GO_ON


@pytest.mark.parametrize("kind", [StoreWriteError, UsageError])
def test_an_error_of_the_whole_study_stops_the_others_first(tmp_path, kind: type[DregError]) -> None:
    parts = {"what": "No space.", "where": "disk", "hint": "free some"}
    full: list[Message | Gone] = [{"error": {"kind": kind.__name__, **parts}}, Gone("ended")]
    workers = Workers(tmp_path, {LABELS[0]: full})
    with pytest.raises(kind, match="No space") as raised:
        trained(tmp_path, workers)
    assert (raised.value.where, raised.value.hint) == ("disk", "free some")
    assert (workers.started, workers.stopped) == (LABELS[:2], [LABELS[1]])


def test_a_process_that_cannot_be_started_ends_the_study_and_stops_the_others_first(tmp_path, monkeypatch) -> None:
    workers = Workers(tmp_path, at_once=3)

    def limited(order: Order, tell: Tell) -> Worker:
        return start_process(order, tell) if order.label == LABELS[1] else workers.start(order, tell)

    def refused(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pipes, "Popen", refused)
    with pytest.raises(WorkerLost, match="Too many open files") as raised:
        trained(tmp_path, workers, jobs=3, start=limited)
    assert "smaller --jobs" in str(raised.value)
    assert (workers.started, workers.stopped) == (LABELS[:1], LABELS[:1])


def test_a_fault_of_the_program_in_a_worker_keeps_its_traceback(tmp_path) -> None:
    trace = "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero\n"
    workers = Workers(tmp_path, {LABELS[0]: [{"unexpected": trace}, Gone("ended")]})
    with pytest.raises(UnexpectedInWorker) as raised:
        trained(tmp_path, workers)
    assert str(raised.value) == "ZeroDivisionError: division by zero"
    assert raised.value.__notes__ == [trace]


def test_what_another_process_trained_meanwhile_is_done(tmp_path) -> None:
    workers, others = Workers(tmp_path), Workers(tmp_path)
    start = workers.start

    def late(order: Order, tell: Tell) -> _Worker:
        if order.label == LABELS[0]:
            trained(tmp_path, others, jobs=1)
        return start(order, tell)

    workers.start = late
    result = trained(tmp_path, workers)
    assert [(each.skipped, each.shared, each.failure) for each in result.runs] == [(True, True, None)] * 4
    assert [run.status() for run in RunStore(tmp_path).runs()] == [RunStatus.COMPLETED] * 4


def test_orders_and_outcomes_are_plain_json() -> None:
    combination = planned().combinations[0]
    files = {"m.py": b"\xff\x00x = 1\n", "other.py": b""}
    code = Code(CodeKind.FILE, "m.py:M", "m", "M", Path("/f"), files, "/f/m.py:M", {"name": "p", "version": "1"})
    order = Order(
        *("a", combination.spec, ("w",), {"keep_last": 3}, "n", Path("r"), Path("d"), ("dreg", "train"), code),
        typed=(Path("r"), None),
    )
    assert Order.parse(order.document()) == order
    assert replace(order, code=replace(code, files={})) != order
    for outcome in (Outcome("n/v001", trained=True), Outcome(failure=Failure("w", None, "h", 18))):
        assert Outcome.parse(outcome.document()) == outcome
