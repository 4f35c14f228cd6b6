"""Choice of a device, and preparation of the process for it."""

import contextlib
import ctypes
import gc
from collections.abc import Generator
from contextvars import ContextVar
from typing import Literal

import torch

from dregcli.engine.half import has_bfloat16_products
from dregcli.errors import DeviceUnavailable

__all__ = [
    "Device",
    "has_bfloat16_products",
    "planning_for",
    "prepare_process",
    "resolve_device",
    "settled_process",
    "threads",
    "using_threads",
]

Device = Literal["cpu", "cuda"]

_planned_for: ContextVar[Device | None] = ContextVar("planned_for", default=None)

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP = 1 << 30


@contextlib.contextmanager
def planning_for(device: Device | None) -> Generator[None]:
    """Plan for the device of another machine: ``auto`` is this device, and ``cuda`` need not be here.

    Args:
        device: the device of the other machine; None means this machine.
    """
    before = _planned_for.set(device)
    try:
        yield
    finally:
        _planned_for.reset(before)


def resolve_device(wanted: str) -> Device:
    """Return the device; ``auto`` becomes ``cuda`` if there is one, otherwise ``cpu``; see also ``planning_for``.

    Raises:
        DeviceUnavailable: ``cuda`` was requested and there is none.
    """
    if planned := _planned_for.get():
        return planned if wanted == "auto" else "cuda" if wanted == "cuda" else "cpu"
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        what = "No CUDA device is available to this installation of torch."
        raise DeviceUnavailable(what, where="--device cuda", hint="use --device cpu or --device auto")
    return "cuda" if wanted == "cuda" else "cpu"


def take_gpu(number: int) -> None:
    """Let ``cuda`` mean one of the GPUs in this process; if there are fewer, several processes share one."""
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def prepare_process() -> None:
    """Prepare this process for long numerical work. Call it in programs, not in libraries: the effect is global.

    Denormals are flushed to zero: otherwise tiny normalised weights would make the weighted matrix products many
    times slower. And glibc is set to keep freed memory: by default it returns every array of several megabytes to the
    system and gets it back page by page, which took a fifth of a training step on two cores. Without glibc this
    second part does nothing.
    """
    torch.set_flush_denormal(True)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEEP)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def settled_process() -> Generator[None]:
    """Exclude all present objects, mainly torch's modules, from garbage collection inside the block.

    A step makes about a hundred small objects, and collecting them took 3 % of its time. Use it in programs, not in
    libraries. The exclusion ends with the block: torch's compiler would report objects that are still excluded at the
    end of the process as leaked.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def using_threads(number: int | None) -> Generator[None]:
    """Let torch use this number of threads inside the block; None keeps torch's own choice."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads() -> int:
    """Return the number of torch's threads; it must be equal for a CPU run to repeat bit for bit."""
    return torch.get_num_threads()


def libraries() -> dict[str, str]:
    """Return the libraries that multiply matrices, by name: torch's BLAS, oneDNN and OpenMP, with their versions."""
    found: dict[str, str] = {}
    for line in torch.__config__.show().splitlines():
        text = line.strip(" -")
        for name in ("MKL-DNN", "Math Kernel Library", "OpenMP", "OpenBLAS", "CPU capability"):
            if name in text and name not in found and not text.startswith("Build settings"):
                found[name] = text
    return found


def gpu(device: str) -> dict[str, object] | None:
    """Return name, memory and CUDA version of the GPU that a run uses; None on the CPU."""
    if device != "cuda":
        return None
    free_and_all = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "bytes": free_and_all[1], "cuda": torch.version.cuda}
