"""Report that memory ran out in the user's words, with the command to type next."""

from collections.abc import Generator
from contextlib import contextmanager

from dregcli.commands import command
from dregcli.defaults import NOISE_BLOCK
from dregcli.errors import DeviceUnavailable, DregError
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run

_WORDS = ("can't allocate memory", "out of memory")
"""Words in the error messages of torch's CPU allocator and of its GPU allocator."""

TRAINING = "--k, --batch-size or --hidden"
"""Other options that reduce the memory of a training run."""


def out_of_memory(
    error: Exception, spec: RunSpec, run: Run | None = None, *, smaller: str = TRAINING
) -> DeviceUnavailable | None:
    """Return the error in the user's words if torch ran out of memory, else None.

    Args:
        error: the error that was raised.
        spec: the spec of the computation.
        run: the run that the user can resume; None if there is none yet.
        smaller: options that make the work smaller, beside ``--k-chunk``.
    """
    if not is_of_memory(error):
        return None
    at_once = f", {spec.k_chunk} samples at once" if spec.k_chunk else ""
    what = (
        f"Out of memory on {spec.device} with k={spec.k}{at_once}, batch size {spec.batch_size}"
        f"{'' if spec.hidden is None else f', hidden {spec.hidden}'}."
    )
    chunk = _smaller_chunk(spec)
    if run is None:
        first = f"use --k-chunk {chunk}, or" if chunk else "use"
        return DeviceUnavailable(what, hint=f"{first} a smaller {smaller}")
    hint = f"start again with a smaller {smaller}"
    if chunk:
        resume = command("train", "--resume", run.path, "--k-chunk", str(chunk))
        hint = f"{hint}; or continue with less memory: {resume}"
    return DeviceUnavailable(what, where=f"{run.path}: the run and its checkpoints are kept", hint=hint)


def is_of_memory(error: Exception) -> bool:
    """Whether memory ran out. Only for a GPU does torch have its own error class."""
    if isinstance(error, DregError):  # its message may contain a path, and a path may contain any words
        return False
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)


@contextmanager
def memory_explained(spec: RunSpec, *, smaller: str = TRAINING) -> Generator[None]:
    """Raise ``DeviceUnavailable`` if memory runs out; see ``out_of_memory``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if explained := out_of_memory(error, spec, smaller=smaller):
            raise explained from error
        raise


def _smaller_chunk(spec: RunSpec) -> int | None:
    """Return at most half of the samples that are computed at once; None if no smaller chunk is possible."""
    at_once = spec.k_chunk or spec.k
    half = max(NOISE_BLOCK, at_once // 2 // NOISE_BLOCK * NOISE_BLOCK)
    return half if half < at_once else None
