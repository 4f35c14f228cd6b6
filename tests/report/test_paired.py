"""Paired comparisons: Student's t, Holm's adjustment, and how many seeds would tell."""

import math

import numpy as np
import pytest
from scipy import stats

from dregcli.report.paired import LEVEL, POWER, all_pairs, holm, power, seeds_needed


def test_a_pair_is_students_t_of_the_differences_at_shared_seeds() -> None:
    a = {0: -90.0, 1: -91.0, 2: -89.5, 3: -90.2, 7: 5.0}
    b = {0: -90.5, 1: -91.2, 2: -90.4, 3: -90.3, 9: -5.0}
    (found,) = all_pairs({"a": a, "b": b})
    shared = [0, 1, 2, 3]
    expected = stats.ttest_rel([a[s] for s in shared], [b[s] for s in shared])
    assert found.seeds == (0, 1, 2, 3), "what only one of them has is left out"
    assert found.difference == pytest.approx(np.mean([a[s] - b[s] for s in shared]))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.t == pytest.approx(expected.statistic, rel=1e-12)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)
    assert found.adjusted == found.p, "one test needs no adjustment"
    turned = found.turned()
    assert (turned.a, turned.difference, turned.t) == ("b", -found.difference, -(found.t or 0.0))
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_pairing_finds_what_unpaired_means_cannot() -> None:
    """Seeds move both alike by whole nats; the difference of .1 at every one of them is still found."""
    common = np.random.default_rng(0).normal(0.0, 5.0, 6)
    own = np.random.default_rng(1).normal(0.0, 0.02, 6)
    a = {i: float(value + 0.1) for i, value in enumerate(common)}
    b = {i: float(value + noise) for i, (value, noise) in enumerate(zip(common, own, strict=True))}
    (found,) = all_pairs({"a": a, "b": b})
    assert found.verdict == "higher"
    assert stats.ttest_ind([*a.values()], [*b.values()]).pvalue > 0.5


def test_few_or_no_shared_seeds_are_not_tested() -> None:
    """Not even where they differ alike, nor is it said how many would decide: one degree of freedom knows nothing."""
    for seeds in (2, 3, 4):
        (few,) = all_pairs({"a": {i: 1.0 + 0.001 * i for i in range(seeds)}, "b": dict.fromkeys(range(9), 0.0)})
        (near,) = all_pairs({"a": {i: 0.5 - i for i in range(seeds)}, "b": dict.fromkeys(range(9), 0.0)})
        tested = seeds == 4
        assert (few.verdict, few.p is None) == ("higher" if tested else "untested", not tested)
        assert (near.verdict, near.needed is None) == ("undecided" if tested else "untested", not tested)
        assert few.stderr is not None
        assert few.interval is not None
    one, none = all_pairs({"a": {0: 1.0}, "b": {0: 0.5}})[0], all_pairs({"a": {0: 1.0}, "b": {1: 0.5}})[0]
    assert (one.difference, one.stderr, one.p, one.verdict) == (0.5, None, None, "untested")
    assert math.isnan(none.difference)
    assert none.verdict == "untested"


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "identical"), (0.25, "higher"), (-0.25, "lower")])
def test_differences_without_any_spread(shift: float, verdict: str) -> None:
    (found,) = all_pairs({"a": {i: i + shift for i in range(4)}, "b": {i: float(i) for i in range(4)}})
    assert (found.verdict, found.difference) == (verdict, shift)


def test_holm_is_the_published_one() -> None:
    """Of Holm's own example: the smallest by 4, then by 3, never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.6, None, 0.7]) == [None, 1.0, None, 1.0]
    assert holm([]) == []


def test_false_verdicts_over_many_groups_are_as_rare_as_promised() -> None:
    """Six groups that are equal, 15 pairs, 400 times. Of unadjusted tests two thirds of the studies have a verdict.

    The number of studies with any verdict is binomial with a probability of at most .05; above 52 it has a chance of
    1e-10. Without adjustment it would be about 140, and below 53 with a chance of less than 1e-20.
    """
    rng = np.random.default_rng(3)
    studies, unadjusted = 0, 0
    for _ in range(400):
        found = all_pairs({str(g): dict(enumerate(rng.normal(size=5))) for g in range(6)})
        studies += any(pair.verdict in ("higher", "lower") for pair in found)
        unadjusted += any(pair.p is not None and pair.p < LEVEL for pair in found)
    assert studies <= 52
    assert unadjusted > 52, "the wrong twin: tests that forget how many they are"


@pytest.mark.parametrize("seeds", [2, 3, 5, 12, 40])
def test_power_is_that_of_the_noncentral_t(seeds: int) -> None:
    for effect in (0.2, 1.0, 3.0):
        critical = stats.t.isf(LEVEL / 2, seeds - 1)
        expected = stats.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds))
        assert power(effect, 1.0, seeds, level=LEVEL) == pytest.approx(expected, abs=1e-9)


def test_seeds_needed_are_the_fewest_that_do() -> None:
    for difference in (0.05, 0.3, 1.0, 4.0):
        n = seeds_needed(difference, 1.0, level=LEVEL)
        assert n is not None
        assert power(difference, 1.0, n, level=LEVEL) >= POWER
        assert n == 2 or power(difference, 1.0, n - 1, level=LEVEL) < POWER
    assert seeds_needed(0.5, 1.0, level=LEVEL) == 34, "the usual table: d = .5, 80 %, 5 % two-sided"
    assert seeds_needed(0.0, 1.0, level=LEVEL) is None
    assert seeds_needed(1e-6, 1.0, level=LEVEL) is None
    assert seeds_needed(1e9, 1.0, level=LEVEL) == 2


def test_an_undecided_pair_says_how_many_seeds_would_tell() -> None:
    a = {i: value for i, value in enumerate([0.3, -0.2, 0.4, 0.1, -0.1])}
    (found,) = all_pairs({"a": a, "b": dict.fromkeys(range(5), 0.0)})
    assert found.verdict == "undecided"
    deviation = float(np.std([*a.values()], ddof=1))
    assert found.needed == seeds_needed(found.difference, deviation, level=LEVEL)
    assert found.needed is not None
    assert found.needed > 5
