"""What the processor can do that matters for the times, and which libraries multiply: a benchmark's own label."""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

_FLAGS: Final = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx_vnni", "avx512_vnni"},
    "BF16": {"avx512_bf16", "amx_bf16", "bf16"},
    "AMX": {"amx_tile"},
    "NEON": {"asimd"},
    "SVE": {"sve"},
    "I8MM": {"i8mm"},
}
"""Features by words of /proc/cpuinfo, any of which says that there is one, in the order in which they are told."""

_LIBRARIES: Final = {"Math Kernel Library": "MKL", "OpenBLAS": "OpenBLAS", "Accelerate": "Accelerate"}
"""What multiplies float32 matrices, by what torch's build settings call it."""

_CPUINFO: Final = Path("/proc/cpuinfo")


def told_by_system() -> str:
    """What Linux says of its processors; elsewhere nothing."""
    return _CPUINFO.read_text() if _CPUINFO.exists() else ""


def features_of(cpuinfo: str) -> list[str]:
    """The features of the first processor in a text like /proc/cpuinfo's."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    words = next((set(text.split()) for name, _, text in lines if name.strip() in ("flags", "Features")), set[str]())
    return [name for name, flags in _FLAGS.items() if flags & words]


def model_of(cpuinfo: str) -> str:
    """The name of the first processor in a text like /proc/cpuinfo's, or else the machine's architecture."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((text.strip() for name, _, text in lines if name.strip() == "model name"), platform.machine())


def kind_of(features: Iterable[str], *, products: str, library: str, threads: int) -> str:
    """Processors of one kind have about the same ratios; libraries and numbers of threads make a difference."""
    return ", ".join(
        [platform.machine(), *features, products, library, "1 thread" if threads == 1 else f"{threads} threads"]
    )


def processor() -> dict[str, Any]:
    """This machine's processor as torch uses it, for JSON; ``kind`` names machines that may be compared."""
    import torch

    from dregcli.engine.device import has_bfloat16_products, libraries, rounds_in_blocks

    text = told_by_system()
    features, bfloat16, threads = features_of(text), has_bfloat16_products("cpu"), torch.get_num_threads()
    products = "products of bfloat16 matrices alone" if rounds_in_blocks("cpu") else "no bfloat16 products"
    products = "bfloat16 products" if bfloat16 else products
    settings = torch.__config__.show()
    library = next((short for name, short in _LIBRARIES.items() if name in settings), "another library")
    return {
        "kind": kind_of(features, products=products, library=library, threads=threads),
        "model": model_of(text),
        "features": features,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_products": bfloat16,
        "libraries": libraries(),
        "threads": threads,
        "torch": torch.__version__,
    }


def told(about: dict[str, Any]) -> str:
    """The processor in a line."""
    return f"{about['model']}: {about['kind']}; torch {about['torch']} uses {about['capability']}"
