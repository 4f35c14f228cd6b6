"""What ``auto`` goes by: memory and caches of this machine, and the rules that turn them into settings."""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.device import has_bfloat16_products
from dregcli.engine.likelihoods.base import FEWEST_COMPILED
from dregcli.names import Backward, Precision

_FLOAT_BYTES: Final = 4

_CACHES: Final = 3
"""Total L2 that the widest array of a forward-only pass may take. Of 784 outputs on two cores with 2 MiB each, chunks
of 1,024 to 4,096 rows were equally fast, 5,120 rows a tenth slower, and all 65,536 at once a fifth."""

_DENSE_ARRAYS: Final = 6
"""Arrays of the widest layer's size that a forward and backward pass over all rows holds at once."""

_MEMORY_SHARE: Final = 4
_MOST_MEMORY: Final = 2 << 30
"""A dense pass is chunked, and pays a second forward pass, from a quarter of the memory at hand on, or from this."""

_FEWEST_HALF: Final = 2**20
"""Decoder outputs of a step from which bfloat16 products save more than their correction costs: with 131,000 a step
took 4 % longer, with 1,600,000 15 % less."""

_SAVED_SECONDS: Final = 0.5e-9
"""By compiled code, for one decoder output of a training step: measured on two cores, screened and dense alike."""

_SAVED_EVALUATING: Final = 1.2e-9
"""The same of an evaluation, which computes the likelihood and little else."""

_COMPILE_SECONDS: Final = 10.0
"""What compilation takes, and so the least that it must save."""

_USUAL_L2: Final = 1 << 20
_USUAL_MEMORY: Final = 4 << 30


def auto_chunk(*, backward: Backward, k: int, batch_size: int, outputs: int, memory: int, cache: int) -> int | None:
    """How many of the K samples to work on at once; None is all.

    A pass without a graph (screening's first, evaluation) is fastest when what it holds stays in the cache. A dense
    pass pays a second forward pass as soon as it is chunked, so it is not while its arrays fit in memory.

    Args:
        backward: ``screened`` also stands for evaluation.
        k: samples per example.
        batch_size: examples.
        outputs: numbers for one row in the widest layer.
        memory: bytes at hand.
        cache: bytes of L2 of all cores.
    """
    a_sample = batch_size * outputs * _FLOAT_BYTES
    if backward is Backward.DENSE and _DENSE_ARRAYS * k * a_sample <= min(memory // _MEMORY_SHARE, _MOST_MEMORY):
        return None
    chunk = max(NOISE_BLOCK, _CACHES * cache // a_sample // NOISE_BLOCK * NOISE_BLOCK)
    return chunk if chunk < k else None


def auto_precision(*, outputs: int, device: str) -> Precision:
    """Of the products with which screening looks at all rows: the faster one.

    Args:
        outputs: of the decoder, for all rows of a step together.
        device: where.
    """
    fast = outputs >= _FEWEST_HALF and has_bfloat16_products(torch.device(device))
    return Precision.BFLOAT16 if fast else Precision.FLOAT32


def compile_saves(*, rows: int, rows_at_once: int, outputs: int, evaluating: bool = False) -> float:
    """Seconds that compiled arithmetic saves.

    Args:
        rows: decoder evaluations of the whole work.
        rows_at_once: of one pass; of small ones nothing is compiled.
        outputs: of the decoder for one row.
        evaluating: whether there is no gradient.
    """
    saved = _SAVED_EVALUATING if evaluating else _SAVED_SECONDS
    return rows * outputs * saved if rows_at_once * outputs >= FEWEST_COMPILED else 0.0


def compile_pays(seconds: float) -> bool:
    """Whether what compilation saves is more than what it takes."""
    return seconds > _COMPILE_SECONDS


def has_compiler() -> bool:
    """Whether there is a compiler for what torch.compile writes: C++ for a CPU, C for a GPU."""
    return any(shutil.which(each) for each in (os.environ.get("CXX"), "g++", "clang++", "c++") if each)


def precision_warning(precision: Precision | None, device: str) -> str | None:
    """That a machine does bfloat16 products by other means; None where it does not matter."""
    if precision is not Precision.BFLOAT16 or has_bfloat16_products(torch.device(device)):
        return None
    return (
        f"this {device} has no bfloat16 products: --screen-precision bfloat16 works, and is slower here than float32."
    )


def memory_at_hand(device: str) -> int:
    """Bytes that this process may still take on a device."""
    if device == "cuda":
        free: int = torch.cuda.mem_get_info()[0]
        return free
    return min([_free_memory(), *_left_by_cgroups()])


def cache_size(device: str) -> int:
    """Bytes of L2 of all the cores that torch uses, or of the GPU."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).L2_cache_size)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return _l2_of(_cpus()) or _USUAL_L2 * torch.get_num_threads()


def _cpus() -> Iterable[int]:
    # macOS has neither affinities nor sysfs: any number does.
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _l2_of(cpus: Iterable[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    """L2 of some CPUs as Linux tells it, each shared one once, no more of them than torch has threads; else 0."""
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
    """Bytes that can be had without swapping, as the system tells it."""
    with suppress(OSError):
        # Free pages alone leave out what the page cache would give back: after reading data that is nearly all.
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
    """Bytes that each control group (version 2) around this process has left; none where none limits it."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    left: list[int] = []
    for line in lines:
        if line.startswith("0::/"):
            inner = root / line.removeprefix("0::/")
            # Inside a container the path may be the host's, which is not there: the root is the container's own.
            for folder in {inner, *inner.parents, root}:
                if folder.is_relative_to(root):
                    left += _left_by(folder)
    return left


def _left_by(folder: Path) -> list[int]:
    with suppress(OSError, ValueError):  # no limit is the word "max"
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
