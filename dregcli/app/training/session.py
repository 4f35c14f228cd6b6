"""Train one run in one process: steps, rows of metrics, evaluations, checkpoints, and the end in every case."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.common.listener import Listener
from dregcli.app.common.out_of_memory import out_of_memory
from dregcli.app.common.ranks import ranks_here
from dregcli.app.loading.bounds import SplitBounds, not_compiled
from dregcli.app.loading.model_data import about_model, data_tensors
from dregcli.app.models.importing import raised_by_a_model
from dregcli.app.planning.plan import Plan
from dregcli.app.training.course import Course
from dregcli.app.training.crew import WARM_UP, Crew
from dregcli.app.training.evaluations import Evaluations
from dregcli.app.training.events import CheckpointWritten, Event, Metrics, Progress, Validation
from dregcli.app.training.heartbeat import heartbeat
from dregcli.app.training.opening import opening_lines
from dregcli.app.training.origin import baseline, theta_moved, theta_sha256
from dregcli.app.training.result import TrainResult
from dregcli.app.training.summary import of_bounds, of_gain, summary
from dregcli.commands import command
from dregcli.engine.device import settled_process, using_threads
from dregcli.engine.models.base import Model
from dregcli.engine.training import Trainer
from dregcli.errors import Diverged, DregError, Interrupted, ModelFailed, RankLost
from dregcli.names import FinalEval, RunStatus, Split
from dregcli.store.writer import RunWriter
from dregcli.wording import counted

CHECKPOINT_SECONDS = 300.0
"""Largest age of the last checkpoint in seconds, for any number of steps."""

PROGRESS_SECONDS = 0.5
"""Time between two events of progress."""


def _every(period: int, step: int) -> bool:
    return period > 0 and step % period == 0


class _Abandoned(Exception):
    """An evaluation was left where it was, because a signal came."""


class Session:
    """Training of one run until its end or a signal.

    Args:
        plan: the run to train.
        trainer: the trainer, with the parameters and the step to continue from.
        writer: writes everything about the run.
        listener: receives progress messages.
        parent: the parent's model, if the run trains only q and has no checkpoint yet; else None.
    """

    def __init__(
        self, plan: Plan, trainer: Trainer, writer: RunWriter, listener: Listener, parent: Model | None = None
    ) -> None:
        self._plan = plan
        self._spec = plan.spec
        self._crew = Crew(ranks_here())
        self._evaluations = Evaluations(plan, listener, self._crew)
        self._writer = writer
        self._listener = listener
        self._trainer = trainer
        self._parent = parent
        self._course = Course()
        self._last_checkpoint_time = time.monotonic()
        self._saved_step: int | None = None
        self._has_ended = False

    def continue_from(self, step: int, state: dict[str, Any]) -> None:
        """Restore the part of a checkpoint's state that does not belong to the trainer."""
        run, before = self._writer.run, state["best"]
        # It may have been removed for a better one, which is damaged now.
        lost = before is not None and not run.has_whole_checkpoint(before[0])
        self._course.continue_from(step, state, run.metrics(Split.VALID), has_best=not lost)
        if before is not None and lost:
            best = self._course.best
            now = "the next validation is the best" if best is None else f"the best is now step {best[0]:,}"
            what = f"the checkpoint of the best validation, step {before[0]:,}, is gone or damaged"
            self._listener.warn(f"{what}: {now}.")
        self._saved_step = step

    def train(self, opening: str) -> TrainResult:
        """Run all steps, evaluate the model, and finish the run, as a program does that does nothing else.

        Args:
            opening: the first line in the log; from there on errors are recorded.
        """
        with stop_requests() as stop, using_threads(self._spec.threads), settled_process():
            events = self.events(opening, stop)
            while True:
                try:
                    next(events)
                except StopIteration as end:
                    return end.value

    def events(self, opening: str, stop: StopRequest) -> Generator[Event, None, TrainResult]:
        """Run all steps, evaluate the model, and finish the run; yield what happens.

        Closing the generator ends the run as a signal does: a checkpoint is written first.

        Args:
            opening: the first line in the log; from there on errors are recorded.
            stop: ends the run after the current step as soon as a signal is received.
        """
        self._plan.warn(self._listener)
        with heartbeat(self._writer), self._failures_kept():
            self._writer.log(opening)
            if not self._done:
                for line in opening_lines(self._plan, self._trainer):
                    self._listener.note(line)
            self._crew.begin(self._plan, self._trainer)
            self._measure_parent(stop)
            self._warm_up()
            try:
                yield from self._run_steps(stop)
            except GeneratorExit:
                self._trainer.collect()
                self._end_early()
                raise
            bounds = self._final_bounds(stop)
            found = self._summary(RunStatus.COMPLETED) | of_bounds(bounds) | self._chosen()
            if before := self._course.baseline:
                found |= of_gain(before, bounds, self._check_theta())
            self._writer.finish(RunStatus.COMPLETED, found)
        return TrainResult(self._writer.run, self._spec, found)

    def _measure_parent(self, stop: StopRequest) -> None:
        """Measure the parent's bounds before the first step of the run."""
        if self._parent is not None:
            what = "bounds before training"
            with self._stopping(stop) as between:
                bounds = self._evaluations.final(self._parent, between, what=what)
            self._course.baseline = baseline(self._parent, bounds)
            self._parent = None

    def _warm_up(self) -> None:
        """Compile the model before the steps are timed."""
        if self._done:
            return
        if self._trainer.model.fused:
            self._listener.note("compiling first; the time of the steps does not include it")
        records = self._trainer.records
        with self._crew.together(WARM_UP):
            fell_back = self._trainer.warm_up()
        if records and not self._trainer.records:
            self._listener.warn("the GPU has no memory to record a step: steps are not recorded and may be slower.")
        if fell_back is not None:
            self._listener.warn(not_compiled(fell_back))

    def _run_steps(self, stop: StopRequest) -> Iterator[Event]:
        spec, trainer, listener = self._spec, self._trainer, self._listener
        listener.begin("train", spec.steps, "steps", done=trainer.step)
        if self._saved_step:
            yield from self._complete_step(stop)
        shown = time.monotonic()
        while not self._done:
            before = time.perf_counter()
            self._crew.advance(trainer)
            step = trainer.step
            last = step == spec.steps
            logs = last or step % spec.log_every == 0
            evaluates = self._evaluates_after(step)
            saves = last or _every(spec.checkpoint_every, step) or stop.received is not None
            if logs or evaluates or saves:
                # Wait for the GPU, so that the time of the steps does not count for the work after them.
                trainer.collect()
            self._course.step_taken(time.perf_counter() - before)
            happened: list[Event] = []
            if logs:
                happened.append(self._log_window())
            validation = self._evaluate_valid(stop) if evaluates else None
            is_best = validation is not None and validation.is_best
            if validation:
                happened.append(validation)
            if self._stops_early and not last:
                saves = True
                if not logs:
                    happened.append(self._log_window())
            if saves or is_best or time.monotonic() - self._last_checkpoint_time > CHECKPOINT_SECONDS:
                self._checkpoint(is_best=is_best)
                happened.append(CheckpointWritten(step, is_best))
            if self._writer.flush_due():
                self._writer.flush()
            if stop.received is not None:
                self._stop(stop)
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                happened.append(Progress(step, spec.steps, self._course.rate or 0.0))
            # Only here, where a step and all that follows it is whole, can the run be left.
            yield from happened
        listener.end()

    @property
    def _stops_early(self) -> bool:
        """Whether the last validations found no better bound, so many that the run stops."""
        return self._spec.patience is not None and self._course.worse >= self._spec.patience

    @property
    def _done(self) -> bool:
        """Whether no further step is taken."""
        return self._trainer.step >= self._spec.steps or self._stops_early

    def _evaluates_after(self, step: int) -> bool:
        """Whether the model is evaluated on validation after a step."""
        spec = self._spec
        if step == spec.steps:
            return spec.eval_every > 0 or spec.final_eval is FinalEval.ALL
        return _every(spec.eval_every, step)

    def _complete_step(self, stop: StopRequest) -> list[Event]:
        """Do what the step that a resumed run continues from still lacks.

        A signal ends a run without the validation of its step, and a run that the user ends early lacks its last row.
        """
        step, happened = self._trainer.step, list[Event]()
        if self._evaluates_after(step) and not self._has_row(Split.VALID, step):
            happened.append(self._evaluate_valid(stop))
        if self._done and self._trainer.window.count and not self._has_row(Split.TRAIN, step):
            happened.append(self._log_window())
        # The checkpoint is there already, but a kill may have come before it was marked as the best one, or before
        # older ones were removed.
        self._saved_step = None
        self._checkpoint(is_best=self._course.best is not None and self._course.best[0] == step)
        return happened

    def _has_row(self, split: Split, step: int) -> bool:
        return step in self._writer.run.metrics(split).get("step", ())

    def _log_window(self) -> Metrics:
        means = self._trainer.row()
        row = {"step": float(self._trainer.step), **means, "seconds": self._course.all_seconds}
        self._writer.append(Split.TRAIN, row)
        rate = {"steps/s": self._course.rate} if self._course.rate else {}
        self._listener.update(self._trainer.step, {"bound": means["bound"], **rate})
        return Metrics(self._trainer.step, row)

    def _evaluate_valid(self, stop: StopRequest) -> Validation:
        """Evaluate on the validation split; after a signal the run ends, and the resumed run validates."""
        step = self._trainer.step
        with self._stopping(stop) as between, self._trainer.trained.evaluated():
            last = step == self._spec.steps
            bounds = self._evaluations.validate(self._trainer.model, step, between, last=last)
        row = bounds.row()
        self._writer.append(Split.VALID, {"step": float(step), **row})
        if not math.isfinite(bounds.value):
            what = "Training diverged: the validation bound is not finite."
            raise Diverged(what, where=f"step {step}", hint="use a smaller --lr")
        is_best = self._course.validated(step, bounds.value)
        return Validation(step, bounds.value, row["stderr"], is_best)

    @contextmanager
    def _stopping(self, stop: StopRequest) -> Generator[Callable[[], None]]:
        """Return what an evaluation calls after each batch; a signal ends the evaluation there, and the run.

        A resumed run evaluates again, from the checkpoint of this step. This checkpoint is written after the block,
        when the model has the weights in training again.
        """

        def between() -> None:
            if stop.received is not None:
                raise _Abandoned

        with suppress(_Abandoned):
            between()
            yield between
            return
        self._stop(stop)

    def _final_bounds(self, stop: StopRequest) -> list[SplitBounds]:
        """Return the bounds after the last step, or those of the best checkpoint if the run has patience."""
        trainer, step = self._trainer, self._final_step
        if self._stops_early:
            counts = counted(self._course.worse, "validation")
            self._listener.note(f"stopped at step {trainer.step:,}: {counts} without a better bound (--patience)")
        if step != trainer.step:
            self._listener.note(f"the final bounds are those of the best checkpoint, step {step:,} (--patience)")
        with (
            self._stopping(stop) as between,
            trainer.trained.holding(self._writer.run.load_checkpoint(step).model)
            if step != trainer.step
            else trainer.trained.evaluated(),
        ):
            return self._evaluations.final(trainer.model, between, step=step)

    @property
    def _final_step(self) -> int:
        """The step of the final bounds: the last one, or the best one if the run has patience."""
        best = self._course.best
        return best[0] if self._spec.patience is not None and best else self._trainer.step

    def _checkpoint(self, *, is_best: bool) -> None:
        state = self._trainer.state()
        if state.step != self._saved_step:
            self._trainer.check(state)
            self._check_theta()
            self._writer.save_checkpoint(
                state.step,
                model=state.model,
                optimizer=state.optimizer,
                state={"window": state.window, **self._course.kept()},
                best=is_best,
                about=about_model(self._spec, self._plan.data.model_data),
                data=data_tensors(self._plan.data.model_data),
                keep_last=self._spec.keep_last,
            )
        self._saved_step = state.step
        self._last_checkpoint_time = time.monotonic()

    def _check_theta(self) -> str | None:
        """Return the checksum of a frozen theta; None if theta is trained.

        Raises:
            DregError: theta changed since the start.
        """
        baseline = self._course.baseline
        if baseline is None:
            return None
        before, now = baseline.theta_sha256, theta_sha256(self._trainer.model)
        if now != before:
            raise theta_moved(before, now, f"{self._writer.run.path}, step {self._trainer.step}")
        return now

    def _stop(self, stop: StopRequest) -> NoReturn:
        """End the run after a signal."""
        started = self._end_early()
        # A launcher that sees a rank end sends SIGTERM to all others.
        if (lost := self._crew.lost()) is not None:
            raise self._without_rank(lost, has_checkpoint=started) from lost
        path = self._writer.run.path
        kept = "a checkpoint was written first" if started else "no step had been trained yet"
        raise stop.error(kept, where=f"{path}, step {self._trainer.step}", hint=command("train", "--resume", path))

    def _end_early(self) -> bool:
        """End the run before its last step; return whether there was anything to save."""
        # Until its parent is measured, a run has nothing to save: a resume starts from the parent again.
        started = self._parent is None
        if started:
            self._checkpoint(is_best=False)
        self._writer.finish(RunStatus.INTERRUPTED, self._summary(RunStatus.INTERRUPTED))
        self._has_ended = True
        return started

    def _chosen(self) -> dict[str, Any]:
        """Return which weights the final bounds are of, if they are not those in training after the last step."""
        average = {} if self._spec.ema is None else {"ema": self._spec.ema}
        if self._spec.patience is None:
            return average
        return average | {"final_step": self._final_step, "stopped_early": self._stops_early}

    def _summary(self, status: RunStatus) -> dict[str, Any]:
        plan, trainer, course, run = self._plan, self._trainer, self._course, self._writer.run
        return summary(plan, trainer, course, run, status)

    @contextmanager
    def _failures_kept(self) -> Generator[None]:
        """Record an error that ends the run before it is reported; everything that was written stays."""
        try:
            yield
        except Diverged as error:
            self._fail(error)
            raise self._with_way_out(error) from error
        except Interrupted:
            raise
        except RankLost as error:
            if self._has_ended:
                raise
            raise self._ended_without_rank(error) from error
        except Exception as error:
            failed = raised_by_a_model(error)
            self._fail(failed or error)
            if explained := out_of_memory(error, self._spec, self._writer.run):
                raise explained from error
            if failed:
                place = f"{failed.where}; {self._writer.run.path}, step {self._trainer.step}"
                raise ModelFailed(failed.what, where=place, hint=failed.hint) from error
            raise
        finally:
            with suppress(RankLost):
                self._crew.end()
            self._writer.leave()

    def _ended_without_rank(self, lost: RankLost) -> DregError:
        """End the run after the last whole step: a step changes nothing before all ranks have added up its gradients.

        If a number of the steps before is not finite, this is the error; the ranks may have ended by it.
        """
        try:
            has_checkpoint = self._end_early()
        except Diverged as error:
            self._fail(error)
            return self._with_way_out(error)
        return self._without_rank(lost, has_checkpoint=has_checkpoint)

    def _without_rank(self, lost: RankLost, *, has_checkpoint: bool) -> RankLost:
        path = self._writer.run.path
        kept = "A checkpoint was written." if has_checkpoint else "No step had been trained yet."
        hint = f"continue with any number of ranks: {command('train', '--resume', path)}"
        return RankLost(f"{lost.what} {kept}", where=f"{path}, step {self._trainer.step}", hint=hint)

    def _fail(self, error: Exception) -> None:
        failure = {"step": self._trainer.step, "kind": type(error).__name__, "error": str(error)}
        # Errors of the store are suppressed, because the user must see the failure itself. Each is suppressed on its
        # own, because the disk may refuse one of these writes and take the others.
        with suppress(DregError, ValueError):
            self._writer.add_failure(failure)
        with suppress(DregError, ValueError):
            self._writer.log(f"failed: {error}")
        with suppress(DregError, ValueError):
            self._writer.finish(RunStatus.FAILED, self._summary(RunStatus.FAILED))

    def _with_way_out(self, error: Diverged) -> Diverged:
        run = self._writer.run
        steps = run.checkpoints()
        kept = f"the last checkpoint before it is step {steps[-1]}" if steps else "no checkpoint had been written yet"
        where = f"{error.where}; {run.path}: {kept}"
        return Diverged(error.what, where=where, hint=f"start again with a smaller --lr than {self._spec.lr:g}")
