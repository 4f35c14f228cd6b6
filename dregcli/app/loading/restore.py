"""Load a checkpoint into the engine objects that the run's spec describes."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.words import last_objective
from dregcli.commands import command
from dregcli.engine.learning import learned_pair
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.training import Trainer
from dregcli.errors import CheckpointCorrupt, RunNotFound, StoreFormatError
from dregcli.specs.run import spelt_out
from dregcli.store import layout
from dregcli.store.checkpoints import Checkpoint, Which
from dregcli.store.run import Run

_HINT = "use another run, or the dreg version that wrote this one"


def _misfits(model: Model, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return why tensors do not fit a model, one line for each fault."""
    wanted = model.state_dict()
    faults: list[str] = []
    for name, parameter in wanted.items():
        if name not in tensors:
            faults.append(f"'{name}' is missing")
        elif tensors[name].shape != parameter.shape:
            shapes = tuple(tensors[name].shape), tuple(parameter.shape)
            faults.append(f"'{name}' has shape {shapes[0]} instead of {shapes[1]}")
    return faults + [f"'{name}' is not a tensor of the model" for name in tensors if name not in wanted]


def _file(run: Run, checkpoint: Checkpoint, name: str) -> str:
    return str(run.path / layout.CHECKPOINTS_FOLDER / layout.step_name(checkpoint.step) / name)


def check_fits(model: Model, checkpoint: Checkpoint, run: Run) -> None:
    """Refuse a checkpoint whose architecture differs from the model's.

    Raises:
        StoreFormatError: a tensor does not fit; the error names the file and the first such tensor.
    """
    if faults := _misfits(model, checkpoint.model):
        rest = f" (and {len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        what = f"The checkpoint has another architecture than the spec of {run.label}: {faults[0]}{rest}."
        own = spec_of(run).model_digest is not None
        hint = "name the code and the class with which the run was trained: --model" if own else _HINT
        raise StoreFormatError(what, where=_file(run, checkpoint, "model.safetensors"), hint=hint)


def load_model(model: Model, checkpoint: Checkpoint, run: Run) -> None:
    """Load a checkpoint's parameters into a model, which is then in eval mode.

    Raises:
        StoreFormatError: the checkpoint has another architecture.
    """
    check_fits(model, checkpoint, run)
    model.load_state_dict(checkpoint.model)
    model.eval()


def load_trainer(trainer: Trainer, checkpoint: Checkpoint, run: Run) -> None:
    """Continue a trainer from a checkpoint of its own run.

    Raises:
        StoreFormatError: the checkpoint does not fit the run's spec.
    """
    check_fits(trainer.model, checkpoint, run)
    try:
        trainer.load(checkpoint.step, checkpoint.model, checkpoint.optimizer, checkpoint.state["window"])
    except KeyError as error:
        raise _lacking(error, run, checkpoint) from error


def last_step(run: Run) -> int:
    """Return the step of a run's last checkpoint; of a completed run with patience, that of its final bounds."""
    final = run.info().summary.get("final_step")
    return final if isinstance(final, int) else run.checkpoints()[-1]


def load_checkpoint(run: Run, which: Which, listener: Listener) -> Checkpoint:
    """Load a run's checkpoint; damaged checkpoints are skipped with a warning.

    The last checkpoint of a completed run with patience is the one of its final bounds, which is its best.

    Raises:
        RunNotFound: the run has no checkpoint, or not the one asked for.
        CheckpointCorrupt: the step asked for is corrupt, or every checkpoint is.
    """
    if not run.checkpoints():
        run.info()  # if the run was removed meanwhile, this is the error
        what = f"The run {run.label} has no checkpoint."
        hint = f"continue its training: {command('train', '--resume', run.path)}"
        raise RunNotFound(what, where=str(run.path), hint=hint)
    if which == "last" and isinstance(final := run.info().summary.get("final_step"), int):
        checkpoint = _final(run, final)
        if checkpoint.step == final:
            listener.note(f"{run.label} was trained with --patience: its best checkpoint is used, step {final:,}")
    else:
        checkpoint = run.load_checkpoint(which)
    if (ema := spelt_out(run.spec())["ema"]) is not None:
        listener.note(f"{run.label}: the weights are the moving average of those in training (--ema {ema:g})")
    for fault in checkpoint.skipped:
        listener.warn(f"checkpoint skipped: {fault}")
    return checkpoint


def _final(run: Run, step: int) -> Checkpoint:
    """Load the checkpoint of a run's final bounds, or the newest one that is not damaged."""
    try:
        return run.load_checkpoint(step)
    except (CheckpointCorrupt, RunNotFound) as error:
        newest = run.load_checkpoint("last")
        skipped = (f"{layout.step_name(step)}: {error.what}", *newest.skipped)
        return replace(newest, skipped=tuple(dict.fromkeys(skipped)))


def trained_pair(run: Run, checkpoint: Checkpoint) -> Pair:
    """Return a run's objective and estimator; learned values of the estimator are taken from a checkpoint.

    An objective that changed has the values of the run's last step.

    Raises:
        StoreFormatError: the run's spec is unknown, or the checkpoint lacks a value.
    """
    spec = spec_of(run)
    try:
        return learned_pair(resolve_pair(last_objective(spec), spec.estimator, spec.k), checkpoint.optimizer)
    except KeyError as error:
        raise _lacking(error, run, checkpoint) from error


def _lacking(error: KeyError, run: Run, checkpoint: Checkpoint) -> StoreFormatError:
    what = f"The checkpoint lacks {error}, which the spec of {run.label} needs."
    return StoreFormatError(what, where=_file(run, checkpoint, "optimizer.safetensors"), hint=_HINT)
