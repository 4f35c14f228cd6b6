"""Seconds of a report on many runs. By hand:

    python -m tests.benchmarks.report --runs 100 --rows 5000

It makes a store of finished runs (twenty settings of five seeds, evaluated) and times whole commands, start of Python
and all, each several times. Nothing here asserts anything about time.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.support.command import run
from tests.support.store_study import add_eval, add_run

SEEDS = 5
ESTIMATORS = ("dreg", "stl", "reparam", "vimco")


def _make(root: Path, runs: int, rows: int) -> None:
    for number in range(runs):
        setting, seed = divmod(number, SEEDS)
        rate, kind = divmod(setting, len(ESTIMATORS))
        level = -88.0 - 0.3 * kind - 0.1 * rate + 0.05 * seed
        made = add_run(
            root, estimator=ESTIMATORS[kind], lr=1e-3 / 2**rate, seed=seed, level=level, rows=rows, steps=10 * rows
        )
        add_eval(made, level + 1.0)


def main() -> None:
    """Make the store, run the commands, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--store", type=Path, default=None, help="of an earlier call, to be used again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = asked.store or Path(folder) / "runs"
        if not store.exists():
            _make(store, asked.runs, asked.rows)
        page = Path(folder) / "report.html"
        commands = {"terminal": ["report"], "json": ["report", "--json"], "html": ["report", "--html", str(page)]}
        for name, words in commands.items():
            times: list[float] = []
            for _ in range(asked.times):
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "dregcli", *words, "--runs-dir", str(store)],
                    check=True,
                    capture_output=True,
                )
                times.append(time.perf_counter() - started)
            size = f", {page.stat().st_size / 1e6:.2f} MB" if name == "html" else ""
            told = f"{median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
            print(f"{name:9} of {asked.runs} runs of {asked.rows:,} rows: {told}{size}")


if __name__ == "__main__":
    run(main)
