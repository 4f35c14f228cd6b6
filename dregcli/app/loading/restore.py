"""What a checkpoint holds, put into the objects that its run's spec describes."""

from collections.abc import Mapping

from torch import Tensor

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import spec_of
from dregcli.commands import command
from dregcli.engine.learning import learned_pair
from dregcli.engine.models.base import LatentModel
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.training import Trainer
from dregcli.errors import RunNotFound, StoreFormatError
from dregcli.store import layout
from dregcli.store.checkpoints import Checkpoint, Which
from dregcli.store.run import Run

_HINT = "use another run, or the dreg version that wrote this one"


def _misfits(model: LatentModel, tensors: Mapping[str, Tensor]) -> list[str]:
    """What keeps tensors from being a model's, one line each."""
    wanted = model.state_dict()
    faults: list[str] = []
    for name, parameter in wanted.items():
        if name not in tensors:
            faults.append(f"'{name}' is missing")
        elif tensors[name].shape != parameter.shape:
            shapes = tuple(tensors[name].shape), tuple(parameter.shape)
            faults.append(f"'{name}' has shape {shapes[0]} instead of {shapes[1]}")
    return faults + [f"'{name}' is none of the model's" for name in tensors if name not in wanted]


def _file(run: Run, checkpoint: Checkpoint, name: str) -> str:
    return str(run.path / layout.CHECKPOINTS_FOLDER / layout.step_name(checkpoint.step) / name)


def check_fits(model: LatentModel, checkpoint: Checkpoint, run: Run) -> None:
    """Refuse a checkpoint of another architecture than the model's.

    Raises:
        StoreFormatError: naming the file and the first tensor that does not fit.
    """
    if faults := _misfits(model, checkpoint.model):
        rest = f" (and {len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        what = f"The checkpoint is of another architecture than the spec of {run.label}: {faults[0]}{rest}."
        raise StoreFormatError(what, where=_file(run, checkpoint, "model.safetensors"), hint=_HINT)


def load_model(model: LatentModel, checkpoint: Checkpoint, run: Run) -> None:
    """Give a model a checkpoint's parameters.

    Raises:
        StoreFormatError: they are of another architecture.
    """
    check_fits(model, checkpoint, run)
    model.load_state_dict(checkpoint.model)


def load_trainer(trainer: Trainer, checkpoint: Checkpoint, run: Run) -> None:
    """Continue a trainer from a checkpoint of its own run.

    Raises:
        StoreFormatError: the checkpoint is not of a run with such a spec.
    """
    check_fits(trainer.model, checkpoint, run)
    try:
        trainer.load(checkpoint.step, checkpoint.model, checkpoint.optimizer, checkpoint.state["window"])
    except KeyError as error:
        raise _lacking(error, run, checkpoint) from error


def load_checkpoint(run: Run, which: Which, listener: Listener) -> Checkpoint:
    """A run's checkpoint; those that are not whole are passed over, and told.

    Raises:
        RunNotFound: the run has none, or none such.
        CheckpointCorrupt: the step asked for, or every checkpoint, is corrupt.
    """
    if not run.checkpoints():
        what = f"The run {run.label} has no checkpoint."
        raise RunNotFound(what, where=str(run.path), hint=f"train it on: {command('train', '--resume', run.path)}")
    checkpoint = run.load_checkpoint(which)
    for fault in checkpoint.skipped:
        listener.warn(f"checkpoint skipped: {fault}")
    return checkpoint


def trained_pair(run: Run, checkpoint: Checkpoint) -> Pair:
    """A run's objective and estimator, what the estimator learns at its values in a checkpoint.

    Raises:
        StoreFormatError: the run's spec is unknown, or the checkpoint lacks a value.
    """
    spec = spec_of(run)
    try:
        return learned_pair(resolve_pair(spec.objective, spec.estimator, spec.k), checkpoint.optimizer)
    except KeyError as error:
        raise _lacking(error, run, checkpoint) from error


def _lacking(error: KeyError, run: Run, checkpoint: Checkpoint) -> StoreFormatError:
    what = f"The checkpoint lacks {error}, which the spec of {run.label} asks for."
    return StoreFormatError(what, where=_file(run, checkpoint, "optimizer.safetensors"), hint=_HINT)
