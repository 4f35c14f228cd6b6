"""A declared promise is measured: expected gradients by quadrature, no statistics."""

import math

import pytest
import torch

from dregcli.engine import ESTIMATORS, OBJECTIVES, promise
from dregcli.engine.pairs import resolve_pair
from dregcli.names import EstimatorName, ObjectiveName, Promise
from tests.support.quadrature import NOISE, SLOPE, Gaussian1d, X, expected_gradient, grid, value_gradient

NODES = {1: 96, 2: 96, 3: 48}
"""Nodes a dimension; the test below shows that the quadrature has converged with them."""

CASES = [(o, e, k) for o in OBJECTIVES for e in ESTIMATORS for k in (1, 2, 3)]


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("objective", "estimator", "k"), CASES)
def test_the_promise_holds(objective: str, estimator: str, k: int) -> None:
    pair, model = resolve_pair(objective, estimator, k), Gaussian1d.make()
    found = expected_gradient(pair, model, k=k, nodes=NODES[k])
    coarser = expected_gradient(pair, model, k=k, nodes=NODES[k] * 3 // 4)
    assert _distance(coarser, found) < 1e-6, "the quadrature itself has not converged"
    bias = _distance(found, value_gradient(pair, model, k=k, nodes=NODES[k]))
    if promise(objective, estimator, k) is Promise.UNBIASED:
        assert bias < 1e-6
    else:
        assert bias > 1e-2


@pytest.mark.parametrize("k", [2, 3])
def test_the_bias_of_stl_is_exactly_the_rws_update(k: int) -> None:
    """E[STL] = E[IWAE] + E[RWS], where RWS' phi update weighs the score by v."""
    model = Gaussian1d.make()
    stl = expected_gradient(resolve_pair("iwae", "stl", k), model, k=k, nodes=NODES[k])
    iwae_pair = resolve_pair("iwae", "reparam", k)
    iwae = expected_gradient(iwae_pair, model, k=k, nodes=NODES[k])
    noise, probability = grid(k, NODES[k])
    z = (model.mu + model.log_sd.exp() * noise).detach()
    v = torch.softmax(model.log_w(z, stop_posterior=True), dim=0).detach()
    density = torch.distributions.Normal(model.mu, model.log_sd.exp()).log_prob(z)
    rws = torch.stack(torch.autograd.grad((probability * v * density).sum(), [model.mu, model.log_sd]))
    torch.testing.assert_close(stl[1:] - iwae[1:], rws, rtol=1e-9, atol=1e-12)


def test_the_published_numbers_of_the_small_model() -> None:
    """The derivative in mu of formulas' two-sample example: stl is off by 0.52, reparam by nothing."""
    model = Gaussian1d.make(theta=0.2, mu=0.9, log_sd=-0.35)
    value = value_gradient(resolve_pair("iwae", "reparam", 2), model, k=2, nodes=80)
    off = {e: expected_gradient(resolve_pair("iwae", e, 2), model, k=2, nodes=80) - value for e in ESTIMATORS}
    assert float(off[EstimatorName.REPARAM].abs().max()) < 1e-10
    assert float(off[EstimatorName.DREG].abs().max()) < 3e-7
    assert abs(float(off[EstimatorName.STL][1])) == pytest.approx(0.52, abs=0.01)


def test_a_wrong_promise_would_be_caught() -> None:
    """The twin of the contract: stl declared unbiased fails the test above by orders of magnitude."""
    pair, model = resolve_pair("iwae", "stl", 2), Gaussian1d.make()
    bias = _distance(expected_gradient(pair, model, k=2, nodes=96), value_gradient(pair, model, k=2, nodes=96))
    assert bias > 1e-2


def test_every_name_has_an_entry() -> None:
    assert list(OBJECTIVES) == list(ObjectiveName)
    assert list(ESTIMATORS) == list(EstimatorName)
    assert all(entry.name is name for name, entry in {**OBJECTIVES, **ESTIMATORS}.items())


@pytest.mark.parametrize("estimator", ["stl", "dreg"])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_path_gradient_vanishes_when_q_is_the_posterior(objective: str, estimator: str) -> None:
    precision = 1.0 + SLOPE**2 / NOISE**2
    mean = (0.2 + SLOPE * X / NOISE**2) / precision
    model = Gaussian1d.make(theta=0.2, mu=mean, log_sd=-0.5 * math.log(precision))
    gradient = expected_gradient(resolve_pair(objective, estimator, 2), model, k=2, nodes=20)
    assert float(gradient[1:].abs().max()) < 1e-12
