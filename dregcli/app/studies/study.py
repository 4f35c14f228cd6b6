"""Train the runs of a study, one after the other or several at once.

Completed runs are skipped, and interrupted runs continue. Processes that run the same study share its runs. Each ends
when the whole study is complete.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.common.listener import ListenerOfMany
from dregcli.app.reporting.report import make_report
from dregcli.app.studies.claiming import being_made
from dregcli.app.studies.kept import other_settings, untracked
from dregcli.app.studies.listening import RunListener, StudyListener
from dregcli.app.studies.outcome import GO_ON, Failure, StudyResult, StudyRun
from dregcli.app.studies.pace import Pace, Present
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.app.studies.side_by_side import Start, carried_out, start_process
from dregcli.app.studies.worker import Order, Outcome, settle
from dregcli.app.training.evaluations import SPLITS
from dregcli.commands import command, remembered_folders
from dregcli.errors import DregError, Interrupted, RunStateError
from dregcli.names import Split
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore
from dregcli.wording import counted, duration, some_of


class CarryOut(Protocol):
    """Has orders carried out in other processes; see ``dregcli.app.studies.elsewhere.Elsewhere.carry_out``."""

    def __call__(
        self, orders: Mapping[int, Order], *, listener_of: Callable[[int], RunListener], stop: StopRequest
    ) -> Generator[tuple[int, Outcome]]:
        """Yield the number of each order, and its outcome."""
        ...


POLL_SECONDS: Final = 2.0
"""Time between two looks at runs that other processes train."""


def run_study(
    plan: StudyPlan,
    *,
    store: RunStore,
    data_dir: Path,
    argv: list[str],
    listener: ListenerOfMany,
    jobs: int | None = 1,
    start: Start = start_process,
    carry_out: CarryOut | None = None,
    awaits: bool = True,
) -> StudyResult:
    """Train the missing runs of a study, and report on all runs.

    A run with any name counts as done if it is completed and has the same experiment and seed. A run that diverged is
    not tried again, because the same numbers would diverge again. If other processes are training runs of the study
    when all others are done, wait for them, and continue the runs that they leave.

    Args:
        plan: the study.
        store: the store in which runs are found and kept.
        data_dir: the data folder.
        argv: the command line, kept in each new run.
        listener: receives progress messages.
        jobs: number of runs at once. Each of several has a process of its own; one alone is trained in this process.
            With ``carry_out`` it only serves to say how long the study takes, and None means that a cluster decides.
        start: starts the process of a run.
        carry_out: has runs trained elsewhere, in place of ``jobs`` and ``start``; None for this machine.
        awaits: whether this function waits for all runs; otherwise ``carry_out`` only hands them over to a cluster.

    Raises:
        Interrupted: a signal came; each run in progress has a checkpoint, and the same command continues the study.
        StoreFormatError: the store has another format.
        StoreWriteError: the store cannot be written.
        Other errors: see ``dregcli.app.training.train.start``; only errors that concern more than one run.
    """
    if carry_out is None and jobs and jobs > 1:
        carry_out = partial(carried_out, at_once=jobs, start=start, where=str(store.root))
    study = _Study(plan, store, data_dir, argv, listener, jobs, carry_out, awaits=awaits)
    runs = tuple(_with_final_state(each) for each in study.all_runs())
    paths = [str(each.run.path) for each in runs if each.run and each.info]
    report = make_report(paths, runs_dir=store.root) if paths else None
    labels = tuple(each.label for each in plan.combinations)
    return StudyResult(runs, report, store.root, labels, handed_over=not awaits)


def _with_final_state(ended: StudyRun) -> StudyRun:
    """Add the run's state at the end of the study: another process may have finished the run meanwhile."""
    try:
        info = ended.run.info() if ended.run else None
    except DregError:  # the run was removed or damaged meanwhile, so that the report cannot show it
        info = None
    return replace(ended, info=info)


class _Study:
    """A study in progress."""

    def __init__(
        self,
        plan: StudyPlan,
        store: RunStore,
        data_dir: Path,
        argv: list[str],
        listener: ListenerOfMany,
        jobs: int | None,
        carry_out: CarryOut | None,
        *,
        awaits: bool,
    ) -> None:
        self._plan, self._store, self._data_dir, self._argv = plan, store, data_dir, argv
        self._jobs, self._carry_out, self._awaits = jobs, carry_out, awaits
        self._known = repeats_in(store)
        self._done_before = {key for key, found in self._known.items() if found.standing is Standing.DONE}
        kinds = [_kind(each) for each in plan.combinations if key_of(each.spec) not in self._done_before]
        self._pace = Pace(kinds, at_once=jobs and min(jobs, len(kinds)))
        self._listener = StudyListener(listener, self._pace)

    def all_runs(self) -> list[StudyRun]:
        """Settle all runs, in the order of the study. Runs of other processes are awaited after all others.

        Raises:
            Interrupted: a signal came.
        """
        found = self._settled(range(1, len(self._plan.combinations) + 1))
        while self._awaits and (waiting := [number for number, each in found.items() if each.held]):
            found |= self._settled(self._ended(waiting))
        if any(each.failure for each in found.values()):
            self._known = repeats_in(self._store)
            found = {number: self._mended(each) for number, each in found.items()}
        return list(found.values())

    def _ended(self, waiting: list[int]) -> list[int]:
        """Wait for the runs of other processes; as soon as some of them have ended, return their numbers."""
        if ended := self._free(waiting):
            return ended
        runs = some_of([self._plan.combinations[number - 1].label for number in waiting])
        self._listener.note(f"waiting for another process, which trains {runs}; after Ctrl-C {GO_ON}")
        of = len(self._plan.combinations)
        with self._listener.task("wait", of, "runs", done=of - len(waiting)):
            while not ended:
                with stop_requests() as stop:
                    time.sleep(POLL_SECONDS)
                if stop.received is not None:
                    kept = "no run was being trained here"
                    raise stop.error(kept, where=str(self._store.root), hint=GO_ON)
                ended = self._free(waiting)
        return ended

    def _free(self, numbers: list[int]) -> list[int]:
        """Return the numbers of the runs that no other process is training now."""
        self._known = repeats_in(self._store)
        keys = {number: key_of(self._plan.combinations[number - 1].spec) for number in numbers}
        return [number for number, key in keys.items() if not self._is_held(key)]

    def _is_held(self, key: Key) -> bool:
        found = self._known.get(key)
        return _is_held(found) if found else being_made(self._store, key) is not None

    def _mended(self, ended: StudyRun) -> StudyRun:
        """Return a failed run as done if another process has completed it meanwhile."""
        after = self._known.get(key_of(ended.spec))
        if ended.failure is None or after is None or after.standing is not Standing.DONE:
            return ended
        return StudyRun(ended.spec, after.run, None, skipped=True, failure=None, shared=True)

    def _settled(self, numbers: Iterable[int]) -> dict[int, StudyRun]:
        """Make sure that runs exist, or record why they failed, or that other processes are training them.

        Args:
            numbers: positions of the runs in the study, beginning with 1.
        """
        if self._carry_out is None:
            return {number: self._done(number) or self._settled_here(number) for number in numbers}
        found = {number: self._done(number) for number in numbers}
        beside = self._settled_beside([number for number, each in found.items() if each is None], self._carry_out)
        return {number: each or beside[number] for number, each in found.items()}

    def _done(self, number: int) -> StudyRun | None:
        """Return a run that was completed before it was looked for again; None if there is none.

        If the runs are only handed over, every run that a worker would leave alone is returned.
        """
        key = key_of(self._plan.combinations[number - 1].spec)
        before = self._known.get(key)
        if before and (before.standing is Standing.DONE or not (self._awaits or before.standing is Standing.CUT)):
            return self._skipped(number, before)
        held = None if before or self._awaits else being_made(self._store, key)
        return self._ended_as(number, Outcome(maker=held.maker)) if held else None

    def _settled_here(self, number: int) -> StudyRun:
        """Settle a run in this process."""
        order, of = self._order(number), len(self._plan.combinations)
        present = self._pace.begin(_kind(self._plan.combinations[number - 1]))
        listener = self._listener.alone(present, lambda: f"{order.label}{self._left()}")
        outcome = Outcome()
        try:
            with self._listener.task(order.label, of, "runs", done=number - 1):
                try:
                    data = self._plan.data(self._plan.combinations[number - 1])
                    outcome = settle(order, store=self._store, data=data, listener=listener)
                finally:
                    listener.close()
        except Interrupted as error:
            raise type(error)(error.what, where=error.where, hint=GO_ON) from error
        finally:
            self._pace.end(present, trained=outcome.trained)
        return self._ended_as(number, outcome)

    def _settled_beside(self, numbers: list[int], carry_out: CarryOut) -> dict[int, StudyRun]:
        """Settle runs in other processes."""
        found: dict[int, StudyRun] = {}
        presents: dict[int, Present] = {}
        of = len(self._plan.combinations)
        if not numbers:
            return found

        def listener_of(number: int) -> RunListener:
            presents[number] = self._pace.begin(_kind(self._plan.combinations[number - 1]))
            self._listener.note(f"{self._label(number)}{self._left()}")
            return self._listener.beside(self._label(number), presents[number])

        done = of - len(numbers)
        at_once = f", {min(self._jobs, len(numbers))} at once" if self._jobs else ""
        orders = {number: self._order(number) for number in numbers}
        with (
            stop_requests() as stop,
            self._listener.task(f"{of} runs{at_once}", of, "runs", done=done),
            closing(carry_out(orders, listener_of=listener_of, stop=stop)) as outcomes,
        ):
            for number, outcome in outcomes:
                if number in presents:  # a run that is only handed over, or was lost before it began, does not begin
                    self._pace.end(presents[number], trained=outcome.trained)
                found[number] = self._ended_as(number, outcome)
                self._listener.update(done + len(found))
        return found

    def _order(self, number: int) -> Order:
        combination = self._plan.combinations[number - 1]
        return Order(
            self._label(number),
            combination.spec,
            combination.warnings,
            combination.free,
            self._plan.name,
            self._store.root,
            self._data_dir,
            tuple(self._argv),
            combination.code,
            remembered_folders(),
        )

    def _label(self, number: int) -> str:
        of = len(self._plan.combinations)
        return f"run {number} of {of}: {self._plan.combinations[number - 1].label}"

    def _left(self) -> str:
        """Return in words how long all runs still take, as soon as a run has shown it."""
        seconds = self._pace.seconds_left()
        if seconds is None:
            return ""
        time_left = "less than 1 s" if seconds < 1.0 else f"about {duration(seconds)}"
        return f"; {time_left} left for {counted(self._pace.runs_left, 'run')}"

    def _ended_as(self, number: int, outcome: Outcome) -> StudyRun:
        """Say what has come of a run, and return it."""
        label, spec = self._label(number), self._plan.combinations[number - 1].spec
        failure = outcome.failure
        if outcome.maker is not None:
            self._listener.note(f"{label}: skipped, {outcome.maker} is about to train it")
            return StudyRun(spec, None, None, skipped=True, failure=None, shared=True, held=True)
        if outcome.queued is not None:
            before = self._known.get(key_of(spec))
            self._listener.note(f"{label}: in the queue as {outcome.queued}")
            return StudyRun(
                spec, before.run if before else None, None, skipped=True, failure=None, queued=outcome.queued
            )
        if failure is None:
            assert outcome.run
            try:
                (run,) = self._store.resolve(outcome.run, only_here=True)
                found = Repeat(run, run.info())
            except DregError:  # it was removed or damaged meanwhile, so that it is looked for again
                return StudyRun(spec, None, None, skipped=True, failure=None, shared=True, held=True)
            if not outcome.trained:
                return self._skipped(number, found)
            bound = found.info.summary["bound"].get(Split.TEST.value)
            known = "" if bound is None else f", test bound {bound:.2f} nats"
            self._listener.note(f"{label}: done{known}, {run.path}")
            return StudyRun(spec, run, None, skipped=False, failure=None)
        after = repeats_in(self._store).get(key_of(spec))
        refused = failure.exit_code == RunStateError.exit_code
        if refused and after and after.standing in (Standing.DONE, Standing.RUNNING):
            return self._skipped(number, after)  # another process was faster
        self._listener.warn(f"{label}: failed: {failure}")
        return StudyRun(spec, after.run if after else None, None, skipped=False, failure=failure)

    def _skipped(self, number: int, found: Repeat) -> StudyRun:
        label, combination = self._label(number), self._plan.combinations[number - 1]
        failure: Failure | None = None
        shared = key_of(combination.spec) not in self._done_before and found.standing is not Standing.BROKEN
        match found.standing:
            case Standing.RUNNING:
                holder = found.info.lease.holder if found.info.lease else "another process"
                self._listener.note(f"{label}: skipped, {found.run.path} is being written by {holder}")
                return StudyRun(
                    combination.spec, found.run, None, skipped=True, failure=None, shared=True, held=_is_held(found)
                )
            case Standing.CUT:
                # The process that was training it has left it since it was found, so that it is looked for again.
                return StudyRun(combination.spec, found.run, None, skipped=True, failure=None, shared=True, held=True)
            case Standing.BROKEN:
                failure = _failed_before(found, combination.spec)
                self._listener.warn(f"{label}: skipped: {failure}")
            case _:
                when = "by another process" if shared else "before"
                others = other_settings(combination.spec, found.run.spec())
                words = f", with {others}" if others else ""
                self._listener.note(f"{label}: done {when}, {found.run.path}{words}")
                self._warn_untracked(label, combination, found)
                self._warn_unbounded(label, combination, found)
        return StudyRun(combination.spec, found.run, None, skipped=True, failure=failure, shared=shared)

    def _warn_untracked(self, label: str, combination: Combination, found: Repeat) -> None:
        """Warn if a run lacks tracked estimators; it still counts as done: tracking does not change training."""
        if missing := untracked(combination.spec, found.run.spec()):
            self._listener.warn(f"{label}: the run was trained without tracking {missing}; it is not trained again")

    def _warn_unbounded(self, label: str, combination: Combination, found: Repeat) -> None:
        """Warn if a run lacks final bounds that the study asks for: they do not change training either."""
        known = found.info.summary.get("bound", {})
        if missing := [split for split in SPLITS[combination.spec.final_eval] if split not in known]:
            words = ("train", "--resume", found.run.path, "--final-eval", combination.spec.final_eval)
            how = f"compute them: {command(*words)}"
            self._listener.warn(f"{label}: the run has no final bounds of {', '.join(missing)}; {how}")


def _kind(combination: Combination) -> str:
    """Return the experiment of a run: runs that differ only in their seed take about the same time."""
    return key_of(combination.spec)[0]


def _is_held(found: Repeat) -> bool:
    """Whether another process is writing a run; this process does not wait for itself."""
    lease = found.info.lease
    return found.standing is Standing.RUNNING and not (lease and lease.is_own)


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
