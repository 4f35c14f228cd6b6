"""The thermodynamic objective: its order among the bounds, its derivatives, and its two own estimators."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dregcli.engine.estimators.base import Estimator
from dregcli.engine.estimators.covariance import Covariance
from dregcli.engine.estimators.double import Double
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.estimators.stl import Stl
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.tvo import Tvo
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.weights import leave_one_out_sum, log_mean_exp
from dregcli.names import Promise, TvoRule, TvoSchedule
from tests.engine.test_objectives import log_weights
from tests.support.quadrature import Gaussian1d, expected_gradient

SETTINGS = [
    Tvo(partitions, beta, schedule=schedule)
    for partitions, beta, schedule in itertools.product(
        (1, 2, 5, 20), (1e-4, 0.02, 0.6), (TvoSchedule.LOG, TvoSchedule.LINEAR)
    )
]
RULES = [Tvo(3, 0.2, rule) for rule in TvoRule]
EQUAL_PARTS = TvoSchedule.LINEAR
"""With beta = 1 / partitions."""

K = 7


def draws() -> Tensor:
    """Log-weights of 4,000 draws at four spreads, and adversarial ones, (K, B)."""
    normal = torch.randn(K, 4_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spread = torch.tensor([0.01, 1.0, 30.0, 1e3], dtype=torch.float64).repeat(1_000)
    rest = [-math.inf] * (K - 1)
    adversarial = [
        [3.0] * K,
        [0.0] + [-800.0] * (K - 1),
        [0.0] * (K - 1) + [-1e4],
        [-1e4 - i for i in range(K)],
        [0.0, -1.0, -math.inf, 1.0, 2.0, -3.0, 0.5],
        [5.0, *rest],
    ]
    return torch.cat([normal * spread - 100.0, torch.tensor(adversarial, dtype=torch.float64).T], dim=1)


def violations(low: Tensor, high: Tensor) -> int:
    """The number of draws in which ``low`` is above ``high`` by more than rounding."""
    return int((low > high + 1e-12 * (1.0 + high.abs())).sum())


@pytest.mark.parametrize("tvo", SETTINGS, ids=str)
def test_in_every_draw_the_left_sum_is_between_elbo_and_iwae_and_the_right_sum_above(tvo: Tvo) -> None:
    log_w = draws()
    left, right = tvo.value(log_w), replace(tvo, rule=TvoRule.RIGHT).value(log_w)
    assert not torch.isnan(left).any()
    assert not torch.isnan(right).any()
    bound = log_mean_exp(log_w)
    assert violations(Elbo().value(log_w), left) == 0
    assert violations(left, bound) == 0
    assert violations(bound, right) == 0
    # The order is strict somewhere, so that the wrong rule does not pass as a lower bound.
    assert violations(right, bound) > 1_000


def test_one_part_by_its_left_end_is_the_elbo() -> None:
    found, elbo = Tvo(1).terms(log_weights(K)), Elbo().terms(log_weights(K))
    for name in ("value", "model", "path", "score", "dscore"):
        torch.testing.assert_close(getattr(found, name), getattr(elbo, name), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("rule", "order"), [(TvoRule.LEFT, 1), (TvoRule.RIGHT, 1), (TvoRule.TRAPEZOID, 2)])
def test_many_equal_parts_approach_iwae(rule: TvoRule, order: int) -> None:
    log_w = log_weights(K)
    few, many = (
        (Tvo(parts, 1.0 / parts, rule, EQUAL_PARTS).value(log_w) - log_mean_exp(log_w)).abs() for parts in (200, 400)
    )
    assert float(many.max()) < 0.02
    torch.testing.assert_close(few / many, torch.full_like(few, 2.0**order), rtol=0.02, atol=0)


def test_the_points_and_widths() -> None:
    assert Tvo(4, 0.001).powers() == pytest.approx([0.0, 0.001, 0.01, 0.1, 1.0], rel=1e-12)
    assert Tvo(4, 0.25, schedule=EQUAL_PARTS).powers() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Tvo(2, 0.25).widths() == [0.25, 0.75, 0.0]
    assert Tvo(2, 0.25, TvoRule.RIGHT).widths() == [0.0, 0.25, 0.75]
    assert Tvo(2, 0.25, TvoRule.TRAPEZOID).widths() == [0.125, 0.5, 0.375]


def derivatives(tvo: Tvo, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """F_k and F_kk by automatic differentiation of the value, (K, B)."""
    log_w = log_w.requires_grad_()
    (first,) = torch.autograd.grad(tvo.value(log_w).sum(), log_w, create_graph=True)
    rows = [torch.autograd.grad(row.sum(), log_w, retain_graph=True)[0][i] for i, row in enumerate(first)]
    return first.detach(), torch.stack(rows)


@pytest.mark.parametrize("tvo", [*Tvo.settings(K), *RULES], ids=str)
def test_the_derivatives_are_exact_and_sum_to_1(tvo: Tvo) -> None:
    log_w = log_weights(K)
    first, second = derivatives(tvo, log_w.clone())
    terms = tvo.terms(log_w)
    torch.testing.assert_close(terms.path, first, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(-terms.dscore, second, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(terms.path.sum(dim=0), torch.ones_like(log_w[0]), rtol=1e-14, atol=0)


def test_twin_a_second_derivative_without_its_cross_term_is_caught() -> None:
    log_w, tvo = log_weights(K), Tvo()
    twin = sum(p.width * p.power * p.v * (1.0 - p.v) * (1.0 + p.tilt) for p in tvo.points(log_w))
    assert float((twin - derivatives(tvo, log_w)[1]).abs().max()) > 0.01


def test_replacing_one_of_several_dominating_weights() -> None:
    """A mean of the others by subtraction would be 0/0 for the first sample."""
    log_w = torch.tensor([[0.0], [-2e3], [-2e3 - 1.0], [-5e3]], dtype=torch.float64)
    replacement = torch.tensor([[-2e3], [3.0], [-1.0], [0.0]], dtype=torch.float64)
    for tvo in RULES:
        found = tvo.replaced(log_w, replacement)
        for i in range(4):
            changed = log_w.clone()
            changed[i] = replacement[i]
            torch.testing.assert_close(found[i], tvo.value(changed), rtol=1e-12, atol=0)
    weight = (0.6 * log_w).exp()
    twin = ((weight * log_w).sum(dim=0) - weight * log_w) / (weight.sum(dim=0) - weight)
    assert not torch.isfinite(twin[0]).all()
    assert torch.isfinite(leave_one_out_sum(log_w)).all()


# --- the estimators of the exact objective ----------------------------------------------------------------------

MODEL = Gaussian1d(mu=0.9, log_sd=-0.35, slope=1.0, noise=1.0)
EXACT = Tvo(3, 0.1)


def exact_gradient(tvo: Tvo, model: Gaussian1d = MODEL) -> Tensor:
    """The derivative by (theta, mu, log_sd) of the objective whose points are expectations, not K-sample means."""
    z = torch.linspace(-14.0, 16.0, 4_001, dtype=torch.float64)
    theta, mu, log_sd = parameters = model.parameters()
    log_w = model.log_w(z, *parameters)
    log_q = torch.distributions.Normal(mu, log_sd.exp()).log_prob(z)
    means = [(torch.softmax(log_q + power * log_w, dim=0) * log_w).sum() for power in tvo.powers()]
    value = torch.stack([width * mean for width, mean in zip(tvo.widths(), means, strict=True)]).sum()
    return torch.stack(torch.autograd.grad(value, [theta, mu, log_sd]))


def gradient_of_many(estimator: Estimator, model: Gaussian1d = MODEL, k: int = 1 << 16) -> Tensor:
    """The estimate with one sample in each of ``k`` parts of equal probability under q, in (theta, mu, log_sd)."""
    share = (torch.arange(k, dtype=torch.float64) + 0.5) / k
    noise, sd = torch.special.ndtri(share)[:, None], math.exp(model.log_sd)
    z = model.mu + sd * noise
    _, c = Pair(EXACT, estimator).at(model.log_w(z, *(p.detach() for p in model.parameters())), model.kl_weight)
    slope = model.kl_weight * (noise / sd - (z - model.theta)) + (0.7 - z)
    theta = c.model * model.kl_weight * (z - model.theta)
    mu = c.path * slope + c.score * noise / sd
    log_sd = c.path * slope * sd * noise + c.score * (noise.square() - 1.0)
    return torch.stack([theta.sum(), mu.sum(), log_sd.sum()])


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
@pytest.mark.parametrize("estimator", [Covariance(), Double(), Dreg()], ids=lambda e: e.name)
def test_with_all_of_q_the_estimate_is_the_gradient_of_the_exact_objective(
    estimator: Estimator, kl_weight: float
) -> None:
    model = replace(MODEL, kl_weight=kl_weight)
    torch.testing.assert_close(gradient_of_many(estimator, model), exact_gradient(EXACT, model), rtol=0, atol=3e-4)


def test_twin_stl_is_not() -> None:
    assert float((gradient_of_many(Stl()) - exact_gradient(EXACT)).abs().max()) > 0.01


@pytest.mark.parametrize("word", ["covariance", "double", "dreg"])
def test_the_mean_approaches_the_exact_gradient_as_k_grows(word: str) -> None:
    exact = exact_gradient(EXACT)[1:]
    pairs = {k: Pair(EXACT, resolve_pair("tvo", word, k).estimator) for k in (2, 3, 4)}
    off = [float((expected_gradient(pair, MODEL, k=k, nodes=14)[1:] - exact).norm()) for k, pair in pairs.items()]
    assert off[0] > 1.2 * off[1] > 1.4 * off[2] > 0.01


def test_the_own_estimators_are_unbiased_for_the_elbo_alone() -> None:
    for estimator in (Covariance(), Double()):
        assert estimator.promise(Tvo(1), 2) is Promise.UNBIASED
        assert estimator.promise(Tvo(1, rule=TvoRule.RIGHT), 2) is Promise.BIASED
        assert estimator.promise(Tvo(2), 2) is Promise.BIASED
        found = expected_gradient(Pair(Tvo(1), estimator), MODEL, k=2, nodes=40)
        elbo = expected_gradient(resolve_pair("elbo", "dreg", 2), MODEL, k=2, nodes=40)
        torch.testing.assert_close(found, elbo, rtol=1e-10, atol=1e-12)
