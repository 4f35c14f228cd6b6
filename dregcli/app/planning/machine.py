"""Decide ``auto`` settings: read memory and caches of this machine, and turn them into settings by rules."""

import os
import re
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import torch

from dregcli.defaults import NOISE_BLOCK
from dregcli.devices import DeviceKind, kind_of, number_of
from dregcli.engine.device import has_bfloat16_products, rounds_in_blocks
from dregcli.engine.likelihoods.base import FEWEST_COMPILED
from dregcli.errors import Fault
from dregcli.names import Backward, Precision

_FLOAT_BYTES: Final = 4

_CACHES: Final = 3
"""How many times the total L2 cache the widest array of a forward-only pass may fill. With 784 outputs on two cores
with 2 MiB each, chunks of 1,024 to 4,096 rows were equally fast; 5,120 rows were a tenth slower, and all 65,536 rows
at once a fifth slower."""

DENSE_ARRAYS: Final = 6
"""Number of arrays as large as the widest layer that a forward and backward pass over all rows holds at once."""

_MEMORY_SHARE: Final = 4
_MOST_MEMORY: Final = 2 << 30
"""Limits for a dense pass: if it needs more than a quarter of the available memory, or on a CPU more than
``_MOST_MEMORY`` bytes, it is computed in chunks, which costs a second forward pass."""

_FEWEST_HALF: Final = 2**20
"""Decoder outputs per step from which bfloat16 products save more time than their correction costs on a CPU: with
131,000 a step took 4 % longer, with 1,600,000 it took 15 % less time. On a GPU they never did: on an H200 both
precisions took the same time with 400,000,000 outputs, and float32 took less with fewer."""

_FEWEST_LINEARISED: Final = 2**23
"""Decoder outputs per step from which linearised pixels save more time than their correction costs, on a processor
without bfloat16 products: with 1,600,000 a step took the same time, with 25,700,000 it took 25 % less."""

_FEWEST_SCREENED_ON_GPU: Final = 2**23
"""Decoder outputs per step from which screening takes less time than a dense step on a GPU. On an H200, recorded
steps with 784 outputs took .64 ms dense and .87 ms screened with 2,048 rows, 2.4 and 1.6 ms with 32,768 rows."""

_SAVED_SECONDS: Final[Mapping[str, float]] = {DeviceKind.CPU: 0.5e-9, DeviceKind.CUDA: 1.5e-11}
"""Time that compiled code saves per decoder output of a training step, by device; measured on two cores and on an
H200, for screened and dense steps alike."""

_SAVED_EVALUATING: Final[Mapping[str, float]] = {DeviceKind.CPU: 1.2e-9, DeviceKind.CUDA: 1.5e-11}
"""Time in seconds that compiled code saves per decoder output of an evaluation, which computes little except the
likelihood. For a GPU it is the time of a training step."""

_COMPILE_SECONDS: Final = 10.0
"""Time that compilation takes, and so the least time that it must save."""

_sharing: ContextVar[int] = ContextVar("_sharing", default=1)

_USUAL_L2: Final = 1 << 20
_USUAL_MEMORY: Final = 4 << 30
_USUAL_GPU_MEMORY: Final = 16 << 30
_USUAL_GPU_L2: Final = 40 << 20


def auto_backward(*, outputs: int, device: str) -> Backward:
    """Return the faster backward pass for an objective whose samples have unequal weights.

    Args:
        outputs: decoder outputs of all rows of a step together.
        device: the device.
    """
    kind = kind_of(device)
    # Rows are screened by float64 numbers, which a Mac's GPU does not have.
    dense = kind == DeviceKind.MPS or (kind == DeviceKind.CUDA and outputs < _FEWEST_SCREENED_ON_GPU)
    return Backward.DENSE if dense else Backward.SCREENED


def auto_chunk(
    *, backward: Backward, k: int, batch_size: int, outputs: int, memory: int, cache: int, device: str
) -> int | None:
    """Return how many of the K samples to compute at once; None means all.

    A pass without a graph (the first pass of screening, or an evaluation) is fastest when its arrays stay in the
    cache. A dense pass in chunks costs a second forward pass, so it is chunked only if its arrays exceed the memory.

    Args:
        backward: the backward pass; an evaluation counts as ``screened``.
        k: samples per example.
        batch_size: examples in a batch.
        outputs: numbers for one row in the widest layer.
        memory: available memory in bytes.
        cache: L2 cache of all cores, or of the GPU, in bytes.
        device: the device.
    """
    a_sample = batch_size * outputs * _FLOAT_BYTES
    share = memory // _MEMORY_SHARE
    if backward is Backward.DENSE and DENSE_ARRAYS * k * a_sample <= (
        share if kind_of(device) == DeviceKind.CUDA else min(share, _MOST_MEMORY)
    ):
        return None
    chunk = max(NOISE_BLOCK, _CACHES * cache // a_sample // NOISE_BLOCK * NOISE_BLOCK)
    return chunk if chunk < k else None


def auto_precision(*, outputs: int, device: str, in_blocks: bool = False, linearises: bool = False) -> Precision:
    """Return the fastest precision for screening's first pass, which looks at all rows.

    Args:
        outputs: decoder outputs of all rows of a step together.
        device: the device.
        in_blocks: whether log-weights are computed in blocks.
        linearises: whether pixels can be linearised.
    """
    if kind_of(device) != DeviceKind.CPU or outputs < _FEWEST_HALF:
        return Precision.FLOAT32
    if has_products_of(Precision.BFLOAT16, device, in_blocks=in_blocks):
        return Precision.BFLOAT16
    return Precision.LINEARISED if linearises and outputs >= _FEWEST_LINEARISED else Precision.FLOAT32


def has_products_of(precision: Precision | None, device: str, *, in_blocks: bool) -> bool:
    """Whether a device has fast matrix products of a precision for a model.

    Args:
        precision: the precision.
        device: the device.
        in_blocks: whether the model's log-weights are computed in blocks.
    """
    if precision is not Precision.BFLOAT16:
        return True
    return has_bfloat16_products(torch.device(device)) or (in_blocks and rounds_in_blocks(device))


def compile_saves(*, rows: int, rows_at_once: int, outputs: int, device: str, evaluating: bool = False) -> float:
    """Return the seconds that compiled arithmetic saves.

    Args:
        rows: decoder evaluations of the whole work.
        rows_at_once: decoder evaluations of one pass; small passes are not compiled.
        outputs: decoder outputs for one row.
        device: the device.
        evaluating: whether the work is an evaluation, without gradients.
    """
    saved = (_SAVED_EVALUATING if evaluating else _SAVED_SECONDS).get(kind_of(device), 0.0)
    return rows * outputs * saved if rows_at_once * outputs >= FEWEST_COMPILED else 0.0


def compile_pays(seconds: float) -> bool:
    """Whether compilation saves more time than it takes."""
    return seconds > _COMPILE_SECONDS


def has_compiler() -> bool:
    """Whether a compiler is installed for the code of torch.compile: C++ for a CPU, C for a GPU."""
    return any(shutil.which(each) for each in (os.environ.get("CXX"), "g++", "clang++", "c++") if each)


def precision_warning(precision: Precision | None, device: str, *, in_blocks: bool) -> str | None:
    """Return a warning if a run uses bfloat16 products that the device does not have for its model; else None."""
    if has_products_of(precision, device, in_blocks=in_blocks):
        return None
    return (
        f"this {device} has no bfloat16 products: --screen-precision bfloat16 works, but is slower here than float32."
    )


def float64_faults(option: str, device: object, what: str, advice: str) -> list[Fault]:
    """Return a fault if a device has no float64, in which something is computed.

    Args:
        option: the option that asks for it.
        device: the word of the device, which may be wrong.
        what: what is computed in float64.
        advice: what to use instead, beside another device.
    """
    if device != DeviceKind.MPS:
        return []
    return [Fault(option, f"'{device}' has only float32, but {what} float64: use {advice}.")]


def device_warning(device: str) -> str | None:
    """Return the warning that a device has never been tried; else None."""
    if kind_of(device) != DeviceKind.MPS:
        return None
    what = "'mps' has only float32: networks are computed there, and the weights of the samples on the CPU in float64"
    return f"{what}. No machine with it was at hand when dreg was tested: compare a short run with --device cpu."


@contextmanager
def sharing_memory(runs: int) -> Generator[None]:
    """Plan runs inside the block of which so many are trained here at the same time: each may use its share."""
    before = _sharing.set(runs)
    try:
        yield
    finally:
        _sharing.reset(before)


def memory_at_hand(device: str) -> int:
    """Return the memory in bytes that a run may use on a device: its share of what is free now.

    For a GPU elsewhere it is a usual one's. A Mac's GPU shares the memory of the system.
    """
    return _free(device) // _sharing.get()


def _free(device: str) -> int:
    if kind_of(device) == DeviceKind.CUDA:
        if not torch.cuda.is_available():
            return _USUAL_GPU_MEMORY
        free: int = torch.cuda.mem_get_info(number_of(device))[0]
        return free
    return min([_free_memory(), *_left_by_cgroups()])


def cache_size(device: str) -> int:
    """Return the L2 cache in bytes of all cores that torch uses, or of the GPU."""
    if kind_of(device) == DeviceKind.CUDA:
        if not torch.cuda.is_available():
            return _USUAL_GPU_L2
        return int(torch.cuda.get_device_properties(number_of(device)).L2_cache_size)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return _l2_of(_cpus()) or _USUAL_L2 * torch.get_num_threads()


def _cpus() -> Iterable[int]:
    # macOS has neither affinities nor sysfs, so that any number works.
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _l2_of(cpus: Iterable[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Return the total L2 cache of CPUs in bytes as Linux reports it; 0 if it reports none.

    A cache that several CPUs share counts once, and at most as many caches count as torch has threads.
    """
    found: dict[str, int] = {}
    for cpu in cpus:
        for folder in sorted((root / f"cpu{cpu}" / "cache").glob("index*")):
            with suppress(OSError, ValueError):
                level, size, shared = (
                    (folder / name).read_text(encoding="utf-8", errors="replace").strip()
                    for name in ("level", "size", "shared_cpu_list")
                )
                if level == "2":
                    found[shared] = int(size.removesuffix("K")) << 10
    return sum(sorted(found.values(), reverse=True)[: torch.get_num_threads()])


def _free_memory() -> int:
    """Return the memory in bytes that is available without swapping, as the system reports it."""
    with suppress(OSError):
        # Not the free pages alone: they leave out the page cache, which after reading data is nearly all memory.
        if found := re.search(
            r"^MemAvailable: +([0-9]+) kB$",
            Path("/proc/meminfo").read_text(encoding="utf-8", errors="replace"),
            re.MULTILINE,
        ):
            return int(found[1]) << 10
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _USUAL_MEMORY


def _left_by_cgroups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return the free bytes of each control group (version 2) around this process; empty if none has a limit."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    left: list[int] = []
    for line in lines:
        if line.startswith("0::/"):
            inner = root / line.removeprefix("0::/")
            # Inside a container the path may belong to the host and be missing; the root is the container's group.
            for folder in {inner, *inner.parents, root}:
                if folder.is_relative_to(root):
                    left += _left_by(folder)
    return left


def _left_by(folder: Path) -> list[int]:
    with suppress(OSError, ValueError):  # the word "max" means no limit
        limit, used = (
            int((folder / name).read_text(encoding="utf-8", errors="replace"))
            for name in ("memory.max", "memory.current")
        )
        inactive = re.search(
            r"^inactive_file ([0-9]+)$",
            (folder / "memory.stat").read_text(encoding="utf-8", errors="replace"),
            re.MULTILINE,
        )
        return [max(0, limit - used + (int(inactive[1]) if inactive else 0))]
    return []
