"""``dreg eval --keep-weights``: keep all log-weights of an evaluation, after their size was shown."""

import errno
import os
import shutil

import torch

from dregcli.app.common.listener import Listener
from dregcli.app.evaluation.importance import Sampling
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.errors import Fault, SpecError
from dregcli.filesystem import write_errors
from dregcli.store.kept_weights import FOLDER, SIZE_LIMIT, KeptWeights
from dregcli.store.run import Run


def kept_weights(run: Run, model: Model, how: Sampling, key: str, listener: Listener) -> KeptWeights:
    """Return the file of an evaluation's log-weights, and show its size before any work is done.

    The type is the one in which the model computes them, so that nothing is lost: float32, or float64 for a model
    with parameters of that type.

    Args:
        run: the run.
        model: the model.
        how: the evaluation.
        key: name of the unfinished evaluation.
        listener: receives the size.

    Raises:
        SpecError: the file would be larger than a file of a run may be.
        StoreWriteError: the disk has no room for it.
    """
    k = how.ks[-1]
    kind = "float64" if any(each.dtype == torch.float64 for each in model.parameters()) else "float32"
    size = (8 if kind == "float64" else 4) * k * how.examples
    words = f"{k:,} x {how.examples:,} log-weights in {kind} take {size / 1e6:,.1f} MB"
    if size > SIZE_LIMIT - 2**20:
        message = f"{words}, but a file of a run has at most {SIZE_LIMIT / 1e6:,.0f} MB: give a smaller --k or --n."
        raise SpecError([Fault("keep-weights", message)], where=str(run.path))
    with write_errors(run.path / FOLDER):
        if size > shutil.disk_usage(run.path).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run.path))
    listener.note(f"{words}; they will be in {run.path / FOLDER}")
    return KeptWeights(run, key, k=k, examples=how.examples, batch=EVALUATION_BATCH, kind=kind)
