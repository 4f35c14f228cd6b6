"""Steps/s on a data set larger than memory against a small one of the same images' size, in one run. By hand:

    python -m tests.benchmarks.large_data --gigabytes 10 --folder /somewhere/with/room

The large set is made of random bytes and kept in the folder for a next time. Before every run the system is asked to
forget the large file, so that rows come from the disk as they do when the set does not fit; how much was read from
the disk is told beside. Nothing here asserts anything about time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dregcli.data.cache_writer import write_cache
from dregcli.data.dataset import Draft
from dregcli.data.folders import cache_path
from dregcli.names import DataKind, Split
from tests.benchmarks.support.command import run

SIDE = 28
HELD_OUT = 1_000


class RandomRows:
    """Rows of random bytes that are made as they are read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int, seed: int) -> None:
        self.shape = (count, SIDE * SIDE)
        self._random = np.random.Generator(np.random.Philox(seed))

    def __getitem__(self, rows: slice) -> np.ndarray:
        count = min(rows.stop, self.shape[0]) - rows.start
        return self._random.integers(0, 256, (count, self.shape[1]), dtype=np.uint8)


def make(name: str, count: int, folder: Path) -> Path:
    """Write a data set of so many training images, once."""
    path = cache_path(name, folder)
    if path.exists():
        return path
    sizes = {Split.TRAIN: count, Split.VALID: HELD_OUT, Split.TEST: HELD_OUT}
    return write_cache(
        Draft(
            name=name,
            kind=DataKind.INTENSITY,
            height=SIDE,
            width=SIDE,
            levels=255,
            splits={split: RandomRows(n, seed) for seed, (split, n) in enumerate(sizes.items())},
            split_convention="given",
            source="random bytes",
        ),
        folder,
    )


def forget(path: Path) -> None:
    """Ask the system to drop its copy of a file from memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(name: str, folder: Path, steps: int) -> dict[str, Any]:
    """One training run in a process of its own: steps/s, seconds, and what it read from the disk."""
    program = (
        "import json, resource, sys\nfrom dregcli.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "read = next(line for line in open('/proc/self/io') if line.startswith('read_bytes'))\n"
        "print(json.dumps({'read': int(read.split()[1]), "
        "'peak': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))\nsys.exit(code)"
    )
    with tempfile.TemporaryDirectory() as runs:
        words = ["train", "--dataset", name, "--steps", str(steps), "--eval-every", "0", "--json", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--runs-dir", runs, "--data-dir", str(folder)],
            check=True,
            capture_output=True,
            text=True,
        )
    summary, process = (json.loads(line) for line in done.stdout.strip().splitlines()[-2:])
    return {**process, "steps_per_second": summary["steps_per_second"]}


def main() -> None:
    """Make the sets, train in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dreg-large-data")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    count = int(asked.gigabytes * 1e9) // SIDE**2
    sets = {"small": make("small", 50_000, asked.folder), "large": make(f"large-{count}", count, asked.folder)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sets}
    for _ in range(asked.repeats):
        for name, path in sets.items():
            if name == "large":
                forget(path)
            found[name].append(train(path.stem, asked.folder, asked.steps))
    print(f"{asked.steps} steps, K=64, batch 32, 784-200-200-50; {count:,} images against 50,000")
    print(f"{'set':8} {'GB':>6} {'steps/s':>24} {'median':>8} {'MB read from disk':>18} {'peak MB':>8}")
    for name, runs in found.items():
        rates = [run["steps_per_second"] for run in runs]
        told = " ".join(f"{rate:7.1f}" for rate in rates)
        read, peak = (median(run[key] for run in runs) / 1e6 for key in ("read", "peak"))
        size = sets[name].stat().st_size / 1e9
        print(f"{name:8} {size:6.2f} {told:>24} {median(rates):8.1f} {read:18.0f} {peak:8.0f}")
    small, large = (median(run["steps_per_second"] for run in runs) for runs in found.values())
    print(f"large / small: {large / small:.3f}")


if __name__ == "__main__":
    run(main)
