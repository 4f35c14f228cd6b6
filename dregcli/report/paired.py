"""Paired comparisons over shared seeds: how large a difference is, whether it is real, how many seeds would decide.

Runs that share a seed share their initial weights, the order of their data and their noise. So much of the variation
between seeds cancels in the differences. Student's t tests the differences. Over all pairs of groups, the chance of
any false verdict is at most ``LEVEL`` (Holm 1979), if the differences are about normal.

Functions import scipy themselves: it takes 0.25 s, and a command that trains loads this file without need for it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final, Literal, cast

from dregcli.report.moments import standard_error

LEVEL: Final = 0.05
"""The largest chance that the tests call any two equal groups different."""

POWER: Final = 0.8
"""The chance that ``needed`` seeds find a difference of the observed size."""

FEWEST_SEEDS: Final = 4
"""Number of seeds that two groups must share to be tested.

With fewer seeds, the standard deviation of the differences is hardly known, and neither is the number of seeds that
would be enough. A test that found nothing would then mean nothing.
"""

MOST_NEEDED: Final = 10_000

_ROUNDING: Final = 1e-9
"""Relative rounding error of a bound, which is a mean of float32 numbers."""

Verdict = Literal["higher", "lower", "undecided", "identical", "untested"]


@dataclass(frozen=True)
class Paired:
    """One group less another, at the seeds that both groups have.

    Attributes:
        a: key of the first group.
        b: key of the second group.
        seeds: shared seeds, ascending.
        difference: mean of a less b, nats per example; NaN if no seed is shared.
        stderr: standard error of the difference over seeds; None with fewer than two seeds.
        interval: 95 % interval by Student's t, for this pair alone; None with fewer than two seeds.
        p: two-sided p-value, for this pair alone; None if the pair was not tested.
        adjusted: p-value adjusted by Holm's method over all pairs.
        needed: number of seeds that would find a difference of this size with a chance of ``POWER``. None if the test
            has already decided, if the difference is 0, or if even ``MOST_NEEDED`` seeds would not be enough.
        verdict: verdict on a against b; untested with fewer than ``FEWEST_SEEDS`` shared seeds.
    """

    a: str
    b: str
    seeds: tuple[int, ...]
    difference: float
    stderr: float | None
    interval: tuple[float, float] | None
    p: float | None
    adjusted: float | None
    needed: int | None
    verdict: Verdict

    @property
    def t(self) -> float | None:
        """Student's t of the differences, from which ``p`` follows; None if the pair was not tested."""
        return self.difference / self.stderr if self.p is not None and self.stderr else None

    def turned(self) -> "Paired":
        """Return the same comparison as b less a."""
        turned: Mapping[Verdict, Verdict] = {"higher": "lower", "lower": "higher"}
        interval = (-self.interval[1], -self.interval[0]) if self.interval else None
        verdict = turned.get(self.verdict, self.verdict)
        return replace(self, a=self.b, b=self.a, difference=-self.difference, interval=interval, verdict=verdict)


def all_pairs(values: Mapping[str, Mapping[int, float]]) -> list[Paired]:
    """Compare every pair of groups, in the order of the groups.

    Args:
        values: bounds by the group's key and by seed, nats per example; larger is better.
    """
    keys = list(values)
    return judged_together([_pair(a, b, values[a], values[b]) for i, a in enumerate(keys) for b in keys[i + 1 :]])


def judged_together(pairs: Sequence[Paired]) -> list[Paired]:
    """Return pairs with the verdicts that hold for all of them together; earlier verdicts do not count."""
    adjusted = holm([each.p for each in pairs])
    tests = sum(p is not None for p in adjusted)
    return [_judged(replace(each, needed=None), p, tests) for each, p in zip(pairs, adjusted, strict=True)]


def _pair(a: str, b: str, of_a: Mapping[int, float], of_b: Mapping[int, float]) -> Paired:
    seeds = tuple(sorted(of_a.keys() & of_b.keys()))
    differences = [_difference(of_a[seed], of_b[seed]) for seed in seeds]
    mean = fmean(differences) if differences else math.nan
    if len(differences) < 2:
        return Paired(a, b, seeds, mean, None, None, None, None, None, "untested")
    stderr = standard_error(differences, mean)
    half = _critical(len(differences) - 1, LEVEL) * stderr
    interval = (mean - half, mean + half)
    if len(differences) < FEWEST_SEEDS:
        return Paired(a, b, seeds, mean, stderr, interval, None, None, None, "untested")
    p = _two_sided(mean, stderr, len(differences) - 1)
    return Paired(a, b, seeds, mean, stderr, interval, p, None, None, "undecided")


def _difference(a: float, b: float) -> float:
    """Return a less b, or 0 if it is only rounding: a test would take equal rounding errors for a difference."""
    return 0.0 if abs(a - b) <= _ROUNDING * max(1.0, abs(a), abs(b)) else a - b


def _two_sided(mean: float, stderr: float, freedom: int) -> float:
    if stderr > 0.0:
        from scipy.special import stdtr  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

        return 2.0 * float(stdtr(freedom, -abs(mean) / stderr))
    return 1.0 if mean == 0.0 else 0.0  # the same difference at every seed


def _judged(pair: Paired, adjusted: float | None, tests: int) -> Paired:
    if adjusted is None or pair.stderr is None:
        return pair
    if pair.stderr == 0.0 and pair.difference == 0.0:
        return replace(pair, adjusted=adjusted, verdict="identical")
    if adjusted <= LEVEL:
        return replace(pair, adjusted=adjusted, verdict="higher" if pair.difference > 0.0 else "lower")
    deviation = pair.stderr * math.sqrt(len(pair.seeds))
    needed = seeds_needed(pair.difference, deviation, level=LEVEL / tests)
    return replace(pair, adjusted=adjusted, needed=needed, verdict="undecided")


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for all tests together by Holm's method. None stays None."""
    order = sorted((value, i) for i, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (value, i) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * value))
        found[i] = least
    return found


def seeds_needed(difference: float, deviation: float, *, level: float) -> int | None:
    """Return the fewest seeds with which a two-sided test finds such a difference with a chance of ``POWER``.

    Args:
        difference: mean of the paired differences.
        deviation: standard deviation of the paired differences over seeds, above 0.
        level: level of the test.
    """
    if difference == 0.0 or power(difference, deviation, MOST_NEEDED, level=level) < POWER:
        return None
    few, enough = 1, MOST_NEEDED
    while enough - few > 1:
        middle = (few + enough) // 2
        if power(difference, deviation, middle, level=level) < POWER:
            few = middle
        else:
            enough = middle
    return enough


def power(difference: float, deviation: float, seeds: int, *, level: float) -> float:
    """Return the chance that a test over 2 seeds or more finds a difference, by the non-central t distribution."""
    from scipy.special import nctdtr  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    freedom = seeds - 1
    critical = _critical(freedom, level)
    shift = abs(difference) / deviation * math.sqrt(seeds)
    if shift > 37.0 + critical:  # the distribution function is 0 here, and its computation may not converge
        return 1.0
    below = cast("float", nctdtr(freedom, shift, critical))
    return 1.0 - below  # the chance beyond the other end is negligible, and the verdict there would be wrong


def _critical(freedom: int, level: float) -> float:
    from scipy.special import stdtrit  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    return float(stdtrit(freedom, 1.0 - 0.5 * level))
