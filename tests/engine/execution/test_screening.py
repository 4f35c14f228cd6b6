"""Keep probabilities, log-weights of two precisions in one softmax, and weights that are right on average."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dregcli.engine.execution.screening import (
    CORRECTION_RATE,
    LEAST_PROBABILITY,
    keep_probabilities,
    mixed_log_weights,
)
from dregcli.engine.execution.weighing import PairWeigh, RowWeights
from dregcli.engine.pairs import Pair, all_pairs, resolve_pair
from tests.support.exact import off_networks
from tests.support.sweep import swept

inflations = st.floats(0.01, 1.0)
seeds = st.integers(0, 10_000)
given_weights = given(seeds, inflations, st.integers(1, 3), st.integers(1, 20), st.integers(1, 3))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def weights(seed: int, arrays: int, k: int, b: int) -> Tensor:
    """Of either sign, some of them 0, over fifteen orders of magnitude."""
    found = normal(arrays, k, b, seed=seed) * (5.0 * normal(arrays, k, b, seed=seed + 1)).exp()
    return torch.where(normal(arrays, k, b, seed=seed + 2) > 1.5, 0.0, found)


# Keep probabilities.


@settings(deadline=None, max_examples=100)
@given_weights
def test_a_probability_is_from_the_least_to_one(seed: int, inflation: float, arrays: int, k: int, b: int) -> None:
    p = keep_probabilities([weights(seed, arrays, k, b)], inflation)
    assert (p.shape, p.dtype) == ((k, b), torch.float64)
    assert LEAST_PROBABILITY == 1e-3
    assert bool(((p >= 1e-3) & (p <= 1.0)).all())


@settings(deadline=None, max_examples=100)
@given_weights
def test_a_second_moment_grows_by_the_inflation_at_most(
    seed: int, inflation: float, arrays: int, k: int, b: int
) -> None:
    """Of every array and example; that no probability is below the least one only helps."""
    a = weights(seed, arrays, k, b)
    p = keep_probabilities([a], inflation)
    grown, whole = (a.square() / p).sum(dim=1), a.square().sum(dim=1)
    assert bool((grown <= (1.0 + inflation) * whole * (1.0 + 1e-12)).all())


def test_what_a_second_moment_grows_by_is_used() -> None:
    """Fewer rows cannot be had by this rule: where no row is kept for certain the inflation is what is added to 1."""
    a = torch.ones(1, 50, 1, dtype=torch.float64)
    p = keep_probabilities([a], 4.0)
    assert (a.square() / p).sum() / a.square().sum() == pytest.approx(4.0)
    a[0, 0] = 1000.0
    p = keep_probabilities([a], 0.2)
    expected = (a.square().sum() * 0.2 / a.sum()).item()
    assert p[0, 0] == 1.0
    assert p[1:, 0].tolist() == pytest.approx([1.0 / expected] * 49)


@settings(deadline=None, max_examples=50)
@given_weights
def test_a_larger_inflation_keeps_no_row_more(seed: int, inflation: float, arrays: int, k: int, b: int) -> None:
    a = weights(seed, arrays, k, b)
    assert bool((keep_probabilities([a], 1.5 * inflation) <= keep_probabilities([a], inflation)).all())


@settings(deadline=None, max_examples=50)
@given_weights
def test_each_array_by_itself_and_the_largest_counts(
    seed: int, inflation: float, arrays: int, k: int, b: int
) -> None:
    a = weights(seed, arrays, k, b)
    each = torch.stack([keep_probabilities([one.unsqueeze(0)], inflation) for one in a])
    torch.testing.assert_close(keep_probabilities([a], inflation), each.amax(dim=0), rtol=1e-13, atol=0.0)
    apart = keep_probabilities([a[:1], a[1:]], inflation)
    torch.testing.assert_close(apart, each.amax(dim=0), rtol=1e-13, atol=0.0)


@settings(deadline=None, max_examples=50)
@given_weights
def test_an_array_of_zeros_changes_nothing(seed: int, inflation: float, arrays: int, k: int, b: int) -> None:
    a = weights(seed, arrays, k, b)
    found = keep_probabilities([a, torch.zeros(2, k, b, dtype=torch.float64)], inflation)
    assert torch.equal(found, keep_probabilities([a], inflation))


@settings(deadline=None, max_examples=50)
@given(seeds, inflations, st.floats(1e-100, 1e100), st.floats(-5.0, -0.1))
def test_an_arrays_scale_and_sign_change_nothing(
    seed: int, inflation: float, scale: float, other_scale: float
) -> None:
    a = weights(seed, 2, 9, 2)
    found = keep_probabilities([a[:1] * scale, a[1:] * other_scale], inflation)
    torch.testing.assert_close(found, keep_probabilities([a], inflation), rtol=1e-12, atol=0.0)


@settings(deadline=None, max_examples=50)
@given(seeds, inflations)
def test_examples_do_not_mix(seed: int, inflation: float) -> None:
    a = weights(seed, 2, 9, 4)
    found = keep_probabilities([a[:, :, 2:3]], inflation)
    torch.testing.assert_close(found, keep_probabilities([a], inflation)[:, 2:3], rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("inflation", [0.01, 0.2, 0.9])
def test_equal_weights_are_all_kept(inflation: float) -> None:
    a = torch.tensor([0.02, -0.02, 1e-200, 3.0], dtype=torch.float64).repeat(1, 50, 1)
    assert torch.equal(keep_probabilities([a], inflation), torch.ones(50, 4, dtype=torch.float64))


@settings(deadline=None, max_examples=50)
@given(seeds, inflations)
def test_the_largest_row_is_always_kept(seed: int, inflation: float) -> None:
    a = weights(seed, 1, 9, 4)
    assume(bool((a != 0.0).any(dim=1).all()))
    p = keep_probabilities([a], inflation)
    assert p.gather(0, a[0].abs().argmax(dim=0, keepdim=True)).min() > 1.0 - 1e-12


def test_without_an_array_no_row_is_kept() -> None:
    nothing = torch.empty(0, 5, 3, dtype=torch.float64)
    assert torch.equal(keep_probabilities([nothing], 0.2), torch.zeros(5, 3, dtype=torch.float64))
    assert torch.equal(keep_probabilities([nothing, nothing], 0.2), torch.zeros(5, 3, dtype=torch.float64))
    zeros = torch.zeros(1, 5, 3, dtype=torch.float64)
    assert keep_probabilities([zeros], 0.2).unique().tolist() == [1e-3]


def test_the_weights_are_left_as_they_are() -> None:
    a = weights(3, 2, 9, 2)
    before = a.clone()
    keep_probabilities([a], 0.2)
    assert torch.equal(a, before)


# Log-weights of two precisions.

K, B = 6, 3


def mixed(exact: Tensor, error: Tensor, kept: Tensor, inverse: Tensor | None = None) -> Tensor:
    """Of the rows that are kept the exact ones, of the others those with an error."""
    b, k = kept.mT.nonzero(as_tuple=True)
    inverse = torch.ones(len(k), dtype=torch.float64) if inverse is None else inverse[k, b]
    return mixed_log_weights(exact + error, k, b, exact[k, b], inverse)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_an_error_that_an_examples_rows_share_is_removed(seed: int) -> None:
    exact, error = 5.0 * normal(K, B, seed=seed), normal(1, B, seed=seed + 1).expand(K, B)
    kept = normal(K, B, seed=seed + 2) > 0.5
    kept[seed % K] = True
    found = mixed(exact, error, kept, 1.0 + normal(K, B, seed=seed + 3).abs())
    torch.testing.assert_close(found, exact, rtol=1e-13, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_others_move_by_the_kept_rows_mean_error_weighed_by_v_over_p(seed: int) -> None:
    exact, error = 2.0 * normal(K, B, seed=seed), normal(K, B, seed=seed + 1)
    kept, inverse = normal(K, B, seed=seed + 2) > 0.0, 1.0 + normal(K, B, seed=seed + 3).abs()
    found = mixed(exact, error, kept, inverse)
    assert torch.equal(found[kept], exact[kept])
    v = torch.softmax(exact + error, dim=0)
    for b in range(B):
        rows = kept[:, b]
        share = v[rows, b] * inverse[rows, b]
        mean = (share * error[rows, b]).sum() / share.sum() if rows.any() else torch.tensor(0.0)
        torch.testing.assert_close(found[~rows, b], (exact + error)[~rows, b] - mean, rtol=1e-12, atol=1e-12)


def test_an_example_without_a_kept_row_stays_as_it_is() -> None:
    exact, error = normal(K, B), normal(K, B, seed=1)
    kept = torch.ones(K, B, dtype=torch.bool)
    kept[:, 1] = False
    found = mixed(exact, error, kept)
    assert torch.equal(found[:, 1], (exact + error)[:, 1])
    assert torch.equal(found[:, [0, 2]], exact[:, [0, 2]])
    assert torch.equal(mixed(exact, error, torch.zeros_like(kept)), exact + error)


def test_rows_that_pad_change_nothing() -> None:
    exact, error = normal(K, B), normal(K, B, seed=1)
    k, b = torch.tensor([2, 4, 0]), torch.tensor([0, 0, 2])
    inverse = torch.tensor([1.0, 7.0, 2.0], dtype=torch.float64)
    expected = mixed_log_weights(exact + error, k, b, exact[k, b], inverse)
    k, b = torch.cat([k, k[:1].expand(5)]), torch.cat([b, b[:1].expand(5)])
    found = mixed_log_weights(exact + error, k, b, exact[k, b], torch.cat([inverse, torch.zeros(5).double()]))
    assert torch.equal(found, expected)


def test_what_was_approximate_is_left_as_it_is_and_float32_is_widened() -> None:
    approximate = normal(K, B).float()
    before = approximate.clone()
    row = torch.tensor([1])
    found = mixed_log_weights(approximate, row, row, torch.tensor([3.0]), torch.ones(1).double())
    assert found.dtype == torch.float64
    assert torch.equal(approximate, before)
    assert mixed_log_weights(before.double(), row, row, torch.tensor([3.0]).double(), torch.ones(1).double())[
        1, 1
    ] == pytest.approx(3.0)


# Weights that are right on average.


@swept("pair", (pair for pair in all_pairs() if not pair.faults(K)), named=lambda pair: pair.word)
def test_a_correction_has_the_expectation_of_the_exact_weights(pair) -> None:
    weigh, exact = PairWeigh((pair,)), normal(K, B)
    mine, theirs = weigh(exact + normal(K, B, seed=1)), weigh(exact)
    for chosen in ([1], [2, 0], [0, 1, 2]):
        times = torch.full((len(chosen),), 1.0 / CORRECTION_RATE).double()
        moved = mine.corrected(torch.tensor(chosen), times, weigh(exact[:, chosen]))
        for got, before, right in zip(moved.arrays(), mine.arrays(), theirs.arrays(), strict=True):
            if before is None or right is None:
                assert got is None
                continue
            assert got is not None
            mean = CORRECTION_RATE * got + (1.0 - CORRECTION_RATE) * before
            expected = before.clone()
            expected[..., chosen] = right[..., chosen]
            named = [{"mean": each[..., chosen]} for each in (mean, expected)]
            assert off_networks(*named) == {}
            rest = [b for b in range(B) if b not in chosen]
            assert torch.equal(got[..., rest], before[..., rest])


def test_weights_of_rows_and_of_samples() -> None:
    pairs = (resolve_pair("iwae", "dreg-alpha", K), resolve_pair("iwae", "reparam", K))
    whole = PairWeigh(pairs, mixed=True)(normal(K, B))
    assert whole.path is not None
    assert whole.score is not None
    k, b, inverse = torch.tensor([3, 0, 3]), torch.tensor([1, 2, 1]), torch.tensor([2.0, 3.0, 0.0]).double()
    rows = whole.rows(k, b, inverse)
    assert rows.path is not None
    assert rows.score is None
    assert rows.pathless is None
    for mine, all_ in ((rows.model, whole.model), (rows.path, whole.path)):
        assert mine.shape == (len(all_), 1, 3)
        for r in range(3):
            assert torch.equal(mine[:, 0, r], all_[:, k[r], b[r]] * inverse[r])
    part = whole.samples(2, 3)
    assert torch.equal(part.value, whole.value)
    for mine, all_ in zip(part.arrays()[1:5], whole.arrays()[1:5], strict=True):
        assert mine is not None
        assert all_ is not None
        assert torch.equal(mine, all_[:, 2:5])
    nothing = RowWeights(whole.value, whole.model, None, None)
    assert nothing.samples(0, 1).path is None
    assert nothing.rows(k, b, inverse).path is None


@pytest.mark.parametrize("at_once", [1, 2 * 16, 2 * 16 + 1, 10**6])
@swept("pair", all_pairs(), named=lambda pair: pair.word)
def test_weights_made_for_some_examples_at_a_time_are_those_made_at_once(pair: Pair, at_once: int) -> None:
    log_w = normal(16, 5)
    whole, parts = PairWeigh((pair,))(log_w), PairWeigh((pair,), at_once=at_once)(log_w)
    assert whole.value.shape == (3, 5)
    for mine, all_ in zip(parts.arrays(), whole.arrays(), strict=True):
        assert (mine is None) == (all_ is None)
        if mine is not None:
            torch.testing.assert_close(mine, all_, rtol=1e-12, atol=1e-14)


def test_weights_joined_in_another_order_are_caught() -> None:
    """The wrong twin of the test before: the arrays then differ by much more than it allows."""
    pair, log_w = resolve_pair("iwae", "dreg", 16), normal(16, 5)
    weigh = PairWeigh((pair,))
    found = RowWeights.joined([weigh(log_w[:, 3:]), weigh(log_w[:, :3])])
    assert float((found.model - weigh(log_w).model).abs().max()) > 1e-2
