"""The baseline from auxiliary samples, by enumeration of every K-tuple of a model with two bits."""

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from dregcli.engine import ESTIMATORS, coefficients
from dregcli.engine.diagnostics.measurement import Plan
from dregcli.engine.diagnostics.replicates import ToyReplicates
from dregcli.engine.diagnostics.source import comparison_of
from dregcli.engine.estimators.base import Coefficients, Estimator
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.ovis_mc import OvisMc
from dregcli.engine.estimators.reinforce import Reinforce
from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.execution import Execution
from dregcli.engine.execution.weighing import PairWeigh
from dregcli.engine.gradients import Step
from dregcli.engine.models.gaussian_toy import toy_problem
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import log_mean_exp, normalised
from dregcli.names import Network
from tests.support.dense import GivenNoise, dense_gradients
from tests.support.exact import small_batch, small_vae
from tests.support.prior_rules import RULES
from tests.support.quadrature import Gaussian1d, expected_gradient

BITS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)), dtype=torch.float64)
"""Every value of the latent, (4, 2)."""


def parameters() -> tuple[Tensor, Tensor]:
    """The logits of q's bits, and log p(x, z) for every z, which is theta."""
    logits = torch.tensor([0.4, -0.9], dtype=torch.float64, requires_grad=True)
    joint = torch.tensor([-1.3, 0.2, -2.5, -0.4], dtype=torch.float64, requires_grad=True)
    return logits, joint


@cache
def tuples(k: int) -> Tensor:
    """Every K-tuple of latents, as indices, (K, 4^K)."""
    return torch.cartesian_prod(*[torch.arange(4)] * k).reshape(-1, k).T


def log_q_and_weights(k: int, logits: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
    log_q = -torch.nn.functional.binary_cross_entropy_with_logits(logits.expand_as(BITS), BITS, reduction="none").sum(
        dim=1
    )
    chosen = tuples(k)
    return log_q[chosen], (joint - log_q)[chosen]


def expected(estimator: Estimator, k: int) -> tuple[Tensor, Tensor]:
    """The estimator's expected gradient by theta and by phi, over every K-tuple."""
    logits, joint = parameters()
    log_q, log_w = log_q_and_weights(k, logits, joint)
    probability = log_q.sum(dim=0).exp().detach()
    _, c = Pair(Iwae(), estimator).at(log_w)
    assert not c.path.any()
    (phi,) = torch.autograd.grad((probability * c.score * log_q).sum(), [logits], retain_graph=True)
    (theta,) = torch.autograd.grad((probability * c.model * joint[tuples(k)]).sum(), [joint])
    return theta, phi


def derivative(k: int) -> tuple[Tensor, Tensor]:
    """The derivatives of the expected bound of K samples by theta and by phi."""
    logits, joint = parameters()
    log_q, log_w = log_q_and_weights(k, logits, joint)
    theta, phi = torch.autograd.grad((log_q.sum(dim=0).exp() * log_mean_exp(log_w)).sum(), [joint, logits])
    return theta, phi


def off(estimator: Estimator, n: int, samples: int) -> float:
    """The largest error of phi's expected gradient, for the bound of n samples."""
    return float((expected(estimator, n + samples)[1] - derivative(n)[1]).abs().max())


CASES = [(n, samples) for n in (1, 2, 3) for samples in (1, 2)]


@pytest.mark.parametrize(("n", "samples"), CASES)
def test_phi_ascends_the_bound_of_the_first_samples(n: int, samples: int) -> None:
    assert off(OvisMc(samples), n, samples) < 1e-12
    assert off(OvisMc(samples, exclusive=True), n, samples) < 1e-12


@pytest.mark.parametrize(("n", "samples"), CASES)
def test_theta_ascends_the_bound_of_all_samples_or_with_exclusive_of_the_first(n: int, samples: int) -> None:
    k = n + samples
    every, first = derivative(k)[0], derivative(n)[0]
    torch.testing.assert_close(expected(OvisMc(samples), k)[0], every, rtol=0, atol=1e-12)
    torch.testing.assert_close(expected(OvisMc(samples, exclusive=True), k)[0], first, rtol=0, atol=1e-12)
    assert float((every - first).abs().max()) > 1e-3


@pytest.mark.parametrize(("n", "samples"), CASES)
@pytest.mark.parametrize("exclusive", [False, True])
def test_the_reference_has_the_same_targets(n: int, samples: int, exclusive: bool) -> None:
    reference = OvisMc(samples, exclusive=exclusive).with_its_target(Reinforce())
    ours, theirs = expected(OvisMc(samples, exclusive=exclusive), n + samples), expected(reference, n + samples)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


class _Ovis(OvisMc):
    """The base of the wrong twins, which change the score alone."""

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        n = len(terms.log_w) - self.samples
        score = torch.zeros_like(terms.log_w)
        score[:n] = self.score(terms.log_w[:n], terms.log_w[n:])
        return replace(super().coefficients(objective, terms), score=score)

    def score(self, first: Tensor, auxiliary: Tensor) -> Tensor:
        signal = log_mean_exp(first) - normalised(first)
        baselines = []
        for i, own in enumerate(first):
            rows = torch.stack([self.replaced(first, i, each) for each in auxiliary])
            baselines.append(rows.mean(dim=0) + 0.0 * own)
        return signal - torch.stack(baselines)

    def replaced(self, first: Tensor, i: int, auxiliary: Tensor) -> Tensor:
        changed = torch.cat([first[:i], auxiliary[None], first[i + 1 :]])
        return log_mean_exp(changed) - normalised(changed)[i]


class _AuxiliaryBesideTheSample(_Ovis):
    """The auxiliary sample inside the mean beside the sample, not in its place: the baseline knows the sample."""

    def replaced(self, first: Tensor, i: int, auxiliary: Tensor) -> Tensor:
        changed = torch.cat([first, auxiliary[None]])
        return log_mean_exp(changed) - normalised(changed)[-1]


class _WithoutTheOwnDerivative(_Ovis):
    """L_n alone, without v_k."""

    def score(self, first: Tensor, auxiliary: Tensor) -> Tensor:
        return super().score(first, auxiliary) + normalised(first)


@pytest.mark.parametrize("twin", [_AuxiliaryBesideTheSample, _WithoutTheOwnDerivative])
def test_wrong_twins_are_caught(twin: type[_Ovis]) -> None:
    assert off(_Ovis(2), 2, 2) < 1e-12
    assert off(twin(2), 2, 2) > 1e-3


def test_auxiliary_samples_lower_the_variance_of_reinforce() -> None:
    """At two samples for phi; the auxiliary samples are the only difference."""

    def variance(estimator: Estimator) -> float:
        logits, joint = parameters()
        log_q, log_w = log_q_and_weights(4, logits, joint)
        probability = log_q.sum(dim=0).exp().detach()
        _, c = Pair(Iwae(), estimator).at(log_w)
        each = torch.einsum("kn,knd->nd", c.score, BITS[tuples(4)] - torch.sigmoid(logits.detach()))
        mean = (probability[:, None] * each).sum(dim=0)
        return float((probability[:, None] * (each - mean).square()).sum())

    ours, plain = OvisMc(2), OvisMc(2).with_its_target(Reinforce())
    assert variance(ours) < 0.8 * variance(plain)


def test_a_dominating_sample_keeps_its_score() -> None:
    """1 - v in floats would be 0 here."""
    log_w = torch.tensor([[0.0], [-800.0], [-801.0]], dtype=torch.float64)
    score = coefficients("iwae", "ovis-mc", log_w).score[:, 0]
    v = 1.0 / (1.0 + math.e)
    expected_score = (0.0 - 1.0) - (-800.0 + math.log1p(math.exp(-1.0)) - v)
    assert float(score[0]) == pytest.approx(expected_score, rel=1e-14)
    assert float(score[1]) == pytest.approx(0.0, abs=1e-14)
    assert float(score[2]) == 0.0


def test_bias_check_compares_with_the_own_target() -> None:
    """By quadrature: the reference's mean is the estimator's, and reparam of all samples is another target's."""
    pair = Pair(Iwae(), OvisMc())
    ours, reference, every = (
        expected_gradient(each, Gaussian1d(), k=3, nodes=40)
        for each in (pair, comparison_of(pair, 3).reference, Pair(Iwae(), Reparam()))
    )
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-7)
    assert float((ours - every)[1:].abs().max()) > 1e-3


def test_variance_is_measured_against_the_own_target() -> None:
    """phi's of the first samples, and with ``exclusive`` theta's, which then has a row and a gradient of its own."""
    exclusive, every, dreg = (
        resolve_pair("iwae", word, 4) for word in ("ovis-mc:samples=3,exclusive=true", "ovis-mc:samples=3", "dreg")
    )
    source = ToyReplicates(toy_problem(Randomness(0)), Randomness(0))
    for pairs in ([exclusive, every, dreg], [dreg, exclusive, every], [exclusive]):
        plan = Plan.of(pairs, 4, source, [])
        aims = {pair: Pair(Iwae(), pair.estimator.with_its_target(Dreg())) for pair in pairs}
        for of in (plan.targets, plan.directions):
            assert [plan.pairs[i] for i in of[Network.ENCODER]] == [aims[pair] for pair in pairs]
        thetas = list(dict.fromkeys(pair if pair == exclusive else None for pair in pairs))
        assert [each.pair for each in plan.sequences[Network.DECODER]] == thetas
        drawn = source.draw(Stream.VARIANCE_NOISE, 0, 5, plan.pairs, 4).gradients[Network.DECODER]
        assert len(drawn) == len(thetas)
        for gradient, pair in zip(drawn, thetas, strict=True):
            alone = source.draw(Stream.VARIANCE_NOISE, 0, 5, [pair or dreg], 4).gradients[Network.DECODER][0]
            torch.testing.assert_close(gradient, alone)


def test_each_has_its_own_theta_beside_other_pairs_of_the_objective() -> None:
    """Pairs of one objective that use all samples share theta's gradient where they are measured together."""
    log_w = torch.tensor([[0.3], [-1.0], [0.9]], dtype=torch.float64)
    exclusive, plain = Pair(Iwae(), OvisMc(exclusive=True)), Pair(Iwae(), Reparam())
    (own,) = PairWeigh((exclusive,))(log_w).model
    torch.testing.assert_close(own, torch.cat([normalised(log_w[:2]), torch.zeros_like(log_w[2:])]))
    for pairs in ((exclusive, plain, Pair(Iwae(), OvisMc())), (plain, exclusive, plain)):
        found = PairWeigh(pairs, learning=False)(log_w).model
        thetas = list(dict.fromkeys(pair.theta for pair in pairs))
        assert len(found) == len(thetas) == 2
        torch.testing.assert_close(found[thetas.index(plain.theta)], normalised(log_w))
        torch.testing.assert_close(found[thetas.index(exclusive.theta)], own)


def test_a_step_shows_each_pair_its_own_theta() -> None:
    """A run that trains with exclusive and tracks another estimator, or the other way round."""
    model = small_vae()
    pixels, noise = small_batch(model, k=4)
    exclusive, plain = Pair(Iwae(), OvisMc(exclusive=True)), Pair(Iwae(), Reparam())
    own, every = (dense_gradients(model, pixels, noise, each).model for each in (exclusive, plain))
    for first in (
        lambda step: step.gradients(exclusive).model,
        lambda step: step.each((exclusive,), train_model=True),
        lambda step: step.gradients(plain).model,
    ):
        step = Step(model, pixels, GivenNoise(noise), Execution())
        first(step)
        found, _ = step.each((exclusive, plain), train_model=True)
        for name, gradient in every.items():
            torch.testing.assert_close(found[name], torch.stack([own[name], gradient]))
            assert not torch.allclose(gradient, own[name])


def test_theta_that_leaves_samples_out_follows_the_score_of_the_prior() -> None:
    """The weights along the prior's samples are known for the objective's own theta alone."""
    log_w, rule = torch.tensor([[0.3], [-1.0], [0.9]], dtype=torch.float64), RULES["joint"]
    exclusive, plain = Pair(Iwae(), OvisMc(exclusive=True)), Pair(Iwae(), Reparam())
    assert PairWeigh((exclusive,), rules=(rule,))(log_w).rules == ()
    found = PairWeigh((exclusive, plain), rules=(rule,))(log_w)
    assert found.rules == (None, rule)
    v = normalised(log_w)
    assert found.square is not None
    torch.testing.assert_close(found.square[1], v.square())


def test_only_a_target_of_its_own_is_announced() -> None:
    """What is shown as its own target is what the reference of a bias check has."""
    for entry in ESTIMATORS.values():
        estimator = entry()
        assert (estimator.own_target is None) == (estimator.with_its_target(Reparam()) == Reparam())
