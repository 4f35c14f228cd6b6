"""Trainings that share the cores: steps a second of 1, 2, 4 and 8 at once, against the same work one after another.

    python -m tests.benchmarks.side_by_side [--seconds 6] [--rounds 3] [--at-once 1,2,4,8] [--spin COUNT,COUNT]

By hand, on a machine that does nothing else; it takes about five minutes. A training is that of the paper's network
on 28 x 28 patterns, with K=64, screened. Two tables:

- A lone training, by how long threads spin at a barrier: torch's own waiting, dreg's, and every ``--spin``. Bursts
  alternate, so that each round compares ways in the same seconds. The ratio is to torch's own waiting in that round.
- N at once: the sum of all rates, as a share of a lone training's rate with the same setting, which is the throughput
  of the same trainings one after another. With as many threads each as there are cores, as in several terminals, and
  with cores // N threads each, as by ``dreg train --jobs N``. Fair is a share of 0.9 or more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.process import WAITING, share_cores

WARM: Final = 0.5
"""Seconds of a burst before it is measured, and after it, so that all trainings overlap where they are measured."""

_UNSET: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Training:
    """A training in another process, which takes steps when it is asked to.

    Args:
        waiting: the variables that say how threads wait.
    """

    def __init__(self, waiting: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
        command = [sys.executable, "-m", "tests.benchmarks.side_by_side", "--worker"]
        self._process = subprocess.Popen(
            command, env={**kept, **waiting}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, threads: int, seconds: float) -> None:
        """Begin a burst of steps."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([threads, seconds]) + "\n")
        self._process.stdin.flush()

    def rate(self) -> float:
        """Wait for the burst that was asked for; return its steps per second."""
        assert self._process.stdout
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def serve() -> None:
    """Be a training: for each line on stdin, take steps for some seconds, and print the steps per second."""
    import numpy as np
    import torch

    from dregcli.engine.device import prepare_process, settled_process
    from dregcli.engine.examples import ResidentExamples
    from dregcli.engine.execution import Execution
    from dregcli.engine.models.vae import Vae
    from dregcli.engine.pairs import resolve_pair
    from dregcli.engine.pixels import Dynamic
    from dregcli.engine.training import Trainer
    from dregcli.names import Backward

    prepare_process()
    blocks = np.random.default_rng(0).integers(0, 2, (256, 7, 7)).astype(np.uint8) * 255
    examples = torch.from_numpy(blocks.repeat(4, 1).repeat(4, 2).reshape(256, 784))
    model = Vae(torch.full((784,), 0.5), hidden=(200, 200), latent_dim=50, generator=torch.Generator().manual_seed(1))
    trainer = Trainer(
        model,
        resolve_pair("iwae", "dreg", 64),
        ResidentExamples(examples),
        Dynamic(255),
        k=64,
        batch_size=32,
        lr=1e-3,
        seed=0,
        execution=Execution(Backward.SCREENED),
    )
    trainer.warm_up()
    for _ in range(100):  # an untrained model keeps far more rows than one that is trained
        trainer.advance()
    with settled_process():
        for line in sys.stdin:
            threads, seconds = json.loads(line)
            torch.set_num_threads(threads)
            print(_burst(trainer, seconds), flush=True)


def _burst(trainer: Any, seconds: float) -> float:
    began = time.perf_counter()
    marks: list[float] = []
    while (now := time.perf_counter() - began) < seconds + 2 * WARM:
        if WARM <= now <= WARM + seconds:
            marks.append(now)
        trainer.advance()
    return (len(marks) - 1) / (marks[-1] - marks[0]) if len(marks) > 1 else len(marks) / seconds


def together(trainings: Sequence[Training], threads: int, seconds: float) -> float:
    """Return the sum of the steps per second of trainings that run at once."""
    for each in trainings:
        each.ask(threads, seconds)
    return sum(each.rate() for each in trainings)


def ways(spins: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the variables of each way of waiting, by its name."""
    ours: dict[str, str] = {}
    share_cores(ours)
    others = {f"spin {count}": {"GOMP_SPINCOUNT": count} for count in spins}
    return {"torch's own": {}, f"dreg's (spin {WAITING['GOMP_SPINCOUNT']})": ours, **others}


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="Measured seconds of a burst.")
    parser.add_argument("--rounds", type=int, default=4, help="Bursts of each lone training.")
    parser.add_argument("--at-once", default="1,2,4,8")
    parser.add_argument("--spin", default="", help="Further counts to compare, such as 1000,100000.")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        serve()
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    numbers = [int(each) for each in asked.at_once.split(",")]
    waiting = ways([each for each in asked.spin.split(",") if each])
    print(f"{cores} cores; load before: {Path('/proc/loadavg').read_text().split()[0]}", flush=True)

    lone = {name: Training(each) for name, each in waiting.items()}
    rates: dict[str, list[float]] = {name: [] for name in waiting}
    for _ in range(asked.rounds):
        for name, training in lone.items():
            rates[name].append(together([training], cores, asked.seconds))
    for training in lone.values():
        training.end()
    print(f"\n{'a lone training':28}{'steps/s':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    usual = next(iter(rates.values()))
    for name, found in rates.items():
        ratios = [rate / before for rate, before in zip(found, usual, strict=True)]
        shown = f"{statistics.median(ratios):8.3f}{min(ratios):8.3f}{max(ratios):8.3f}"
        print(f"{name:28}{statistics.median(found):10.1f}{shown}", flush=True)

    print(f"\n{'at once':28}{'number':>7}{'threads':>8}{'steps/s':>10}{'of lone':>9}{'fair':>7}")
    for name, each in waiting.items():
        trainings = [Training(each) for _ in range(max(numbers))]
        for training in trainings:  # all are ready
            together([training], 1, 0.1)
        before = together(trainings[:1], cores, asked.seconds)
        for number in numbers:
            for threads in dict.fromkeys((cores, max(1, cores // number))):
                rate = together(trainings[:number], threads, asked.seconds)
                fair = "yes" if rate >= 0.9 * before else "NO"
                print(f"{name:28}{number:7}{threads:8}{rate:10.1f}{rate / before:9.2f}{fair:>7}", flush=True)
        for training in trainings:
            training.end()


if __name__ == "__main__":
    main()
