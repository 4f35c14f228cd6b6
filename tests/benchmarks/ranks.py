"""Steps/s of one run over several ranks, each with one thread. By hand:

    python -m tests.benchmarks.ranks --dataset mnist [--k 1024] [--ranks 1,2] [--backward dense] [--shard samples]

Runs ``dreg train`` itself on so many processes, started as torchrun does, without evaluations. Every round takes each
number of ranks in turn, and a ratio is the median over rounds of the ratio within a round. The machine's own limit is
what as many trainings reach at once that know nothing of each other: only what ranks lose beyond it is dreg's part.
If the limit is far below the number of ranks, the cores were not free. Before each measurement it waits up to
``--patience`` seconds for a quiet machine. Nothing here asserts anything about time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.support.command import run
from tests.benchmarks.support.others import wait_for_quiet
from tests.benchmarks.support.tables import figure, table
from tests.benchmarks.support.workers import WorkerFailed
from tests.support.rank_processes import environments

_LIMIT = 3600.0
_QUIET_CORES = 0.1


def rates(environments: Sequence[Mapping[str, str]], asked: argparse.Namespace) -> list[float]:
    """Steps per second of each training, of processes started at once; of the ranks of one, the first tells them."""
    words = ["train", "--dataset", asked.dataset, "--device", "cpu", "--threads", "1", "--quiet", "--json"]
    words += ["--k", str(asked.k), "--batch-size", str(asked.batch_size), "--steps", str(asked.steps)]
    words += ["--hidden", "200,200", "--latent-dim", "50", "--backward", asked.backward, "--shard", asked.shard]
    words += ["--eval-every", "0", "--final-eval", "none", "--checkpoint-every", "0", "--log-every", str(asked.steps)]
    words += [] if asked.data_dir is None else ["--data-dir", asked.data_dir]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dregcli", *words, "--runs-dir", folder]
        started = [
            subprocess.Popen(command, env={**os.environ, **each}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for each in environments
        ]
        try:
            told = [each.communicate(timeout=_LIMIT) for each in started]
        finally:
            for each in started:
                each.kill()  # of those that have ended nothing is left to kill
    if any(each.returncode for each in started):
        raise WorkerFailed(b"\n".join(err for _, err in told).decode())
    return [json.loads(out)["steps_per_second"] for out, _ in told if out]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--k", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backward", choices=("dense", "screened"), default="dense")
    parser.add_argument("--shard", choices=("samples", "batch"), default="samples")
    parser.add_argument("--patience", type=float, default=60.0)
    asked = parser.parse_args()
    sizes = [int(word) for word in asked.ranks.split(",")]
    found: dict[int, list[float]] = {size: [] for size in sizes}
    apart: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(asked.rounds):
        for size in sizes:
            wait_for_quiet(_QUIET_CORES, asked.patience)
            found[size] += rates(environments(size), asked)
            # One alone is no other measurement than one rank.
            apart[size].append(sum(rates([{"OMP_NUM_THREADS": "1"}] * size, asked)) if size > 1 else found[size][-1])

    def ratio(of: Sequence[float]) -> float:
        return median(each / first for each, first in zip(of, found[sizes[0]], strict=True))

    rows = [
        [
            str(size),
            figure(1000.0 / median(found[size]), 1),
            figure(ratio(found[size])),
            figure(ratio(apart[size])),
            figure(min(found[size]), 2),
        ]
        for size in sizes
    ]
    header = ("ranks", "ms a step", f"times {sizes[0]} rank", "machine's limit", "slowest steps/s")
    title = f"{asked.dataset}, K={asked.k:,}, B={asked.batch_size}, {asked.backward}, by {asked.shard}"
    sys.stdout.write(f"{title}\n{table(header, rows)}\n")


if __name__ == "__main__":
    run(main)
