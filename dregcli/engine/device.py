"""Choice of a device, and preparation of the process for it."""

import contextlib
import ctypes
import gc
from collections.abc import Generator
from contextvars import ContextVar

import torch

from dregcli.devices import DeviceKind, checked_device, kind_of, number_of
from dregcli.engine.half import has_bfloat16_products, rounds_in_blocks
from dregcli.errors import DeviceUnavailable, Fault, SpecError

__all__ = [
    "devices_here",
    "has_bfloat16_products",
    "planning_for",
    "prepare_process",
    "resolve_device",
    "rounds_in_blocks",
    "settled_process",
    "threads",
    "using_threads",
]

_planned_for: ContextVar[str | None] = ContextVar("planned_for", default=None)

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP = 1 << 30


@contextlib.contextmanager
def planning_for(device: str | None) -> Generator[None]:
    """Plan for the device of another machine: ``auto`` is this device, and ``cuda`` need not be here.

    Args:
        device: the device of the other machine; None means this machine.
    """
    before = _planned_for.set(device)
    try:
        yield
    finally:
        _planned_for.reset(before)


def resolve_device(wanted: str, *, instead: str | None = None) -> str:
    """Return the device; ``auto`` becomes ``cuda`` if there is one, otherwise ``cpu``; see also ``planning_for``.

    Args:
        wanted: the word of the user or of a run.
        instead: what to type if the device is missing, if that is more than another ``--device``.

    Raises:
        DeviceUnavailable: the device is missing; the message lists the devices that are there.
        SpecError: the word names no device.
    """
    try:
        checked_device(wanted, "auto")
    except ValueError as error:
        raise SpecError([Fault("device", str(error))]) from error
    if planned := _planned_for.get():
        return _of_another_machine(wanted, planned)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    here = devices_here()
    if wanted not in here:
        what = f"There is no device '{wanted}' that this installation of torch can use. It can use {_listed(here)}."
        raise DeviceUnavailable(what, where=f"--device {wanted}", hint=instead or f"use {_options(here)}")
    return wanted


def _of_another_machine(wanted: str, planned: str) -> str:
    if wanted == "auto":
        return planned
    if wanted in (DeviceKind.CPU, DeviceKind.CUDA):
        return wanted
    what = f"A run in a cluster cannot choose '{wanted}': it gets a GPU of its own from the cluster."
    raise DeviceUnavailable(what, where=f"--device {wanted}", hint="use --device cuda, --device cpu or --device auto")


def devices_here() -> dict[str, str | None]:
    """Return the words of the devices that torch can use on this machine, each with the name of its GPU."""
    found: dict[str, str | None] = {"cpu": None}
    if torch.cuda.is_available():
        found["cuda"] = None
        found |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        found["mps"] = None
    return found


def _listed(here: dict[str, str | None]) -> str:
    return ", ".join(f"{word} ({name})" if name else word for word, name in here.items())


def _options(here: dict[str, str | None]) -> str:
    """Return the options that name the best devices: the GPUs, if there are any."""
    words = [word for word in here if word != "cpu"] or ["cpu", "auto"]
    return " or ".join(f"--device {word}" for word in words)


def take_gpu(number: int) -> None:
    """Let ``cuda`` mean one of the GPUs in this process; if there are fewer, several processes share one."""
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def prepare_process() -> None:
    """Prepare this process for long numerical work. Call it in programs, not in libraries: the effect is global.

    Call it before anything is computed with torch. The threads with which torch shares its operations start with the
    first of these, and only a thread that starts later has the setting of the thread that calls this function. A run
    repeats bit for bit only if the same threads have it.

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
    match kind_of(device):
        case DeviceKind.CUDA:
            at = number_of(device)
            memory = torch.cuda.mem_get_info(at)[1]
            return {"name": torch.cuda.get_device_name(at), "bytes": memory, "cuda": torch.version.cuda}
        case DeviceKind.MPS:
            return {"name": "GPU of a Mac", "bytes": torch.mps.recommended_max_memory(), "cuda": None}
        case _:
            return None
