"""What is shown of an estimate's chance and bias is of the size that repeating it finds, or is not shown."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dregcli.app.evaluation.chance import FASTEST, Bias
from dregcli.app.evaluation.estimates import Collected, Estimates
from dregcli.app.evaluation.means import Mean
from dregcli.app.evaluation.second_opinion import SecondOpinion
from dregcli.engine.annealed import Annealed
from dregcli.engine.annealing import Annealing
from dregcli.engine.likelihood_estimate import BatchEstimates, curve, rises
from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp
from dregcli.names import ChanceMethod, Opinion
from dregcli.specs.number_lists import MOST_SAMPLES, parse_ks

GENERATOR = torch.Generator()


def normal(sd: float) -> Callable[[tuple[int, ...]], Tensor]:
    """Log-weights of mean weight 1, so that log p(x) is 0."""
    return lambda shape: sd * torch.randn(shape, generator=GENERATOR, dtype=torch.float64) - 0.5 * sd**2


def of_a_wide_q(shape: tuple[int, ...]) -> Tensor:
    """Bounded above and long below, as where q is wider than the posterior in three dimensions; log p(x) is 0."""
    squares = torch.randn((3, *shape), generator=GENERATOR, dtype=torch.float64).square().sum(dim=0)
    return -3.0 * squares + 1.5 * math.log(7.0)


WEIGHTS = {"normal .3": normal(0.3), "normal 1": normal(1.0), "normal 2": normal(2.0), "a wide q": of_a_wide_q}


def estimates_of(log_w: Tensor, ks: Sequence[int]) -> Estimates:
    """Of log-weights (R, K, n)."""
    each = [curve(one, ks) for one in log_w]
    risen = [found for one in log_w if (found := rises(one)) is not None]
    collected = Collected()
    batch = BatchEstimates(
        bound=torch.stack([one.bound for one in each], dim=1),
        jackknife=torch.stack([one.jackknife for one in each], dim=1),
        squares=torch.stack([one.squares for one in each], dim=1),
        left_out=torch.stack([left_out_variance(one) for one in log_w]),
        rises=torch.stack(risen, dim=1) if risen else None,
        ess=torch.stack([effective_sample_size(one) for one in log_w]),
        khat=None,
        elbo=log_w.mean(dim=1),
        kl_prior=torch.zeros(log_w.shape[2], dtype=torch.float64),
        kl_prior_sampled=None,
        kl_layers=None,
        means=torch.zeros(log_w.shape[2], 1),
        model_log_p=None,
    )
    collected.add(batch, None)
    return Estimates(tuple(ks), collected.arrays())


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_mc_error_is_what_repeats_differ_by(name: str) -> None:
    """By each way, at K from 1 to 512: within a third or so, which the first order of the weights is not."""
    draw, n = WEIGHTS[name], 400
    GENERATOR.manual_seed(0)
    of_the_weights: list[float] = []
    for k in (1, 2, 3, 10, 64, 512):
        truth = float(log_mean_exp(draw((k, 4000))).std()) / math.sqrt(n)
        ways = {ChanceMethod.GROUPS: (1, 4), ChanceMethod.REPEATS: (5, 1), ChanceMethod.LEFT_OUT: (1, 1)}
        for method, (repeats, groups) in ways.items():
            log_w = draw((repeats, k * groups, n))
            row = estimates_of(log_w, sorted({k, k * groups})).curve()[0]
            if method is ChanceMethod.LEFT_OUT and k == 1:
                assert (row["mc_stderr"], row["mc_method"]) == (None, None), "of one sample nobody knows"
                continue
            assert row["mc_method"] == method
            ratio = row["mc_stderr"] / (truth / math.sqrt(repeats * groups))
            # Chance alone makes less than a tenth; what is left out overstates by up to a third where K is small.
            assert 0.8 < ratio < 1.5, (k, method)
        first_order = (1.0 / effective_sample_size(log_w[0]) - 1.0 / k).clamp(min=0.0).mean().sqrt() / math.sqrt(n)
        of_the_weights.append(float(first_order) / truth)
    assert of_the_weights[0] == pytest.approx(0.0, abs=1e-6), "the wrong twin"
    assert min(of_the_weights[1:]) < 0.7


def test_nothing_is_shown_where_it_cannot_be_known() -> None:
    GENERATOR.manual_seed(1)
    draw = normal(3.0)
    few = {"one example, two repeats": (2, 1, 1), "three examples, one draw": (1, 50, 3)}
    for told, (repeats, k, n) in few.items():
        found = estimates_of(draw((repeats, k, n)), (k,))
        assert (found.chance.stderr, found.chance.method) == (None, None), told
        assert found.as_json(active_threshold=0.0)["bound"]["mc_stderr"] is None
    # Ten repeats are too few for one example, but samples can be left out; hundreds of groups are enough.
    one = estimates_of(normal(0.2)((5, 400, 1)), (1, 400))
    assert [row["mc_method"] for row in one.curve()] == [ChanceMethod.GROUPS, ChanceMethod.LEFT_OUT]
    equal = estimates_of(torch.full((1, 8, 3), -7.0, dtype=torch.float64), (1, 8))
    assert equal.chance.stderr == 0.0, "the posterior itself leaves nothing to chance"


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_bias_is_about_what_is_missing(name: str) -> None:
    GENERATOR.manual_seed(2)
    draw = WEIGHTS[name]
    for k in (8, 30, 256):
        truth = float(log_mean_exp(draw((k, 20_000))).mean())
        found = estimates_of(draw((1, k, 2000)), (k,)).bias
        assert found is not None
        assert 0.6 * truth + 0.002 > found.value > 2.0 * truth - 0.002, (k, found, truth)
    assert estimates_of(draw((1, 7, 50)), (7,)).bias is None


def test_the_kl_to_the_posterior_is_shown_where_k_is_large_enough_for_it() -> None:
    """With normal log-weights of variance 4 it is 2 nats."""
    GENERATOR.manual_seed(3)
    for k, is_shown in ((1, False), (2, False), (8, False), (1024, True)):
        found = estimates_of(normal(2.0)((1, k, 300)), (k,))
        kl = found.kl_posterior()
        assert (kl is not None) == is_shown, k
        assert kl is None or kl.value == pytest.approx(2.0, abs=0.15)
        assert (found.as_json(active_threshold=0.0)["kl_posterior"] is None) == (not is_shown)
        assert (found.k_for_kl() or 0) >= 2 * k
    enough = estimates_of(normal(2.0)((1, 16, 300)), (16,)).k_for_kl()
    assert enough is not None
    assert estimates_of(normal(2.0)((1, enough, 300)), (enough,)).kl_posterior() is not None


def test_a_suggested_k_is_one_that_an_evaluation_can_have() -> None:
    low = Bias(-1.0, FASTEST)  # halves with each doubling
    expected = {(100, 0.1): 1000, (100, 1e-9): 10_000, (70_000, 0.1): 700_000, (60_000, 1.0 / 17): MOST_SAMPLES}
    for (k, allowed), needed in (expected | {(110_000, 0.1): None, (MOST_SAMPLES, 2.0): None}).items():
        assert low.k_for(k, allowed) == needed, (k, allowed)
        assert needed is None or parse_ks(str(needed)) == ((needed,), [])


@pytest.mark.filterwarnings("error")
def test_a_bound_that_is_not_finite_leaves_the_others_and_no_advice_that_fails() -> None:
    """Weights of 0 are -inf in nats; an example has none but these, or a single other one."""
    GENERATOR.manual_seed(5)
    log_w = normal(1.0)((2, 64, 6))
    log_w[:, :, 3] = -math.inf
    found = estimates_of(log_w, (1, 8, 64))
    shown = found.as_json(active_threshold=0.0)
    assert (found.not_finite, shown["not_finite"], found.bias, found.kl_posterior()) == (1, 1, None, None)
    assert (shown["bound"]["value"], shown["bound"]["stderr"], shown["bound"]["mc_stderr"]) == (-math.inf, None, None)
    assert (shown["curve"][-1]["jackknife"], shown["kl_posterior"]) == (None, None)
    assert _opinion(log_w, 0.0) is Opinion.K_TOO_SMALL
    log_w[:, 5, 3] = 0.0
    found = estimates_of(log_w, (64,))
    assert "not_finite" not in found.as_json(active_threshold=0.0)
    assert (found.bias, found.kl_posterior(), found.k_for_kl()) == (None, None, 8 * 64)
    assert math.isfinite(Mean.of(found.bound).value)


def _opinion(log_w: Tensor, log_p: float) -> Opinion:
    """Of chains that agree on a log p(x)."""
    n = log_w.shape[2]
    chains = Annealed(log_p + 0.01 * torch.randn((16, n), generator=GENERATOR, dtype=torch.float64), torch.ones(n))
    found = SecondOpinion(Annealing(), chains, estimates_of(log_w, (log_w.shape[1],)))
    return Opinion(found.as_json()["opinion"])


def test_annealing_is_compared_with_a_bound_that_has_enough_samples() -> None:
    """log p(x) is 0 of all examples, whatever the bound at a small K."""
    GENERATOR.manual_seed(4)
    draw = normal(2.0)
    for k in (1, 2, 10, 30):
        assert _opinion(draw((1, k, 200)), 0.0) is Opinion.K_TOO_SMALL, k
        assert _opinion(draw((4, k, 200)), 0.0) is Opinion.K_TOO_SMALL, "repeats take no bias away"
    large = draw((1, 1024, 200))
    assert _opinion(large, 0.0) is Opinion.AGREES
    # Half of the mass, in a place that no sample has met: the bound does not rise, and is low by log 2.
    assert _opinion(large, math.log(2.0)) is Opinion.HIGHER
    assert _opinion(large, -0.5) is Opinion.LOWER
    assert _opinion(draw((2, 1, 200)), -5.0) is Opinion.LOWER, "below a bound, whatever its K"
    assert _opinion(normal(0.05)((1, 8, 1)), 0.0) is Opinion.UNKNOWN


def test_a_bias_that_is_expected_is_no_missed_mass_however_small_the_errors() -> None:
    """20,000 examples: the bias is many of their standard errors, and still what a limited K makes by itself."""
    GENERATOR.manual_seed(5)
    log_w = normal(1.0)((1, 32, 20_000))
    found = estimates_of(log_w, (32,))
    chance = found.chance.stderr
    assert chance is not None
    assert float(np.mean(found.bound)) < -5.0 * chance
    assert _opinion(log_w, 0.0) is Opinion.AGREES
