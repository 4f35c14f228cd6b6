"""Train a run from its spec, or continue one, and keep everything about it."""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dregcli.app.bounds import SplitBounds, split_bounds
from dregcli.app.build import build_trainer
from dregcli.app.interrupts import StopRequest, stop_requests
from dregcli.app.listener import Listener
from dregcli.app.plan import Plan, bias_warning
from dregcli.engine.device import prepare_process, threads
from dregcli.engine.training import Trainer, Window
from dregcli.errors import DeviceUnavailable, Diverged, DregError, Interrupted
from dregcli.names import RunStatus, Split
from dregcli.specs.run import RunSpec, as_json, default_run_name
from dregcli.store.capture import capture_environment
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter

CHECKPOINT_SECONDS = 300.0
"""A checkpoint is never older than this, however many steps that is."""

TRAIN_EXAMPLES = 10_000
"""Training examples in the final bound: enough for its standard error, and as many as a usual test split has."""


@dataclass(frozen=True)
class TrainResult:
    """What a finished run came to."""

    run: Run
    spec: RunSpec
    summary: dict[str, Any]


def start(plan: Plan, *, name: str | None, store: RunStore, argv: list[str], listener: Listener) -> TrainResult:
    """Claim a new run and train it.

    Args:
        plan: what to train.
        name: the run's name, or None for the default one.
        store: where the run is kept.
        argv: the command line, kept in the run.
        listener: told of progress.

    Raises:
        Diverged: the bound or a gradient is no longer finite; the last good checkpoint is kept.
        Interrupted: a signal came; a checkpoint was written first.
        StoreWriteError: the store cannot be written.
    """
    prepare_process()
    trainer = _built(plan)
    environment = capture_environment(argv=argv, extra=_setting(plan.spec))
    writer = store.claim(name or default_run_name(plan.spec), spec=as_json(plan.spec), environment=environment)
    writer.log(f"started: {' '.join(argv)}")
    return _Session(plan, trainer, writer, listener).train()


def resume(run: Run, plan: Plan, *, store: RunStore, argv: list[str], listener: Listener) -> TrainResult:
    """Continue a run from its last whole checkpoint, or from its start when it has none.

    Args:
        run: the run.
        plan: its spec; with more steps than it was made with, the run is prolonged.
        store: where the run is kept.
        argv: the command line, kept in the log.
        listener: told of progress.

    Raises:
        RunStateError: the run is alive or completed.
        CheckpointCorrupt: no checkpoint is whole.
        Others as ``start``.
    """
    prepare_process()
    prolonged = as_json(plan.spec) != run.spec()
    before = run.environment().get("threads")
    if before is not None and before != threads():
        listener.warn(f"the run used {before} threads, this process {threads()}: it will not continue bit for bit.")
    checkpoint = run.load_checkpoint("last") if run.checkpoints() else None
    trainer = _built(plan)
    if checkpoint:
        trainer.load(checkpoint.step, checkpoint.model, checkpoint.optimizer, checkpoint.state["window"])
    writer = store.reopen(run, spec=as_json(plan.spec) if prolonged else None)
    step = checkpoint.step if checkpoint else 0
    for fault in checkpoint.skipped if checkpoint else ():
        listener.warn(f"checkpoint skipped: {fault}")
    kept_aside = writer.roll_back(step)
    if kept_aside:
        listener.note(f"metrics after step {step} were rolled back; they are kept in {kept_aside}")
    listener.note(f"resuming {run.path} at step {step}")
    writer.log(f"resumed at step {step}: {' '.join(argv)}")
    session = _Session(plan, trainer, writer, listener)
    if checkpoint:
        session.continue_from(checkpoint.step, checkpoint.state)
    return session.train()


def _out_of_memory(error: Exception, spec: RunSpec, where: str | None = None) -> DeviceUnavailable | None:
    """The error in the user's words, if it is torch's for memory that is not there."""
    if not isinstance(error, MemoryError) and "alloc" not in str(error) and "out of memory" not in str(error):
        return None
    what = f"Out of memory on {spec.device} with k={spec.k}, batch size {spec.batch_size}, hidden {spec.hidden}."
    return DeviceUnavailable(what, where=where, hint="use a smaller --k, --batch-size or --hidden")


def _built(plan: Plan) -> Trainer:
    """The trainer; built before a run is claimed, so that what does not fit leaves no run behind."""
    try:
        return build_trainer(plan.spec, plan.dataset)
    except (RuntimeError, MemoryError) as error:
        if told := _out_of_memory(error, plan.spec):
            raise told from error
        raise


def _setting(spec: RunSpec) -> dict[str, Any]:
    """What only the use case knows of the environment."""
    return {"threads": threads(), "device": spec.device, "data_checksum": spec.data_checksum}


def _every(period: int, step: int) -> bool:
    return period > 0 and step % period == 0


class _Session:
    """One process's work on one run."""

    def __init__(self, plan: Plan, trainer: Trainer, writer: RunWriter, listener: Listener) -> None:
        self._spec = plan.spec
        self._dataset = plan.dataset
        self._writer = writer
        self._listener = listener
        self._trainer = trainer
        self._best: tuple[int, float] | None = None
        self._seconds_before = 0.0
        self._seconds = 0.0
        self._steps = 0
        self._last_checkpoint_time = time.monotonic()
        self._saved_step: int | None = None

    def continue_from(self, step: int, state: dict[str, Any]) -> None:
        """Take over what a checkpoint knows beside the trainer's state."""
        self._best = tuple(state["best"]) if state["best"] else None
        self._seconds_before = state["seconds"]
        self._saved_step = step

    def train(self) -> TrainResult:
        """Run all steps, evaluate, finish the run."""
        if warning := bias_warning(self._spec):
            self._listener.warn(warning)
        with self._failures_kept(), stop_requests() as stop:
            self._run_steps(stop)
            bounds = self._final_bounds(stop)
            summary = self._summary(RunStatus.COMPLETED) | {
                "bound": {bound.split.value: bound.value for bound in bounds},
                "bounds": {bound.split.value: bound.summary() for bound in bounds},
            }
            self._writer.finish(RunStatus.COMPLETED, summary)
        return TrainResult(self._writer.run, self._spec, summary)

    def _run_steps(self, stop: StopRequest) -> None:
        spec, trainer, listener = self._spec, self._trainer, self._listener
        listener.begin("train", spec.steps, "steps", done=trainer.step)
        while trainer.step < spec.steps:
            before = time.perf_counter()
            trainer.advance()
            self._seconds += time.perf_counter() - before
            self._steps += 1
            step = trainer.step
            if step % spec.log_every == 0 or step == spec.steps:
                self._log_window()
            is_best = (_every(spec.eval_every, step) or step == spec.steps) and self._evaluate_valid()
            due = _every(spec.checkpoint_every, step) or step == spec.steps or stop.received is not None
            if due or is_best or time.monotonic() - self._last_checkpoint_time > CHECKPOINT_SECONDS:
                self._checkpoint(is_best=is_best)
            if self._writer.flush_due():
                self._writer.flush()
            if stop.received is not None:
                self._stop(stop)
        listener.end()

    def _log_window(self) -> None:
        means = self._trainer.window.means()
        self._trainer.window = Window()
        row = {"step": float(self._trainer.step), **means, "seconds": self._seconds_before + self._seconds}
        self._writer.append(Split.TRAIN, row)
        rate = self._steps / self._seconds
        self._listener.update(self._trainer.step, {"bound": means["bound"], "steps/s": rate})

    def _evaluate_valid(self) -> bool:
        """Evaluate on the validation split; whether it is the best bound so far."""
        bounds = self._bounds(Split.VALID)
        step = self._trainer.step
        stderr = math.nan if bounds.stderr is None else bounds.stderr
        row = {"step": float(step), "bound": bounds.value, "stderr": stderr, "ess": float(bounds.ess.mean())}
        self._writer.append(Split.VALID, row)
        if not math.isfinite(bounds.value):
            what = "Training diverged: the validation bound is not finite."
            raise Diverged(what, where=f"step {step}", hint="use a smaller --lr")
        is_best = self._best is None or bounds.value > self._best[1]
        if is_best:
            self._best = (step, bounds.value)
        return is_best

    def _bounds(self, split: Split, limit: int | None = None) -> SplitBounds:
        spec = self._spec
        return split_bounds(
            self._trainer.model,
            spec,
            self._dataset,
            split,
            k=spec.k,
            seed=spec.eval_seed,
            listener=self._listener,
            limit=limit,
        )

    def _final_bounds(self, stop: StopRequest) -> list[SplitBounds]:
        """The bounds of the last step's parameters on all splits."""
        bounds: list[SplitBounds] = []
        for split, limit in ((Split.TRAIN, TRAIN_EXAMPLES), (Split.VALID, None), (Split.TEST, None)):
            bounds.append(self._bounds(split, limit))
            if stop.received is not None:
                self._stop(stop)
        return bounds

    def _checkpoint(self, *, is_best: bool) -> None:
        state = self._trainer.state()
        if state.step != self._saved_step:
            self._trainer.check(state)
            extra = {"window": state.window, "best": self._best, "seconds": self._seconds_before + self._seconds}
            self._writer.save_checkpoint(
                state.step, model=state.model, optimizer=state.optimizer, state=extra, best=is_best
            )
        self._saved_step = state.step
        self._last_checkpoint_time = time.monotonic()

    def _stop(self, stop: StopRequest) -> None:
        """End after a signal, wherever between two steps it came."""
        self._checkpoint(is_best=False)
        self._writer.finish(RunStatus.INTERRUPTED, self._summary(RunStatus.INTERRUPTED))
        path = self._writer.run.path
        raise stop.error(where=f"{path}, step {self._trainer.step}", hint=f"dreg train --resume {path}")

    def _summary(self, status: RunStatus) -> dict[str, Any]:
        return {
            "run": str(self._writer.run.path),
            "status": status.value,
            "step": self._trainer.step,
            "k": self._spec.k,
            "binarisation": self._spec.binarisation.value,
            "best": {"step": self._best[0], "valid": self._best[1]} if self._best else None,
            "seconds": self._seconds_before + self._seconds,
            "steps_per_second": self._steps / self._seconds if self._seconds else None,
        }

    @contextmanager
    def _failures_kept(self) -> Generator[None]:
        """Record what ends the run before it is reported; what was written stays."""
        try:
            yield
        except Diverged as error:
            self._fail(error)
            raise self._with_way_out(error) from error
        except Interrupted:
            raise
        except Exception as error:
            self._fail(error)
            if told := _out_of_memory(error, self._spec, f"{self._writer.run.path}: its checkpoints are kept"):
                raise told from error
            raise

    def _fail(self, error: Exception) -> None:
        # The failure itself is what the user must see, even where the store can no longer record it.
        with suppress(DregError, ValueError):
            self._writer.add_failure({"step": self._trainer.step, "error": str(error)})
            self._writer.log(f"failed: {error}")
            self._writer.finish(RunStatus.FAILED, self._summary(RunStatus.FAILED))

    def _with_way_out(self, error: Diverged) -> Diverged:
        run = self._writer.run
        steps = run.checkpoints()
        kept = f"the last checkpoint before it is step {steps[-1]}" if steps else "no checkpoint had been written yet"
        where = f"{error.where}; {run.path}: {kept}"
        return Diverged(error.what, where=where, hint=f"start again with a smaller --lr than {self._spec.lr:g}")
