"""Estimates of log p(x) from importance weights: curves over K, repeats, and the truth where it is known."""

import math
from itertools import combinations

import pytest
import torch
from scipy import stats
from torch import Tensor

from dregcli.engine import OBJECTIVES
from dregcli.engine.diagnostics.pareto import UNRELIABLE
from dregcli.engine.evaluation import SeenBatch, seen_batches
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.likelihood_estimate import BatchEstimates, curve, estimate, rises
from dregcli.engine.models.linear_gaussian import LinearGaussian
from dregcli.engine.pixels import AsStored
from dregcli.engine.weights import left_out_variance
from dregcli.names import Split
from tests.engine.test_linear_gaussian import exact_posterior, linear_gaussian

KS = (1, 3, 8, 20)


def log_weights(k: int = 20, examples: int = 5) -> Tensor:
    return 3.0 * torch.randn(k, examples, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 90.0


def naive_curve(log_w: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bound, jackknife and squares between groups by loops over groups and over left-out samples."""
    bounds, jackknives = [], []
    for first in range(0, len(log_w) // k * k, k):
        w = (log_w[first : first + k] + 90.0).exp()
        bounds.append(w.mean(dim=0).log() - 90.0)
        if k > 1:
            without = [w[list(rest)].mean(dim=0).log() - 90.0 for rest in combinations(range(k), k - 1)]
            jackknives.append(k * bounds[-1] - (k - 1) * torch.stack(without).mean(dim=0))
    nothing = torch.full_like(bounds[0], math.nan)
    of_groups = torch.stack(bounds)
    squares = of_groups.var(dim=0, correction=0) * len(bounds)
    return of_groups.mean(dim=0), torch.stack(jackknives).mean(dim=0) if jackknives else nothing, squares


def test_each_k_is_of_disjoint_groups_of_the_same_draws() -> None:
    log_w = log_weights()
    found = curve(log_w, KS)
    for i, k in enumerate(KS):
        bound, jackknife, squares = naive_curve(log_w, k)
        torch.testing.assert_close(found.squares[i], squares, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.bound[i], bound, rtol=0, atol=1e-11)
        torch.testing.assert_close(found.jackknife[i], jackknife, rtol=0, atol=1e-10, equal_nan=True)
    # Two twins: the draws beyond the last whole group of 3 counted with the others, and log K of all the draws.
    assert (torch.logsumexp(log_w, 0) - math.log(18) - found.bound[1]).abs().min() > 1e-3
    assert (naive_curve(log_w, 3)[0] + math.log(3 / 20) - found.bound[1]).abs().min() > 1e-3


def test_the_variance_of_what_is_left_and_the_rises_are_as_written_down() -> None:
    for k in (2, 5, 17):
        log_w = log_weights(k)
        log_w[1, 3] += 2000.0  # the others are 0 beside it, and all that is left without it
        kept = [log_w[[i for i in range(k) if i != out]].logsumexp(dim=0) for out in range(k)]
        expected = torch.stack(kept).var(dim=0) * (k - 1) ** 2 / k
        torch.testing.assert_close(left_out_variance(log_w), expected, rtol=1e-9, atol=0)
    assert left_out_variance(log_weights(1)).isnan().all()
    assert rises(log_weights(7)) is None
    bounds = torch.stack([naive_curve(log_weights(19)[:16], k)[0] for k in (2, 4, 8, 16)])
    torch.testing.assert_close(rises(log_weights(19)), bounds[1:] - bounds[:-1], rtol=0, atol=1e-11)


def test_an_objectives_value_alone_is_that_of_its_terms() -> None:
    log_w = log_weights(8)
    log_w[3, 2] += 60.0  # one weight that dominates: 1 - v is 0 in floats
    log_w[1, 4] += 2000.0  # the others are 0 beside it
    for entry in OBJECTIVES.values():
        for objective in entry.settings(8):
            torch.testing.assert_close(objective.value(log_w), objective.terms(log_w).value, rtol=0, atol=1e-10)


def batch_of(model: LinearGaussian, *, seed: int = 0, examples: int = 64) -> SeenBatch:
    """Examples drawn from the model itself."""
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(1, examples, model.latent_width, generator=generator)
    noise = torch.randn(examples, len(model.mean), generator=generator) * model.unit * model.log_noise.exp()
    stored = ResidentExamples((model.mean_pixels(z[0], (z,))[0] + noise).detach())
    return next(seen_batches(model, stored, AsStored(1), split=Split.TEST, seed=seed))


def z_scores(found: list[BatchEstimates], k: int) -> Tensor:
    """(estimate - truth) over the error that the weights state, of each seed's mean over examples."""
    scores = []
    for each in found:
        assert each.model_log_p is not None
        error = (1.0 / each.ess - 1.0 / k).sum().sqrt() / each.ess.shape[1]
        scores.append((each.bound[-1, 0] - each.model_log_p).mean() / error)
    return torch.stack(scores)


@pytest.fixture(scope="module")
def model() -> LinearGaussian:
    """A q that is near the posterior, but not it."""
    model = linear_gaussian()
    exact_posterior(model)
    with torch.no_grad():
        model.encoder[0].bias += 0.2
    return model.float()


def test_estimates_agree_with_the_truth_within_their_stated_error(model: LinearGaussian) -> None:
    seeds, k = 20, 2048
    found = [estimate(batch_of(model, seed=seed), (k,), repeats=1, k_chunk=None) for seed in range(seeds)]
    scores = z_scores(found, k)
    # Sum of squares of 20 normal scores: either bound is crossed with probability 1e-6; no one score exceeds 5.7 with
    # 2.4e-7. The bound's own bias, half its variance, is 0.05 of a stated error here.
    low, high = stats.chi2.ppf([1e-6, 1.0 - 1e-6], seeds)
    assert low < float(scores.square().sum()) < 1.1 * high
    assert scores.abs().max() < 5.7
    # Twins: log K of one sample more or less, and a density that forgets its constant, are far outside.
    for wrong in (math.log(1.0 + 10.0 / k), 0.01):
        shifted = [BatchEstimates(**{**vars(each), "model_log_p": each.model_log_p + wrong}) for each in found]  # pyright: ignore
        assert float(z_scores(shifted, k).square().sum()) > 1.1 * high


def test_khat_warns_of_a_q_that_is_made_too_narrow(model: LinearGaussian) -> None:
    good = estimate(batch_of(model), (1000,), repeats=1, k_chunk=None).khat
    assert good is not None
    assert (good > UNRELIABLE).float().mean() < 0.05
    narrow = linear_gaussian()
    exact_posterior(narrow, scale=0.3)
    narrow.float()
    found = estimate(batch_of(narrow), (1000,), repeats=1, k_chunk=None)
    assert found.khat is not None
    assert found.model_log_p is not None
    assert (found.khat > UNRELIABLE).float().mean() > 0.9
    assert (found.bound[-1, 0] < found.model_log_p).float().mean() > 0.9


def test_repeats_are_independent_and_the_first_is_what_one_gives(model: LinearGaussian) -> None:
    batch = batch_of(model)
    one, three = (estimate(batch, (4, 48), repeats=repeats, k_chunk=16) for repeats in (1, 3))
    assert torch.equal(three.bound[:, :1], one.bound)
    assert three.bound.shape == (2, 3, 64)
    errors = (three.bound[-1] - three.model_log_p).flatten(1)  # pyright: ignore
    correlation = torch.corrcoef(errors)
    # Of 64 independent pairs the correlation has a standard deviation of 1/8.
    assert correlation[0, 1].abs() < 0.7
    assert correlation[1, 2].abs() < 0.7


def test_the_parts_of_the_elbo_are_its_own(model: LinearGaussian) -> None:
    batch = batch_of(model)
    found = estimate(batch, (4096,), repeats=1, k_chunk=None)
    # The expectation of the log-likelihood in closed form, by E (x - W z - b)^2 for z ~ q.
    weight = model.decoder.weight * model.unit
    variance = (model.unit * model.log_noise.exp()).square()
    q = model.posterior(batch.pixels).stopped()
    residual = batch.pixels - model.mean_pixels(batch.pixels, (q.loc[None],))[0]
    squares = residual.square().sum(1) + (weight.square().sum(0) * q.scale.square()).sum(1)
    exact = -0.5 * squares / variance - 0.5 * len(model.mean) * torch.log(2.0 * math.pi * variance)
    # 64 x 4,096 draws of a quantity whose standard deviation is at most sqrt(D) = 2.5 nats about.
    assert (found.elbo[0] + found.kl_prior - exact).mean().abs() < 6.0 * 3.0 / math.sqrt(64 * 4096)
