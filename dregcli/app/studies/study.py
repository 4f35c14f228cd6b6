"""Train every run of a study in turn: what is done is skipped, what was cut is gone on with."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from dregcli.app.common.listener import Listener
from dregcli.app.reporting.report import Report, make_report
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.app.training import train
from dregcli.app.training.resuming import resume_plan
from dregcli.app.training.session import TrainResult
from dregcli.commands import command
from dregcli.errors import (
    CheckpointCorrupt,
    DeviceUnavailable,
    Diverged,
    DregError,
    Interrupted,
    NotFinite,
    RunStateError,
    StoreCorrupt,
)
from dregcli.names import RunStatus, Split
from dregcli.specs.run import RunSpec
from dregcli.store.records import RunInfo
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.turns import turn

UNFINISHED: Final = 5
"""The exit code of a study that lacks a run which another process is training."""

GO_ON: Final = "the same command goes on with the study"

_OF_ONE_RUN: Final = (Diverged, NotFinite, DeviceUnavailable, CheckpointCorrupt, StoreCorrupt, RunStateError)
"""What ends one run of a study and not the study. A full disk ends it: all others would fail on it, too."""


@dataclass(frozen=True)
class Failure:
    """Why a run of a study has no numbers. Not the error itself, whose traceback would hold on to a whole model."""

    what: str
    where: str | None
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, error: DregError) -> "Failure":
        """What is told of an error."""
        return cls(error.what, error.where, error.hint, error.exit_code)

    def __str__(self) -> str:
        where = f"\n  where: {self.where}" if self.where else ""
        return f"{self.what}{where}" + (f"\n  next:  {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class StudyRun:
    """What became of one combination.

    Attributes:
        spec: what it is.
        run: where it lies; None of one that failed before it was claimed.
        info: its state when the study ended.
        skipped: it was there, or another process is at it.
        failure: why it has no numbers; None of one that has, or that another process is at.
    """

    spec: RunSpec
    run: Run | None
    info: RunInfo | None
    skipped: bool
    failure: Failure | None


@dataclass(frozen=True)
class StudyResult:
    """What a study came to.

    Attributes:
        runs: one a combination, in the order of the study.
        report: of those runs; None where there is none of them.
    """

    runs: tuple[StudyRun, ...]
    report: Report | None

    @property
    def exit_code(self) -> int:
        """That of the first failure, also of an earlier call's; 5 where another process is still at a run."""
        failed = next((each.failure.exit_code for each in self.runs if each.failure), None)
        if failed is not None:
            return failed
        return 0 if all(each.info and each.info.status is RunStatus.COMPLETED for each in self.runs) else UNFINISHED


def run_study(
    plan: StudyPlan, *, store: RunStore, data_dir: Path, argv: list[str], listener: Listener
) -> StudyResult:
    """Train what a study lacks, and report on all of it.

    A run counts as done whatever its name, if it is completed and of the same experiment and seed. One that
    diverged is not tried again: from the same numbers it would come to the same end.

    Args:
        plan: the study.
        store: where runs are, and are kept.
        data_dir: the data folder.
        argv: the command line, kept in each run that it trains.
        listener: told of progress.

    Raises:
        Interrupted: a signal came; the run at work has its checkpoint, and the same command goes on.
        StoreFormatError: the store is of another format.
        StoreWriteError: the store cannot be written.
        Others as ``dregcli.app.training.train.start``, of faults that are not of one run alone.
    """
    study = _Study(plan, store, data_dir, argv, _StudyListener(listener))
    ended = [study.settle(number, each) for number, each in enumerate(plan.combinations, 1)]
    runs = tuple(_as_it_stands(each) for each in ended)
    paths = [str(each.run.path) for each in runs if each.run and each.info]
    return StudyResult(runs, make_report(paths, runs_dir=store.root) if paths else None)


def _as_it_stands(ended: StudyRun) -> StudyRun:
    """With its state at the study's end: what another process was at may be done by now."""
    try:
        info = ended.run.info() if ended.run else None
    except DregError:  # removed or damaged meanwhile; the report could say no more of it
        info = None
    return StudyRun(ended.spec, ended.run, info, ended.skipped, ended.failure)


class _Study:
    """A study at work."""

    def __init__(
        self, plan: StudyPlan, store: RunStore, data_dir: Path, argv: list[str], listener: "_StudyListener"
    ) -> None:
        self._plan, self._store, self._data_dir, self._argv = plan, store, data_dir, argv
        self._listener = listener
        self._known = repeats_in(store)

    def settle(self, number: int, combination: Combination) -> StudyRun:
        """See that one run is there, or say why it is not."""
        of = len(self._plan.combinations)
        told = f"run {number} of {of}: {combination.told}"
        key = key_of(combination.spec)
        before = self._known.get(key)
        if before and before.standing is Standing.DONE:
            return self._skipped(told, combination, before)
        try:
            with self._listener.task(told, of, "runs", done=number - 1):
                return self._trained(told, key, combination)
        except Interrupted as error:
            raise type(error)(error.what, where=error.where, hint=GO_ON) from error
        except _OF_ONE_RUN as error:
            failure, refused = Failure.of(error), isinstance(error, RunStateError)
        after = repeats_in(self._store).get(key)
        if refused and after and after.standing in (Standing.DONE, Standing.AT_WORK):
            return self._skipped(told, combination, after)  # another process was faster
        self._listener.warn(f"{told}: failed: {failure}")
        return StudyRun(combination.spec, after.run if after else None, None, skipped=False, failure=failure)

    def _trained(self, told: str, key: Key, combination: Combination) -> StudyRun:
        work = self._work(key, combination)
        if isinstance(work, Repeat):
            return self._skipped(told, combination, work)
        self._listener.note(told)
        result = work()
        bound = result.summary["bound"][Split.TEST.value]
        self._listener.note(f"{told}: done, test bound {bound:.2f} nats, {result.run.path}")
        return StudyRun(combination.spec, result.run, None, skipped=False, failure=None)

    def _work(self, key: Key, combination: Combination) -> Repeat | Callable[[], TrainResult]:
        """What trains a run, new or cut; or the one that is there, where there is nothing to do."""
        store, argv, listener = self._store, self._argv, self._listener
        with turn(store):
            found = repeats_in(store).get(key)
            if found is None:
                plan = self._plan.plan(combination)
                return train.claim(plan, name=self._plan.name, store=store, argv=argv, listener=listener)
        if found.standing is not Standing.CUT:
            return found
        plan = resume_plan(found.run, combination.free, self._data_dir)
        return partial(train.resume, found.run, plan, store=store, argv=argv, listener=listener)

    def _skipped(self, told: str, combination: Combination, found: Repeat) -> StudyRun:
        failure: Failure | None = None
        match found.standing:
            case Standing.AT_WORK:
                holder = found.info.lease.holder if found.info.lease else "another process"
                self._listener.note(f"{told}: skipped, {found.run.path} is being written by {holder}")
            case Standing.BROKEN:
                failure = _failed_before(found, combination.spec)
                self._listener.warn(f"{told}: skipped: {failure}")
            case _:
                self._listener.note(f"{told}: done before, {found.run.path}")
                self._tell_untracked(told, combination, found)
        return StudyRun(combination.spec, found.run, None, skipped=True, failure=failure)

    def _tell_untracked(self, told: str, combination: Combination, found: Repeat) -> None:
        """Training notices nothing of what it tracks, so that a run without is as good, but for that."""
        tracked = found.run.spec().get("track_estimators", [])
        if missing := [word for word in combination.spec.track_estimators if word not in tracked]:
            self._listener.warn(f"{told}: it was trained without tracking {', '.join(missing)}, and is left as it is")


def _failed_before(found: Repeat, spec: RunSpec) -> Failure:
    """A failure that would come again, as the run has kept it."""
    last = found.info.failures[-1]
    what = str(last.get("error", "")).partition("\n")[0]
    hint = (
        f"use other settings, such as a smaller --lr than {spec.lr:g}; "
        f"or try it once more: {command('train', '--resume', found.run.path)}"
    )
    where = f"{found.run.path}, step {last.get('step')}, in an earlier call"
    return Failure(what, where, hint, (found.failed_by or DregError).exit_code)


class _StudyListener:
    """Passes on what runs tell, each warning once for the study, and closes the tasks that a failure leaves open."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._warned: set[str] = set()
        self._open = 0

    @contextmanager
    def task(self, name: str, total: int, unit: str, *, done: int) -> Generator[None]:
        """A task that ends with the block, and whatever is open inside of it."""
        outside = self._open
        self.begin(name, total, unit, done=done)
        try:
            yield
        finally:
            while self._open > outside:
                self.end()

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.note(message)

    def warn(self, message: str) -> None:
        """See ``Listener``; what was said before is not said again."""
        if message not in self._warned:
            self._warned.add(message)
            self._listener.warn(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""
        self._open += 1
        self._listener.begin(task, total, unit, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``."""
        self._listener.update(done, values)

    def end(self) -> None:
        """See ``Listener``."""
        self._open -= 1
        self._listener.end()
