"""Antithetic pairs of samples: the noise by address, the weights for pairs, every executor, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from dregcli.engine import OBJECTIVES, promise
from dregcli.engine.antithetic import of_partners, with_partners
from dregcli.engine.draws import AddressedDraws, AddressedNoise
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.execution import Execution
from dregcli.engine.execution.screening import keep_probabilities
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import SpecError
from dregcli.names import Backward, PriorGradient, Promise, SampleNoise
from tests.support.dense import GivenNoise
from tests.support.every_pair import checked_pairs
from tests.support.exact import (
    naive_log_joint,
    naive_parameters,
    naive_posterior,
    off_networks,
    small_batch,
    small_structured,
    small_vae,
)
from tests.support.one_latent import OneLatent, gaussian_of_two
from tests.support.quadrature import Gaussian1d, expected_gradient, target_gradient
from tests.support.screened_batch import EXECUTIONS
from tests.support.screening import expectation, off_gradients
from tests.support.small_training import STL, small_trainer, take
from tests.support.sweep import swept
from tests.support.two_layers import built

PAIRS = SampleNoise.ANTITHETIC
EITHER_WAY = {"rws/reparam", "iwae/dreg-cv:alpha=0.0,beta=0.0,gamma=0.0,delta=0.0"}
"""Pairs without a bias that are refused: an update that is its own target, and the first of many learned values."""


def _bias(pair: Pair, k: int, kl_weight: float = 1.0) -> float:
    model, how = Gaussian1d(kl_weight=kl_weight), {"k": k, "nodes": 48, "samples": PAIRS}
    target = target_gradient(pair, model, **how)
    return float((expected_gradient(pair, model, **how) - target).norm() / target.norm())


@swept("pair, k", [(pair, k) for k in (2, 4) for pair in checked_pairs(k)], named=lambda pair, k: f"{pair.word}-k{k}")
def test_exactly_what_is_unbiased_is_promised_and_taken(pair: Pair, k: int) -> None:
    is_promised = pair.promise(k, PAIRS) is Promise.UNBIASED
    assert is_promised != bool(pair.faults(k, PAIRS))
    if pair.word not in EITHER_WAY:
        assert is_promised == (_bias(pair, k) < 1e-6)


@swept("word", ["iwae", "vr-iwae:alpha=0.3", "elbo"])
def test_with_a_part_of_the_kl(word: str) -> None:
    assert _bias(resolve_pair(word, "dreg", 4), 4, kl_weight=0.4) < 1e-6


class _OneWeight(Dreg):
    """Independent samples' weights."""

    def coefficients(self, objective, terms):
        return super().coefficients(objective, replace(terms, dscore_by_partner=None))


class _Swapped(Dreg):
    """The weight for the mean at the deviation."""

    def coefficients(self, objective, terms):
        found = super().coefficients(objective, terms)
        return replace(found, path=found.path_scale, path_scale=found.path)


@pytest.mark.parametrize("twin", [_OneWeight, _Swapped])
def test_wrong_weights_are_biased(twin: type[Dreg]) -> None:
    assert _bias(Pair(OBJECTIVES["iwae"](), twin()), 2) > 0.1


@swept("objective", [each for entry in OBJECTIVES.values() for each in entry.settings(6) if each.has_partners])
def test_the_derivative_by_the_partner(objective: Objective) -> None:
    log_w = torch.randn(6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    score = torch.autograd.functional.jacobian(lambda each: objective.terms(each).score, log_w)[:, 0, :, 0]
    expected = score[torch.arange(6), of_partners(torch.arange(6))]
    found = objective.dscore_by_partner(log_w)
    assert found is not None
    assert (found[:, 0] - expected).abs().max() < 1e-12


def _noise(k: int, **more: Any) -> AddressedNoise:
    return AddressedNoise(Randomness(3), Stream.NOISE, 5, k=k, batch=2, width=3, antithetic=True, **more)


def test_the_noise_of_pairs_is_by_address() -> None:
    whole, independent = _noise(40).noise(0, 40), Randomness(3).normal(Stream.NOISE, 5, k=40, batch=2, width=3)
    assert torch.equal(whole[::2], independent[::2])
    assert torch.equal(whole[1::2], -whole[::2])
    for first, count in ((0, 16), (16, 16), (32, 8)):
        assert torch.equal(_noise(40).noise(first, count), whole[first : first + count])
    assert torch.equal(_noise(6).noise(0, 6), whole[:6])
    assert torch.equal(_noise(40, examples=1).noise(0, 40), whole[:, :1])


def _batch(k: int, examples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    pixels, noise = small_batch(small_vae(), k=k, batch=examples, seed=seed)
    return pixels, with_partners(noise)


def _naive(pixels: Tensor, noise: Tensor, pair: Pair) -> dict[str, Tensor]:
    """The gradient of phi, with a sample whose mean alone moves and a sample whose deviation alone moves."""
    model = small_vae()
    loc, scale = naive_posterior(model, pixels)

    def log_w(z: Tensor) -> Tensor:
        log_q = Normal(loc.detach(), scale.detach()).log_prob(z).sum(-1)
        return naive_log_joint(model, pixels, z) - log_q

    _, c = pair.at(log_w(loc + scale * noise), noise=PAIRS)
    assert c.path_scale is not None
    by_loc, by_scale = log_w(loc + scale.detach() * noise), log_w(loc.detach() + scale * noise)
    loss = -(c.path * by_loc + c.path_scale * by_scale).sum() / len(pixels)
    _, phi = naive_parameters(model)
    return dict(zip(phi, torch.autograd.grad(loss, list(phi.values())), strict=True))


@pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS)
def test_every_executor_has_two_weights_for_each_path(execution: Execution) -> None:
    pixels, noise = _batch(40, 4)
    pair = resolve_pair("iwae", "dreg", 40)

    draws = AddressedDraws(
        *(Randomness(0), Stream.NOISE, 0),
        **{"k": 40, "batch": 4, "width": 3, "dtype": noise.dtype},
        screening=Stream.SCREENING,
        antithetic=True,
    )
    assert torch.equal(draws.noise(0, 40), noise)
    # With so small an inflation every row with weight is kept for certain.
    every = replace(execution, inflation=1e-250)
    found = Step(small_vae(), pixels, draws, every, noise=PAIRS).gradients(pair)
    assert off_networks(found.posterior, _naive(pixels, noise, pair), 1e-10) == {}
    dense = Step(small_vae(), pixels, draws, Execution(), noise=PAIRS).gradients(pair)
    assert off_gradients(found, dense, 1e-10) == {}


def test_rows_are_kept_by_both_weights() -> None:
    """Every choice of rows, by its probability."""
    (pixels, noise), pair = _batch(4, 1, seed=6), resolve_pair("iwae", "dreg", 4)
    found = expectation(small_vae(), pixels, noise, pair, Execution(Backward.SCREENED, 2.0), samples=PAIRS)
    assert found.uncertain >= 2
    log_w = small_vae().batch(pixels, GivenNoise(noise)).log_weights(k_chunk=None)
    weights = PairWeigh((pair,), noise=PAIRS)(log_w)
    assert weights.path is not None
    assert weights.path_scale is not None
    others, alone = (keep_probabilities(each, 2.0) for each in ([weights.model, weights.path], [weights.path_scale]))
    assert (alone > others).any()
    assert (found.probability - torch.maximum(others, alone)).abs().max() < 1e-12
    assert off_networks(found.posterior, _naive(pixels, noise, pair), 1e-10) == {}


def test_tracked_pairs_have_their_own_weights() -> None:
    (pixels, noise), words = _batch(4, 2), ("elbo/stl", "iwae/dreg", "vr-iwae:alpha=0.3/reparam")
    pairs = tuple(resolve_pair(*word.split("/"), 4) for word in words)

    def step() -> Step:
        return Step(small_vae(), pixels, GivenNoise(noise), Execution(), noise=PAIRS)

    _, phi = step().each(pairs, train_model=True)
    for p, pair in enumerate(pairs):
        assert off_networks({n: t[p] for n, t in phi.items()}, step().gradients(pair).posterior) == {}


def test_a_training_with_pairs() -> None:
    found, other = (take(small_trainer(noise=noise), 3) for noise in (PAIRS, SampleNoise.IID))
    again = take(small_trainer(noise=PAIRS, execution=Execution(k_chunk=16)), 3)
    name = "encoder.0.weight"
    assert torch.equal(found.state().model[name], again.state().model[name])
    assert not torch.equal(found.state().model[name], other.state().model[name])


@swept(
    "changes, said",
    [
        ({"word": "vimco"}, "'vimco' needs independent samples. 'iwae' takes reparam, dreg with --noise antithetic"),
        ({"word": "stl"}, "biased for 'iwae' with any noise"),
        ({"start": "rws"}, "Use --noise iid"),
        ({"start": "jvi"}, "'dreg' has no corrected weights for 'jvi'"),
        ({"k": 5}, "give an even number, such as --k 6"),
        ({"tracked": [STL]}, "'stl' is biased"),
        ({"model": small_structured().float(), "prior_gradient": PriorGradient.GDREG}, "Use --prior-gradient score"),
        ({"model": built(OneLatent(gaussian_of_two, gaussian_of_two))}, "one diagonal Gaussian. Use --noise iid"),
    ],
    named=lambda changes, said: said,
)
def test_what_is_biased_with_pairs_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        small_trainer(noise=PAIRS, **changes)


def test_a_promise_in_words() -> None:
    assert promise("iwae", "dreg", 4, "antithetic") is Promise.UNBIASED
    assert promise("iwae", "vimco", 4, "antithetic") is Promise.BIASED
    assert promise("iwae", "dreg", 3, "antithetic") is Promise.BIASED
    with pytest.raises(SpecError, match="must be iid or antithetic"):
        promise("iwae", "dreg", 4, "anti")
