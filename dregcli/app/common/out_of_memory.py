"""Running out of memory, in the user's words, with what to type next."""

from collections.abc import Generator
from contextlib import contextmanager

from dregcli.commands import command
from dregcli.defaults import NOISE_BLOCK
from dregcli.errors import DeviceUnavailable, DregError
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run

_WORDS = ("can't allocate memory", "out of memory")
"""What torch's allocators say: that of the CPU, and that of the GPU."""

TRAINING = "--k, --batch-size or --hidden"
"""What else makes a training run smaller."""


def out_of_memory(
    error: Exception, spec: RunSpec, run: Run | None = None, *, smaller: str = TRAINING
) -> DeviceUnavailable | None:
    """The error in the user's words, if it is torch's for memory that is not there.

    Args:
        error: whatever was raised.
        spec: of what was computed.
        run: to go on with, once there is one.
        smaller: options that make the work smaller, beside ``--k-chunk``.
    """
    if not _is_of_memory(error):
        return None
    at_once = f", {spec.k_chunk} samples at once" if spec.k_chunk else ""
    what = (
        f"Out of memory on {spec.device} with k={spec.k}{at_once}, batch size {spec.batch_size}, "
        f"hidden {spec.hidden}."
    )
    chunk = _smaller_chunk(spec)
    if run is None:
        first = f"use --k-chunk {chunk}, or" if chunk else "use"
        return DeviceUnavailable(what, hint=f"{first} a smaller {smaller}")
    hint = f"start again with a smaller {smaller}"
    if chunk:
        hint = f"{hint}; or go on in less memory: {command('train', '--resume', run.path, '--k-chunk', str(chunk))}"
    return DeviceUnavailable(what, where=f"{run.path}: the run and its checkpoints are kept", hint=hint)


def _is_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch has a class of its own for a GPU alone. Our errors name paths, of any words."""
    if isinstance(error, DregError):
        return False
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)


@contextmanager
def memory_explained(spec: RunSpec, *, smaller: str = TRAINING) -> Generator[None]:
    """Raise ``DeviceUnavailable`` where memory runs out; see ``out_of_memory``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if told := out_of_memory(error, spec, smaller=smaller):
            raise told from error
        raise


def _smaller_chunk(spec: RunSpec) -> int | None:
    """Half of the samples that are worked on at once, or less; None where there is no smaller chunk."""
    at_once = spec.k_chunk or spec.k
    half = max(NOISE_BLOCK, at_once // 2 // NOISE_BLOCK * NOISE_BLOCK)
    return half if half < at_once else None
