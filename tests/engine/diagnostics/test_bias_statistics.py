"""Each number of the bias statistics against the slow, obvious way; power by simulation, error rates stated."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dregcli.engine.diagnostics.bias_statistics import (
    FEWEST_MEANS,
    Estimate,
    evidence,
    gram,
    squared_norm_of_mean,
    t_statistic,
)

ALPHA = 1e-3


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _blocks(m: int = 50, seed: int = 0) -> dict[str, Tensor]:
    """Two blocks of noise with some mean, in which every statistic is away from 0 and infinity."""
    return {"a": 0.2 + _normal(m, 3, seed=seed), "b": _normal(m, 2, seed=seed + 1) - 0.1}


def _gradient(seed: int = 9) -> dict[str, Tensor]:
    return {"a": _normal(3, seed=seed), "b": _normal(2, seed=seed + 1)}


# The squared norm.


def _pairs_of_different_rows(rows: Tensor) -> float:
    m = len(rows)
    products = [float(rows[s] @ rows[t]) for s in range(m) for t in range(m) if s != t]
    return sum(products) / len(products)


def test_the_square_is_the_mean_over_pairs_of_different_means() -> None:
    blocks = _blocks(m=7)
    rows = torch.cat(list(blocks.values()), dim=1)
    found = squared_norm_of_mean(gram(blocks))
    assert found.value == pytest.approx(_pairs_of_different_rows(rows), rel=1e-12)
    without = [_pairs_of_different_rows(torch.cat([rows[:i], rows[i + 1 :]])) for i in range(7)]
    jackknife = math.sqrt(6 / 7 * sum((each - np.mean(without)) ** 2 for each in without))
    centred = rows - rows.mean(dim=0)
    products = [float(centred[s] @ centred[t]) ** 2 for s in range(7) for t in range(7) if s != t]
    least = math.sqrt(2.0 * np.mean(products) / 42)
    assert jackknife != pytest.approx(least, rel=0.01)
    assert found.stderr == pytest.approx(max(jackknife, least), rel=1e-12)


def test_the_square_is_never_surer_than_where_the_mean_is_0() -> None:
    """Leaving one of these out changes nothing, so the jackknife would know the square of 0 without an error."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    found = squared_norm_of_mean(gram({"x": rows}))
    assert found.value == pytest.approx(-1.0 / 3.0)
    assert found.stderr == pytest.approx(math.sqrt(2.0 * (4.0 / 12.0) / 12.0))


def _expected_square(square: Callable[[Tensor], Estimate]) -> tuple[float, float]:
    """The expectation over all samples of 4 from a distribution on three points, and the truth."""
    points = torch.tensor([[1.0, 0.0], [-0.5, 2.0], [0.3, -1.0]], dtype=torch.float64)
    probability = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    expected = sum(
        float(probability[list(drawn)].prod()) * square(gram({"x": points[list(drawn)]})).value
        for drawn in itertools.product(range(3), repeat=4)
    )
    return expected, float((probability @ points).square().sum())


def test_the_square_is_exactly_unbiased() -> None:
    expected, truth = _expected_square(squared_norm_of_mean)
    assert expected == pytest.approx(truth, rel=1e-12)


def test_a_square_with_its_own_noise_in_it_is_caught() -> None:
    expected, truth = _expected_square(lambda products: Estimate(float(products.mean()), 0.0))
    assert expected > 2.0 * truth


# The tests.


def test_t_is_students() -> None:
    values = 0.3 + _normal(40)
    assert t_statistic(values) == pytest.approx(stats.ttest_1samp(values.numpy(), 0.0).statistic, rel=1e-12)


def test_t_without_noise() -> None:
    assert t_statistic(torch.zeros(5)) == 0.0
    assert t_statistic(torch.full((4,), -0.5)) == -math.inf
    assert t_statistic(torch.full((4,), 0.5)) == math.inf


def _by_hand(blocks: dict[str, Tensor], gradient: dict[str, Tensor]) -> dict[str, float]:
    """All tests with numpy and scipy, and their p as documented: half, a quarter and a quarter."""
    rows = {name: each.numpy() for name, each in blocks.items()}
    m = len(rows["a"])
    learn, rest = slice(0, m // 3), slice(m // 3, m)
    along = {name: each[rest] @ each[learn].mean(axis=0) for name, each in rows.items()}
    tests = {f"block {name}": stats.ttest_1samp(values, 0.0) for name, values in along.items()}
    tests["learned"] = stats.ttest_1samp(along["a"] + along["b"], 0.0)
    on_gradient = sum(rows[name][rest] @ gradient[name].numpy() for name in rows)
    tests["gradient"] = stats.ttest_1samp(on_gradient, 0.0)
    tests["signed mean"] = stats.ttest_1samp(np.concatenate(list(rows.values()), axis=1).sum(axis=1), 0.0)
    smallest = min(
        tests["learned"].pvalue / 0.5,
        tests["gradient"].pvalue / 0.25,
        2 * min(tests["block a"].pvalue, tests["block b"].pvalue) / 0.25,
    )
    return {name: test.statistic for name, test in tests.items()} | {"p": min(1.0, smallest)}


@pytest.mark.parametrize("m", [FEWEST_MEANS, 50, 61, 96])
@pytest.mark.parametrize("seed", range(4))
def test_evidence_by_hand(m: int, seed: int) -> None:
    blocks, gradient = _blocks(m, seed), _gradient()
    found = evidence(blocks, gradient, alpha=ALPHA)
    expected = _by_hand(blocks, gradient)
    assert found.t_learned == pytest.approx(expected["learned"], rel=1e-10)
    assert found.t_gradient == pytest.approx(expected["gradient"], rel=1e-10)
    assert found.t_blocks == pytest.approx({"a": expected["block a"], "b": expected["block b"]}, rel=1e-10)
    assert found.t_signed_mean == pytest.approx(expected["signed mean"], rel=1e-10)
    assert found.p == pytest.approx(expected["p"], rel=1e-8)
    assert found.square == squared_norm_of_mean(gram(blocks))
    assert found.max_abs_t == max(abs(t) for t in found.t_blocks.values())
    # p follows from the deciding statistic, by the number of its tests.
    shares = {found.t_learned: 0.5, found.t_gradient: 0.25} | {t: 0.25 / 2 for t in found.t_blocks.values()}
    two_sided = 2.0 * stats.t.sf(abs(found.deciding_t), found.freedom)
    assert found.p == pytest.approx(min(1.0, two_sided / shares[found.deciding_t]), rel=1e-8)


@pytest.mark.parametrize("decisive", ["learned", "gradient", "block a"])
def test_each_kind_of_test_can_decide(decisive: str) -> None:
    """p is that of whichever test speaks, with its own share: a bias made for each in turn."""
    m, third = 60, 20
    blocks = {"a": _normal(m, 1), "b": _normal(m, 1, seed=1)}
    gradient = {"a": torch.zeros(1, dtype=torch.float64), "b": torch.ones(1, dtype=torch.float64)}
    if decisive == "gradient":  # learned the wrong way: nothing in the first third
        for rows in blocks.values():
            rows[:third] -= rows[:third].mean()
        blocks["b"][third:] += 2.0
    elif decisive == "block a":  # drowned by the other block
        blocks["a"] += 2.0
        blocks["b"] *= 1e3
    else:  # seen by both together more than by each
        gradient["b"][:] = 0.0
        blocks["a"] += 2.0
        blocks["b"] += 2.0
    found, expected = evidence(blocks, gradient, alpha=ALPHA), _by_hand(blocks, gradient)
    freedom = m - third - 1
    shares = {"learned": 0.5, "gradient": 0.25, "block a": 0.125}
    assert found.p == pytest.approx(2 * stats.t.sf(abs(expected[decisive]), freedom) / shares[decisive], rel=1e-8)
    assert found.p < 1e-3


def test_a_blocks_critical_t_is_where_p_is_alpha() -> None:
    found = evidence(_blocks(60), _gradient(), alpha=ALPHA)
    assert 2 * 2 * stats.t.sf(found.critical_t, 39) / 0.25 == pytest.approx(ALPHA, rel=1e-9)


def test_too_few_means_are_refused() -> None:
    with pytest.raises(ValueError, match=r"48 batch means are needed, not 47"):
        evidence(_blocks(FEWEST_MEANS - 1), _gradient(), alpha=ALPHA)


# What the direction is learned from.

Learned = Callable[[Tensor], float]


def _t_learned(rows: Tensor) -> float:
    return evidence({"x": rows}, {"x": torch.ones(rows.shape[1])}, alpha=ALPHA).t_learned


def direction_faults(t_learned: Learned) -> list[str]:
    """In what a test along a learned direction uses other than the first third for it, or the rest for the test."""
    m, third = 60, 20
    rows = _normal(m, 2, seed=3)
    rows[:third, 1] = 0.0
    rows[:third, 0] = rows[:third, 0].abs() + 0.5
    before = t_learned(rows)
    faults = []
    if before != pytest.approx(stats.ttest_1samp(rows[third:, 0].numpy(), 0.0).statistic, rel=1e-10):
        faults.append("not the t of the rest along the first third's mean")
    across = rows.clone()
    across[third:, 1] += 100.0
    if t_learned(across) != pytest.approx(before, rel=1e-10):
        faults.append("the tested rows moved the direction")
    turned = rows.clone()
    turned[:third] = turned[:third].flip(1)
    if t_learned(turned) != pytest.approx(stats.ttest_1samp(rows[third:, 1].numpy(), 0.0).statistic, rel=1e-10):
        faults.append("the learning rows did not turn it")
    longer = rows.clone()
    longer[:third] *= 3.0
    if t_learned(longer) != pytest.approx(before, rel=1e-10):
        faults.append("the learning rows are tested")
    return faults


def test_the_first_third_learns_and_the_rest_tests() -> None:
    assert direction_faults(_t_learned) == []


def _learns_from_all(rows: Tensor) -> float:
    return t_statistic(rows[20:] @ rows.mean(dim=0))


def _tests_all(rows: Tensor) -> float:
    return t_statistic(rows @ rows[:20].mean(dim=0))


@pytest.mark.parametrize("twin", [_learns_from_all, _tests_all])
def test_a_direction_from_other_rows_is_caught(twin: Learned) -> None:
    assert direction_faults(twin)


# Invariances.


def test_scaling_scales_the_squares_and_nothing_else() -> None:
    blocks, gradient = _blocks(), _gradient()
    one = evidence(blocks, gradient, alpha=ALPHA)
    many = evidence({name: 8.0 * rows for name, rows in blocks.items()}, gradient, alpha=ALPHA)
    assert many.square == Estimate(64.0 * one.square.value, 64.0 * one.square.stderr)
    assert many.detectable_square == pytest.approx(64.0 * one.detectable_square, rel=1e-10)
    for name in ("p", "t_learned", "t_gradient", "t_blocks", "t_signed_mean", "critical_t"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-10), name


@pytest.mark.parametrize("kind", ["rotation", "permutation"])
def test_turning_a_block_changes_nothing(kind: str) -> None:
    """But a rotation the signed mean, which depends on the coordinates: it is no test of a bias."""
    blocks, gradient = _blocks(), _gradient()
    turn = torch.linalg.qr(_normal(3, 3, seed=5))[0] if kind == "rotation" else torch.eye(3)[[2, 0, 1]].double()
    turned = evidence({**blocks, "a": blocks["a"] @ turn}, {**gradient, "a": gradient["a"] @ turn}, alpha=ALPHA)
    one = evidence(blocks, gradient, alpha=ALPHA)
    names = ["p", "t_learned", "t_gradient", "t_blocks", "critical_t", "detectable_square"]
    for name in [*names, "t_signed_mean"] if kind == "permutation" else names:
        assert getattr(turned, name) == pytest.approx(getattr(one, name), rel=1e-9), name
    assert turned.square.value == pytest.approx(one.square.value, rel=1e-10)
    assert turned.square.stderr == pytest.approx(one.square.stderr, rel=1e-10)
    if kind == "rotation":
        assert abs(turned.t_signed_mean - one.t_signed_mean) > 0.1


# What would have been found.

MEANS, SIMULATIONS = 96, 200
SPECTRA = {
    "one": torch.ones(1),
    "flat": torch.ones(40),
    "decaying": 1.0 / torch.arange(1, 61) ** 2,
    "one large": torch.cat([torch.tensor([10.0]), torch.ones(30)]),
}


def _found(spectrum: Tensor, direction: str, scale: float) -> int:
    """How often a bias of ``scale`` times the detectable norm is found, in SIMULATIONS sets of means."""
    sd = spectrum.double().sqrt()
    generator = torch.Generator().manual_seed(11)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, len(sd), generator=generator, dtype=torch.float64)

    zero = {"x": torch.zeros(len(sd))}
    stated = [evidence({"x": noise(MEANS) * sd}, zero, alpha=ALPHA).detectable_square for _ in range(30)]
    norm = scale * math.sqrt(float(np.median(stated)))
    count = 0
    for _ in range(SIMULATIONS):
        towards = noise() * sd if direction == "as the noise" else noise()
        rows = noise(MEANS) * sd + norm * towards / towards.norm()
        count += evidence({"x": rows}, zero, alpha=ALPHA).p <= ALPHA
    return count


CASES = [(spectrum, direction) for spectrum in SPECTRA for direction in ("as the noise", "uniform")]

LOWEST = int(stats.binom.ppf(1e-7 / len(CASES), SIMULATIONS, 0.9))
"""With a power of 0.9, fewer are found in any case with probability below 1e-7."""


@pytest.mark.parametrize(("spectrum", "direction"), CASES)
def test_a_bias_of_the_detectable_size_is_found(spectrum: str, direction: str) -> None:
    assert _found(SPECTRA[spectrum], direction, 1.0) >= LOWEST


@pytest.mark.parametrize("spectrum", ["flat", "decaying"])
def test_a_size_that_is_too_small_is_caught(spectrum: str) -> None:
    """The wrong twin states a quarter of the norm: so the size is no empty promise, either."""
    assert _found(SPECTRA[spectrum], "as the noise", 0.25) < LOWEST / 2


def test_the_detectable_size_by_hand() -> None:
    """At it, t's mean exceeds the critical value of half the level by the power's quantile of t's own spread."""
    blocks, m, third = _blocks(m=60), 60, 20
    rows = torch.cat(list(blocks.values()), dim=1).numpy()
    centred = rows - rows.mean(axis=0)
    products = centred @ centred.T
    trace = np.trace(products) / (m - 1)
    trace_square = (np.square(products).sum() - np.square(np.diag(products)).sum()) / (m * (m - 1))
    square = evidence(blocks, _gradient(), alpha=ALPHA).detectable_square
    usual = trace_square / trace
    variance = usual * square + trace_square / third
    mean_t = math.sqrt((m - third) / variance) * square
    spread = math.sqrt(1.0 + (m - third) / third * usual * square / variance)
    critical = stats.t.ppf(1.0 - ALPHA / 2.0 / 2.0, m - third - 1)
    assert mean_t == pytest.approx(critical + stats.norm.ppf(0.9) * spread, rel=1e-9)


def test_less_is_detectable_with_fewer_false_alarms() -> None:
    sizes = [evidence(_blocks(), _gradient(), alpha=alpha).detectable_square for alpha in (0.1, 1e-2, 1e-4, 1e-8)]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0.0
    assert sizes[3] > 1.5 * sizes[0]


def test_the_detectable_size_does_not_depend_on_the_bias() -> None:
    blocks = _blocks()
    shifted = {name: rows + 3.0 for name, rows in blocks.items()}
    one, other = (evidence(each, _gradient(), alpha=ALPHA).detectable_square for each in (blocks, shifted))
    assert other == pytest.approx(one, rel=1e-9)


def test_without_noise_everything_is_detectable() -> None:
    found = evidence({"x": torch.full((MEANS, 2), 0.25)}, {"x": torch.ones(2)}, alpha=ALPHA)
    assert found.detectable_square == 0.0
    assert found.p == 0.0
    assert found.square.value == pytest.approx(0.125, rel=1e-12)
