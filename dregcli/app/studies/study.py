"""Train the runs of a study one after the other: completed runs are skipped, interrupted runs continue."""

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
from dregcli.app.training.evaluations import SPLITS
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
"""The exit code of a study if another process is still training one of its runs."""

GO_ON: Final = "run the same command again to continue the study"

_OF_ONE_RUN: Final = (Diverged, NotFinite, DeviceUnavailable, CheckpointCorrupt, StoreCorrupt, RunStateError)
"""Errors that end one run but not the study. A full disk ends the study, because all other runs would fail, too."""


@dataclass(frozen=True)
class Failure:
    """Why a run of a study has no results. It does not keep the error, whose traceback would keep a whole model."""

    what: str
    where: str | None
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, error: DregError) -> "Failure":
        """Return the parts of an error that are shown."""
        return cls(error.what, error.where, error.hint, error.exit_code)

    def __str__(self) -> str:
        where = f"\n  where: {self.where}" if self.where else ""
        return f"{self.what}{where}" + (f"\n  next:  {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class StudyRun:
    """The outcome of one run of a study.

    Attributes:
        spec: spec of the run.
        run: the run; None if it failed before it was claimed.
        info: state of the run when the study ended.
        skipped: whether it was done before, or another process is training it.
        failure: why it has no results; None if it has results, or another process is training it.
    """

    spec: RunSpec
    run: Run | None
    info: RunInfo | None
    skipped: bool
    failure: Failure | None


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes:
        runs: one entry for each combination, in the order of the study.
        report: report on these runs; None if there is no run.
    """

    runs: tuple[StudyRun, ...]
    report: Report | None

    @property
    def exit_code(self) -> int:
        """The exit code of the first failure, also of an earlier call; 5 if another process is training a run."""
        failed = next((each.failure.exit_code for each in self.runs if each.failure), None)
        if failed is not None:
            return failed
        return 0 if all(each.info and each.info.status is RunStatus.COMPLETED for each in self.runs) else UNFINISHED


def run_study(
    plan: StudyPlan, *, store: RunStore, data_dir: Path, argv: list[str], listener: Listener
) -> StudyResult:
    """Train the missing runs of a study, and report on all runs.

    A run with any name counts as done if it is completed and has the same experiment and seed. A run that diverged is
    not tried again, because the same numbers would diverge again.

    Args:
        plan: the study.
        store: the store in which runs are found and kept.
        data_dir: the data folder.
        argv: the command line, kept in each new run.
        listener: receives progress messages.

    Raises:
        Interrupted: a signal came; the current run has a checkpoint, and the same command continues the study.
        StoreFormatError: the store has another format.
        StoreWriteError: the store cannot be written.
        Other errors: see ``dregcli.app.training.train.start``; only errors that concern more than one run.
    """
    study = _Study(plan, store, data_dir, argv, _StudyListener(listener))
    ended = [study.settle(number, each) for number, each in enumerate(plan.combinations, 1)]
    runs = tuple(_with_final_state(each) for each in ended)
    paths = [str(each.run.path) for each in runs if each.run and each.info]
    return StudyResult(runs, make_report(paths, runs_dir=store.root) if paths else None)


def _with_final_state(ended: StudyRun) -> StudyRun:
    """Add the run's state at the end of the study: another process may have finished the run meanwhile."""
    try:
        info = ended.run.info() if ended.run else None
    except DregError:  # the run was removed or damaged meanwhile, so that the report cannot show it
        info = None
    return StudyRun(ended.spec, ended.run, info, ended.skipped, ended.failure)


class _Study:
    """A study in progress."""

    def __init__(
        self, plan: StudyPlan, store: RunStore, data_dir: Path, argv: list[str], listener: "_StudyListener"
    ) -> None:
        self._plan, self._store, self._data_dir, self._argv = plan, store, data_dir, argv
        self._listener = listener
        self._known = repeats_in(store)

    def settle(self, number: int, combination: Combination) -> StudyRun:
        """Make sure that one run exists, or record why it failed."""
        of = len(self._plan.combinations)
        label = f"run {number} of {of}: {combination.label}"
        key = key_of(combination.spec)
        before = self._known.get(key)
        if before and before.standing is Standing.DONE:
            return self._skipped(label, combination, before)
        try:
            with self._listener.task(label, of, "runs", done=number - 1):
                return self._trained(label, key, combination)
        except Interrupted as error:
            raise type(error)(error.what, where=error.where, hint=GO_ON) from error
        except _OF_ONE_RUN as error:
            failure, refused = Failure.of(error), isinstance(error, RunStateError)
        after = repeats_in(self._store).get(key)
        if refused and after and after.standing in (Standing.DONE, Standing.RUNNING):
            return self._skipped(label, combination, after)  # another process was faster
        self._listener.warn(f"{label}: failed: {failure}")
        return StudyRun(combination.spec, after.run if after else None, None, skipped=False, failure=failure)

    def _trained(self, label: str, key: Key, combination: Combination) -> StudyRun:
        work = self._work(key, combination)
        if isinstance(work, Repeat):
            return self._skipped(label, combination, work)
        self._listener.note(label)
        result = work()
        bound = result.summary["bound"].get(Split.TEST.value)
        known = "" if bound is None else f", test bound {bound:.2f} nats"
        self._listener.note(f"{label}: done{known}, {result.run.path}")
        return StudyRun(combination.spec, result.run, None, skipped=False, failure=None)

    def _work(self, key: Key, combination: Combination) -> Repeat | Callable[[], TrainResult]:
        """Return the function that trains or continues a run, or the existing run if there is nothing to do."""
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

    def _skipped(self, label: str, combination: Combination, found: Repeat) -> StudyRun:
        failure: Failure | None = None
        match found.standing:
            case Standing.RUNNING:
                holder = found.info.lease.holder if found.info.lease else "another process"
                self._listener.note(f"{label}: skipped, {found.run.path} is being written by {holder}")
            case Standing.BROKEN:
                failure = _failed_before(found, combination.spec)
                self._listener.warn(f"{label}: skipped: {failure}")
            case _:
                self._listener.note(f"{label}: done before, {found.run.path}")
                self._warn_untracked(label, combination, found)
                self._warn_unbounded(label, combination, found)
        return StudyRun(combination.spec, found.run, None, skipped=True, failure=failure)

    def _warn_untracked(self, label: str, combination: Combination, found: Repeat) -> None:
        """Warn if a run lacks tracked estimators; it still counts as done: tracking does not change training."""
        tracked = found.run.spec().get("track_estimators", [])
        if missing := [word for word in combination.spec.track_estimators if word not in tracked]:
            words = ", ".join(missing)
            self._listener.warn(f"{label}: the run was trained without tracking {words}; it is not trained again")

    def _warn_unbounded(self, label: str, combination: Combination, found: Repeat) -> None:
        """Warn if a run lacks final bounds that the study asks for: they do not change training either."""
        known = found.info.summary.get("bound", {})
        if missing := [split for split in SPLITS[combination.spec.final_eval] if split not in known]:
            words = ("train", "--resume", found.run.path, "--final-eval", combination.spec.final_eval)
            how = f"compute them: {command(*words)}"
            self._listener.warn(f"{label}: the run has no final bounds of {', '.join(missing)}; {how}")


def _failed_before(found: Repeat, spec: RunSpec) -> Failure:
    """Return a failure that would happen again, from the run's record of it."""
    last = found.info.failures[-1]
    what = str(last.get("error", "")).partition("\n")[0]
    hint = (
        f"use other settings, such as a smaller --lr than {spec.lr:g}; "
        f"or try it again: {command('train', '--resume', found.run.path)}"
    )
    where = f"{found.run.path}, step {last.get('step')}, in an earlier call"
    return Failure(what, where, hint, (found.failed_by or DregError).exit_code)


class _StudyListener:
    """Pass on the messages of runs, each warning once per study, and end tasks that a failure left open."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._warned: set[str] = set()
        self._open = 0

    @contextmanager
    def task(self, name: str, total: int, unit: str, *, done: int) -> Generator[None]:
        """Begin a task that ends with the block, together with all tasks that are still open inside it."""
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
        """See ``Listener``; an equal warning is passed on only once."""
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
