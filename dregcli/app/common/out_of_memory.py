"""Report that memory ran out in the user's words, with the command to type next."""

from collections.abc import Generator
from contextlib import contextmanager

from dregcli.commands import command
from dregcli.defaults import NOISE_BLOCK
from dregcli.errors import DeviceUnavailable, is_of_memory
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run


def out_of_memory(
    error: Exception, spec: RunSpec, run: Run | None = None, *, smaller: str | None = None
) -> DeviceUnavailable | None:
    """Return the error in the user's words if torch ran out of memory, else None.

    Args:
        error: the error that was raised.
        spec: the spec of the computation.
        run: the run that the user can resume; None if there is none yet.
        smaller: options that make the work smaller, beside ``--k-chunk``; those of a training if it is not given.
    """
    if not is_of_memory(error):
        return None
    at_once = f", {spec.k_chunk} samples at once" if spec.k_chunk else ""
    what = (
        f"Out of memory on {spec.device} with k={spec.k}{at_once}, batch size {spec.batch_size}"
        f"{'' if spec.hidden is None else f', hidden {spec.hidden}'}."
    )
    chunk, smaller = _smaller_chunk(spec), smaller or _of_training(spec)
    if run is None:
        first = f"use --k-chunk {chunk}, or" if chunk else "use"
        return DeviceUnavailable(what, hint=f"{first} a smaller {smaller}")
    hint = f"start again with a smaller {smaller}"
    if chunk:
        resume = command("train", "--resume", run.path, "--k-chunk", str(chunk))
        hint = f"{hint}; or continue with less memory: {resume}"
    return DeviceUnavailable(what, where=f"{run.path}: the run and its checkpoints are kept", hint=hint)


@contextmanager
def memory_explained(spec: RunSpec, *, smaller: str | None = None) -> Generator[None]:
    """Raise ``DeviceUnavailable`` if memory runs out; see ``out_of_memory``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if explained := out_of_memory(error, spec, smaller=smaller):
            raise explained from error
        raise


def _of_training(spec: RunSpec) -> str:
    """Return the options that make a training smaller. Only networks have hidden layers; q keeps its parent's."""
    if spec.hidden is None or spec.parent is not None:
        return "--k or --batch-size"
    return "--k, --batch-size or --hidden"


def _smaller_chunk(spec: RunSpec) -> int | None:
    """Return at most half of the samples that are computed at once; None if no smaller chunk is possible."""
    at_once = spec.k_chunk or spec.k
    half = max(NOISE_BLOCK, at_once // 2 // NOISE_BLOCK * NOISE_BLOCK)
    return half if half < at_once else None
