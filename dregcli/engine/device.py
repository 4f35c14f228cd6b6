"""Choosing a device, and setting the process up for it."""

import contextlib
import ctypes
import gc
from collections.abc import Generator
from typing import Literal

import torch

from dregcli.engine.half import has_bfloat16_products
from dregcli.errors import DeviceUnavailable

__all__ = [
    "has_bfloat16_products",
    "prepare_process",
    "resolve_device",
    "settled_process",
    "threads",
    "using_threads",
]

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP = 1 << 30


def resolve_device(wanted: str) -> Literal["cpu", "cuda"]:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``.

    Raises:
        DeviceUnavailable: ``cuda`` was asked for and there is none.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        what = "No CUDA device is available to this installation of torch."
        raise DeviceUnavailable(what, where="--device cuda", hint="use --device cpu or --device auto")
    return "cuda" if wanted == "cuda" else "cpu"


def prepare_process() -> None:
    """Set this process up for long numerical work. For programs, not for libraries: the effect is global.

    Denormals are flushed: tiny normalised weights would otherwise make the weighted matrix products many times
    slower. And glibc is told to keep freed memory: it returns every array of some megabytes to the system and
    gets it back page by page, which was a fifth of a training step on two cores. Elsewhere than on glibc that
    second part does nothing.
    """
    torch.set_flush_denormal(True)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEEP)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def settled_process() -> Generator[None]:
    """Leave what there is by now, torch's modules above all, out of collections of cyclic garbage meanwhile.

    A step makes some hundred small objects, whose collections took 3 % of its time. For programs, as above; and not
    for ever, since what is left out at the process's end is reported as leaked by torch's compiler.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def using_threads(number: int | None) -> Generator[None]:
    """Let torch use so many threads meanwhile; None leaves its own choice."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads() -> int:
    """Threads torch uses for one operation; part of what makes a CPU run repeatable bit for bit."""
    return torch.get_num_threads()


def libraries() -> dict[str, str]:
    """What multiplies matrices here, by name: torch's build of BLAS, oneDNN and OpenMP; versions as they say them."""
    found: dict[str, str] = {}
    for line in torch.__config__.show().splitlines():
        text = line.strip(" -")
        for name in ("MKL-DNN", "Math Kernel Library", "OpenMP", "OpenBLAS", "CPU capability"):
            if name in text and name not in found and not text.startswith("Build settings"):
                found[name] = text
    return found


def gpu(device: str) -> dict[str, object] | None:
    """Name, memory and CUDA version of the GPU that a run uses; None on the CPU."""
    if device != "cuda":
        return None
    free_and_all = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "bytes": free_and_all[1], "cuda": torch.version.cuda}
