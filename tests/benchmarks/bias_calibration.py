"""How often the bias check is wrong: false alarms and power over thousands of seeds of a small model, by hand.

    python -m tests.benchmarks.bias_calibration [--seeds 5000] [--false-alarm .05 .01] [--end 400]

The model is that of formulas.md section 2 in each of some independent dimensions, far enough from its posterior for
heavy tails, K = 4 (``--k``). Every seed is one whole check of unbiased pairs, with all its looks: ``detect`` is so
small that no check ends early, which is the most false alarms that there can be. Power is that of the same check with
a bias in one pair of exactly the relative size that such checks state as detectable, in a direction drawn from the
noise.
``--end`` ends every check early, as its time does.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import torch
from scipy.stats import beta
from torch import Tensor

from dregcli.engine.diagnostics.bias_check import BiasCheck, BiasResult
from dregcli.engine.diagnostics.references import Comparison, comparison_of
from dregcli.engine.pairs import resolve_pair
from dregcli.names import Verdict
from tests.benchmarks.support.command import run
from tests.engine.diagnostics.gaussian_source import GaussianSource
from tests.support.quadrature import Gaussian1d

K = 4
MODEL = Gaussian1d(theta=0.2, mu=0.9, log_sd=-0.35, slope=1.0, noise=1.0)
NEVER_ENOUGH = 1e-9
"""A size to detect that no budget can, so that every check takes all its looks."""

PILOT, PILOT_SEED, POWER_SEED = 64, 10**6, 2 * 10**6
CONFIDENCE = 0.99

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """What is calibrated."""

    pairs: tuple[str, ...]
    dimensions: int
    max_batches: int
    k: int = K
    end: int | None = None

    def comparisons(self) -> list[Comparison]:
        return [comparison_of(resolve_pair(*word.split("/"), self.k), self.k) for word in self.pairs]

    def source(self, seed: int, bias: dict[Comparison, Tensor] | None = None) -> GaussianSource:
        batches = min(self.max_batches, self.end or self.max_batches)
        return GaussianSource(MODEL, k=self.k, seed=seed, batches=batches, dimensions=self.dimensions, bias=bias)

    def check(self, source: GaussianSource, false_alarm: float) -> list[BiasResult]:
        """One whole check."""
        check = BiasCheck(
            source,
            self.comparisons(),
            false_alarm=false_alarm,
            detect=NEVER_ENOUGH,
            max_batches=self.max_batches,
        )
        while not check.done:
            due = check.advance()
            late = check.step == self.end
            if due or late:
                check.look(last=late)
        return check.results()


@dataclass(frozen=True)
class Alarms:
    """Whether one seed's check called anything biased, at each level of false alarms."""

    setting: Setting
    levels: tuple[float, ...]

    def __call__(self, seed: int) -> list[bool]:
        source = self.setting.source(seed)
        found: list[bool] = []
        for level in self.levels:
            # What is no alarm at one level is none at a smaller one, as the same p-values tell.
            results = self.setting.check(source, level) if all(found) else []
            found.append(any(each.verdict is Verdict.BIASED for each in results))
        return found


@dataclass(frozen=True)
class Pilot:
    """What one seed's check states: the detectable relative bias of the first pair, and its reference's gradient."""

    setting: Setting
    level: float

    def __call__(self, seed: int) -> tuple[float, Tensor]:
        source = self.setting.source(seed)
        first = self.setting.check(source, self.level)[0]
        # Of dreg, which is the same in expectation and varies less.
        gradient = source.gradients(resolve_pair("iwae", "dreg", self.setting.k))
        mean = torch.cat([rows.mean(dim=0) for rows in gradient.values()])
        return first.detectable or float("inf"), mean


@dataclass(frozen=True)
class Power:
    """Whether one seed's check found a bias of this norm in the first pair, in a direction drawn from the noise."""

    setting: Setting
    level: float
    norm: float

    def __call__(self, seed: int) -> bool:
        first = self.setting.comparisons()[0]
        other = self.setting.source(seed + POWER_SEED).difference(first)["phi"]
        share = torch.randn(len(other), generator=torch.Generator().manual_seed(seed), dtype=other.dtype)
        direction = share @ (other - other.mean(dim=0))
        source = self.setting.source(seed, {first: self.norm * direction / direction.norm()})
        return self.setting.check(source, self.level)[0].verdict is Verdict.BIASED


def bounds(count: int, n: int) -> tuple[float, float]:
    """Exact two-sided bounds of a probability (Clopper and Pearson)."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low = float(beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1.0 - tail, count + 1, n - count)) if count < n else 1.0
    return low, high


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _prepare() -> None:
    torch.set_num_threads(1)


def _over(pool: ProcessPoolExecutor, work: Callable[[int], T], seeds: Iterable[int], label: str) -> list[T]:
    """The work's results for all seeds, with progress on stderr."""
    wanted = list(seeds)
    found: list[T] = []
    started = time.monotonic()
    for each in pool.map(work, wanted, chunksize=8):
        found.append(each)
        if len(found) % 250 == 0 or len(found) == len(wanted):
            sys.stderr.write(f"{label}: {len(found)} of {len(wanted)}, {time.monotonic() - started:.0f} s\n")
            sys.stderr.flush()
    return found


def _rate(count: int, n: int) -> str:
    low, high = bounds(count, n)
    return f"{count} of {n} = {count / n:.4f}, {CONFIDENCE:.0%} bounds [{low:.4f}, {high:.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5000)
    parser.add_argument("--power-seeds", type=int, default=1000)
    parser.add_argument("--false-alarm", type=float, nargs="+", default=[0.05, 0.01])
    parser.add_argument("--pairs", nargs="+", default=["iwae/dreg", "iwae/vimco-star"])
    parser.add_argument("--dimensions", type=int, default=4)
    parser.add_argument("--max-batches", type=int, default=3072)
    parser.add_argument("--k", type=int, default=K)
    parser.add_argument("--end", type=int, help="batches after which each check ends early")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    levels = tuple(sorted(asked.false_alarm, reverse=True))
    setting = Setting(tuple(asked.pairs), asked.dimensions, asked.max_batches, asked.k, asked.end)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    size = f"K={setting.k}, {setting.dimensions} dimensions, {setting.end or setting.max_batches} batches at most"
    _say(f"{', '.join(setting.pairs)}; {size}")
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        alarms = _over(pool, Alarms(setting, levels), range(asked.seeds), "false alarms")
        for level, of_level in zip(levels, zip(*alarms, strict=True), strict=True):
            _say(f"false alarms at {level:g}: {_rate(sum(of_level), asked.seeds)}")
        for level in levels:
            pilot = _over(pool, Pilot(setting, level), range(PILOT_SEED, PILOT_SEED + PILOT), f"pilot at {level:g}")
            detectable = float(torch.tensor([each for each, _ in pilot]).median())
            gradient = torch.stack([each for _, each in pilot]).mean(dim=0)
            # theta's is part of the reference's norm, as in the check.
            power = Power(setting, level, detectable * float(gradient.norm()))
            found = _over(pool, power, range(asked.power_seeds), f"power at {level:g}")
            _say(
                f"power at {level:g} of {setting.pairs[0]} with a relative bias of {detectable:.4f}, the detectable: "
                f"{_rate(sum(found), asked.power_seeds)}"
            )


if __name__ == "__main__":
    run(main)
