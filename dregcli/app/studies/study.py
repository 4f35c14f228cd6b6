"""Train the runs of a study one after the other: completed runs are skipped, interrupted runs continue.

Processes that run the same study share its runs. Each ends when the whole study is complete.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from dregcli.app.common.interrupts import stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.reporting.report import make_report
from dregcli.app.studies.claiming import Held, being_made, find_or_claim
from dregcli.app.studies.listening import StudyListener
from dregcli.app.studies.outcome import Failure, StudyResult, StudyRun
from dregcli.app.studies.pace import Pace
from dregcli.app.studies.plan import Combination, StudyPlan
from dregcli.app.studies.repeats import Key, Repeat, Standing, key_of, repeats_in
from dregcli.app.training import train
from dregcli.app.training.evaluations import SPLITS
from dregcli.app.training.result import TrainResult
from dregcli.app.training.resuming import resume_plan
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
from dregcli.names import Split
from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.store.claims import Claim
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import counted, duration, some_of

POLL_SECONDS: Final = 2.0
"""Time between two looks at runs that other processes train."""

_SHOWN: Final = ("log_every", "eval_every", "final_eval")
"""Settings of ``NO_EFFECT`` that a report shows: a run that was done before keeps its own values."""

GO_ON: Final = "run the same command again to continue the study"

_OF_ONE_RUN: Final = (Diverged, NotFinite, DeviceUnavailable, CheckpointCorrupt, StoreCorrupt, RunStateError)
"""Errors that end one run but not the study. A full disk ends the study, because all other runs would fail, too."""


def run_study(
    plan: StudyPlan, *, store: RunStore, data_dir: Path, argv: list[str], listener: Listener
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

    Raises:
        Interrupted: a signal came; the current run has a checkpoint, and the same command continues the study.
        StoreFormatError: the store has another format.
        StoreWriteError: the store cannot be written.
        Other errors: see ``dregcli.app.training.train.start``; only errors that concern more than one run.
    """
    study = _Study(plan, store, data_dir, argv, listener)
    runs = tuple(_with_final_state(each) for each in study.all_runs())
    paths = [str(each.run.path) for each in runs if each.run and each.info]
    labels = tuple(each.label for each in plan.combinations)
    return StudyResult(runs, make_report(paths, runs_dir=store.root) if paths else None, store.root, labels)


def _with_final_state(ended: StudyRun) -> StudyRun:
    """Add the run's state at the end of the study: another process may have finished the run meanwhile."""
    try:
        info = ended.run.info() if ended.run else None
    except DregError:  # the run was removed or damaged meanwhile, so that the report cannot show it
        info = None
    return replace(ended, info=info)


class _Study:
    """A study in progress."""

    def __init__(self, plan: StudyPlan, store: RunStore, data_dir: Path, argv: list[str], listener: Listener) -> None:
        self._plan, self._store, self._data_dir, self._argv = plan, store, data_dir, argv
        self._known = repeats_in(store)
        self._done_before = {key for key, found in self._known.items() if found.standing is Standing.DONE}
        kinds = (_kind(each) for each in plan.combinations if key_of(each.spec) not in self._done_before)
        self._pace = Pace(kinds)
        self._listener = StudyListener(listener, self._pace)

    def all_runs(self) -> list[StudyRun]:
        """Settle all runs, in the order of the study. Runs of other processes are awaited after all others.

        Raises:
            Interrupted: a signal came.
        """
        found = {number: self.settle(number) for number in range(1, len(self._plan.combinations) + 1)}
        while waiting := [number for number, each in found.items() if each.held]:
            for number in self._ended(waiting):
                found[number] = self.settle(number)
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

    def settle(self, number: int) -> StudyRun:
        """Make sure that one run exists, or record why it failed, or that another process is training it.

        Args:
            number: position of the run in the study, beginning with 1.
        """
        of, combination = len(self._plan.combinations), self._plan.combinations[number - 1]
        label = f"run {number} of {of}: {combination.label}"
        key = key_of(combination.spec)
        before = self._known.get(key)
        if before and before.standing is Standing.DONE:
            return self._skipped(label, combination, before)
        self._pace.begin(_kind(combination))
        trained = False
        try:
            with self._listener.task(label, of, "runs", done=number - 1):
                found = self._trained(label, key, combination)
                trained = not found.skipped
                return found
        except Interrupted as error:
            raise type(error)(error.what, where=error.where, hint=GO_ON) from error
        except _OF_ONE_RUN as error:
            failure, refused = Failure.of(error), isinstance(error, RunStateError)
        finally:
            self._pace.end(trained=trained)
        after = repeats_in(self._store).get(key)
        if refused and after and after.standing in (Standing.DONE, Standing.RUNNING):
            return self._skipped(label, combination, after)  # another process was faster
        self._listener.warn(f"{label}: failed: {failure}")
        return StudyRun(combination.spec, after.run if after else None, None, skipped=False, failure=failure)

    def _trained(self, label: str, key: Key, combination: Combination) -> StudyRun:
        work = self._work(key, combination)
        if isinstance(work, Repeat):
            return self._skipped(label, combination, work)
        if isinstance(work, Held):
            self._listener.note(f"{label}: skipped, {work.maker} is about to train it")
            return StudyRun(combination.spec, None, None, skipped=True, failure=None, shared=True, held=True)
        self._listener.note(f"{label}{self._left()}")
        result = work()
        bound = result.summary["bound"].get(Split.TEST.value)
        known = "" if bound is None else f", test bound {bound:.2f} nats"
        self._listener.note(f"{label}: done{known}, {result.run.path}")
        return StudyRun(combination.spec, result.run, None, skipped=False, failure=None)

    def _left(self) -> str:
        """Return in words how long this run and all after it take, as soon as a finished run has shown it."""
        seconds = self._pace.seconds_left()
        if seconds is None:
            return ""
        time_left = "less than 1 s" if seconds < 1.0 else f"about {duration(seconds)}"
        return f"; {time_left} left for {counted(self._pace.runs_left, 'run')}"

    def _work(self, key: Key, combination: Combination) -> Repeat | Held | Callable[[], TrainResult]:
        """Return the function that trains or continues a run, or what there is already if there is nothing to do."""
        store, argv, listener = self._store, self._argv, self._listener
        found = find_or_claim(store, key)
        if isinstance(found, Held):
            return found
        if isinstance(found, Claim):
            try:
                plan = self._plan.plan(combination)
                return train.claim(plan, name=self._plan.name, store=store, argv=argv, listener=listener, right=found)
            except BaseException:  # also after Ctrl-C: the other processes of the study must not wait for this one
                found.give_back()
                raise
        if found.standing is not Standing.CUT:
            return found
        plan = resume_plan(found.run, combination.free, self._data_dir, code=combination.code)
        return partial(train.resume, found.run, plan, store=store, argv=argv, listener=listener)

    def _skipped(self, label: str, combination: Combination, found: Repeat) -> StudyRun:
        failure: Failure | None = None
        shared = key_of(combination.spec) not in self._done_before and found.standing is not Standing.BROKEN
        match found.standing:
            case Standing.RUNNING:
                holder = found.info.lease.holder if found.info.lease else "another process"
                self._listener.note(f"{label}: skipped, {found.run.path} is being written by {holder}")
                return StudyRun(
                    combination.spec, found.run, None, skipped=True, failure=None, shared=True, held=_is_held(found)
                )
            case Standing.BROKEN:
                failure = _failed_before(found, combination.spec)
                self._listener.warn(f"{label}: skipped: {failure}")
            case _:
                when = "by another process" if shared else "before"
                others = _otherwise(combination.spec, found.run)
                self._listener.note(f"{label}: done {when}, {found.run.path}{others}")
                self._warn_untracked(label, combination, found)
                self._warn_unbounded(label, combination, found)
        return StudyRun(combination.spec, found.run, None, skipped=True, failure=failure, shared=shared)

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


def _otherwise(spec: RunSpec, run: Run) -> str:
    """Say in which settings without an effect on its numbers a run differs from the request; empty if in none."""
    asked, kept = spelt_out(as_json(spec)), spelt_out(run.spec())
    others = [f"--{flag(name)} {kept[name]}" for name in _SHOWN if kept.get(name) != asked.get(name)]
    return f", with {', '.join(others)}" if others else ""


def _kind(combination: Combination) -> str:
    """Return the experiment of a run: runs that differ only in their seed take about the same time."""
    return key_of(combination.spec)[0]


def _is_held(found: Repeat) -> bool:
    """Whether another process is writing a run; this process does not wait for itself."""
    lease = found.info.lease
    ours = lease is not None and (lease.pid, lease.host) == (os.getpid(), socket.gethostname())
    return found.standing is Standing.RUNNING and not ours


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
