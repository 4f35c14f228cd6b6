"""The executor against the naive two-loss, two-backward form: exact, at fixed noise, for every pair and model."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from dregcli.engine import OBJECTIVES
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.execution import gaussian_batch
from dregcli.engine.execution.row_pass import GaussianRowPass
from dregcli.engine.execution.weighing import PairWeigh, RowWeights
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import Pair, all_pairs, estimators_of, resolve_pair
from tests.support.dense import dense_gradients
from tests.support.every_pair import checked_pairs
from tests.support.exact import (
    MODELS,
    naive_gradients,
    naive_log_joint,
    naive_parameters,
    naive_posterior,
    off_networks,
    relative_distance,
    small_batch,
    small_structured,
    small_vae,
)
from tests.support.naive_values import naive_values

CASES = [(name, k) for name in ("vae", "structured") for k in (1, 2, 5)] + [(name, 16) for name in MODELS]
"""A model and K: at few samples for every setting of each pair, at 16 for its default setting."""


@cache
def subject(name: str, k: int) -> tuple[Vae | StructuredVae, Tensor, Tensor]:
    model = MODELS[name].build()
    return model, *small_batch(model, k=k)


def faults(name: str, pair: Pair, k: int, *, crossed: bool | None = None) -> dict[str, float]:
    """Networks whose gradient is not the oracle's, and how far it is off; ``value`` for the objective's."""
    case = MODELS[name]
    model, pixels, noise = subject(name, k)
    found = dense_gradients(model, pixels, noise, pair)
    expected = naive_gradients(model, pixels, noise, pair, crossed=case.crossed if crossed is None else crossed)
    off = off_networks(found.model, expected.model) | off_networks(found.posterior, expected.posterior)
    distance = relative_distance({"value": found.value}, {"value": expected.value})
    return off | ({"value": distance} if distance > 1e-12 else {})


def faulty_pairs(name: str, k: int) -> dict[str, dict[str, float]]:
    """Every pair of a sweep that has faults, by its word."""
    pairs = list(all_pairs() if k == 16 else checked_pairs(k))
    assert len(pairs) > 40
    return {pair.word: found for pair in pairs if (found := faults(name, pair, k))}


@pytest.mark.parametrize(("name", "k"), CASES)
def test_one_backward_equals_two_losses_and_two_backwards(name: str, k: int) -> None:
    assert faulty_pairs(name, k) == {}


def test_an_executor_without_scores_fails_for_every_pair_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin of the sweep, which must name the pairs that fail, all of them and no other."""
    right = PairWeigh.__call__

    def without(self: PairWeigh, log_w: Tensor, *, values: bool = True) -> RowWeights:
        found = right(self, log_w, values=values)
        return replace(found, score=None if found.score is None else torch.zeros_like(found.score))

    monkeypatch.setattr(PairWeigh, "__call__", without)
    found = faulty_pairs("vae", 5)
    assert set(found) == {pair.word for pair in checked_pairs(5) if pair.uses_score}
    assert {network for off in found.values() for network in off} == {"encoder"}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("objective", [o for o, entry in OBJECTIVES.items() if entry.is_function])
def test_reparam_is_the_derivative_of_the_value(name: str, objective: str) -> None:
    """No weight array in sight: autograd through the objective's own value; nothing of the engine's model code."""
    model, crossed = MODELS[name].build(), MODELS[name].crossed
    pixels, noise = small_batch(model, k=8)
    found = dense_gradients(model, pixels, noise, resolve_pair(objective, "reparam", 8))
    loc, scale = naive_posterior(model, pixels)
    z = loc + scale * noise
    log_q = torch.distributions.Normal(loc, scale).log_prob(z).sum(-1)
    log_w = naive_log_joint(model, pixels, z, crossed=crossed) - log_q
    loss = -naive_values(OBJECTIVES[objective]())[0](log_w).mean()
    theta, phi = naive_parameters(model)
    parameters = {**theta, **phi}
    expected = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    assert off_networks({**found.model, **found.posterior}, expected) == {}


@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees_with_float64(name: str) -> None:
    model = MODELS[name].build()
    pixels, noise = small_batch(model, k=64)
    pair = resolve_pair("iwae", "dreg", 64)
    exact = dense_gradients(model, pixels, noise, pair)
    found = dense_gradients(model.float(), pixels.float(), noise.float(), pair)
    assert off_networks(found.model, exact.model, 1e-5) == {}
    assert off_networks(found.posterior, exact.posterior, 1e-5) == {}


class _Wrong(Dreg):
    """Deliberately wrong twins of (iwae, dreg), of the kinds that peers shipped."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def coefficients(self, objective, terms):
        c = super().coefficients(objective, terms)
        match self.kind:
            case "theta weighted by v^2":
                return replace(c, model=c.path)
            case "squared weights K times too large":
                return replace(c, path=c.path * terms.model.shape[0])
            case "dead hook: stl instead of dreg":
                return replace(c, path=terms.path)
        raise AssertionError(self.kind)


@pytest.mark.parametrize("model", [small_vae(), small_structured()], ids=["vae", "structured"])
@pytest.mark.parametrize(
    "kind", ["theta weighted by v^2", "squared weights K times too large", "dead hook: stl instead of dreg"]
)
def test_wrong_twins_are_caught(model, kind: str) -> None:
    pixels, noise = small_batch(model, k=5)
    right = resolve_pair("iwae", "dreg", 5)
    expected = naive_gradients(model, pixels, noise, right)
    found = dense_gradients(model, pixels, noise, Pair(right.objective, _Wrong(kind)))
    distances = (
        relative_distance(found.model, expected.model),
        relative_distance(found.posterior, expected.posterior),
    )
    assert max(distances) > 1e-2


def _one_network_weighted_by(network: str, reweight: Callable[[Tensor, Tensor], Tensor]) -> type[GaussianRowPass]:
    """An executor that gives one of theta's networks other weights, made of the model's and of the log-weights."""

    class Twin(GaussianRowPass):
        def model_gradients(self, weights):
            right, wrong = super().model_gradients(weights), super().model_gradients(reweight(weights, self.log_w))
            return {name: (wrong if name.startswith(network) else right)[name] for name in right}

    return Twin


@pytest.mark.parametrize(
    ("network", "reweight"),
    [
        ("prior", lambda _, log_w: torch.softmax(log_w, dim=0).square()),
        ("prior", lambda weights, _: torch.ones_like(weights)),
        ("prior", lambda weights, _: weights.mean(dim=0, keepdim=True).expand_as(weights)),
        ("context_layer", lambda weights, _: torch.full_like(weights, 1.0 / weights.shape[0])),
        ("decoder", lambda _, log_w: torch.softmax(log_w, dim=0).square()),
    ],
    ids=["prior by the path", "prior by 1", "prior by the mean", "context by 1/K", "decoder by the path"],
)
def test_one_network_weighted_otherwise_is_caught(network: str, reweight, monkeypatch) -> None:
    assert faults("structured", resolve_pair("iwae", "dreg", 5), 5) == {}
    monkeypatch.setattr(gaussian_batch, "GaussianRowPass", _one_network_weighted_by(network, reweight))
    off = faults("structured", resolve_pair("iwae", "dreg", 5), 5)
    assert set(off) == {network}
    assert off[network] > 1e-2


@pytest.mark.parametrize("crossed", [False, True])
def test_parts_in_the_wrong_places_are_caught(crossed: bool) -> None:
    """The oracle told otherwise; halves of equal size, so that every shape fits."""
    pair = resolve_pair("iwae", "dreg", 5)
    assert faults("structured-crossed", pair, 5, crossed=True) == {}
    assert set(faults("structured-crossed", pair, 5, crossed=False)) >= {
        "prior",
        "decoder",
        "context_layer",
        "encoder",
    }


def test_theta_without_the_prior_is_caught(monkeypatch) -> None:
    right = small_structured().model_parameters
    for gone in ("prior", "context_layer"):
        model = small_structured()
        pixels, noise = small_batch(model, k=5)
        kept = {n: p for n, p in right().items() if not n.startswith(gone)}
        model.model_parameters = lambda kept=kept, model=model: {n: dict(model.named_parameters())[n] for n in kept}
        pair = resolve_pair("iwae", "dreg", 5)
        found = dense_gradients(model, pixels, noise, pair)
        expected = naive_gradients(model, pixels, noise, pair)
        assert set(expected.model) - set(found.model) == set(right()) - set(kept) != set()


@pytest.mark.parametrize("name", MODELS)
def test_theta_gradient_is_the_same_for_all_of_iwaes_estimators(name: str) -> None:
    model = MODELS[name].build()
    pixels, noise = small_batch(model, k=6)
    iwae = OBJECTIVES["iwae"]()
    found = [dense_gradients(model, pixels, noise, Pair(iwae, e)).model for e in estimators_of(iwae)]
    assert len(found) == 11
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("word", ["dreg", "dreg-cv"])
def test_a_frozen_model_has_no_gradients_and_its_posterior_the_same(name: str, word: str) -> None:
    model, pair = MODELS[name].build(), resolve_pair("iwae", word, 5)
    pixels, noise = small_batch(model, k=5)
    frozen = dense_gradients(model, pixels, noise, pair, train_model=False)
    whole = dense_gradients(model, pixels, noise, pair)
    assert frozen.model == {}
    assert list(whole.model) == list(naive_parameters(model)[0])
    assert all(torch.equal(frozen.posterior[n], whole.posterior[n]) for n in naive_parameters(model)[1])


@pytest.mark.parametrize("name", MODELS)
def test_what_dreg_cv_learns_follows_the_slopes_of_its_squared_gradient(name: str) -> None:
    """The squared gradient is a quadratic in each scalar: central differences of any width are exact."""
    model, crossed = MODELS[name].build(), MODELS[name].crossed
    pixels, noise = small_batch(model, k=4)
    pair = resolve_pair("iwae", "dreg-cv:alpha=0.3,beta=0.6,gamma=-0.2,delta=0.1", 4)

    def mean_square(**changes: float) -> float:
        changed = replace(pair, estimator=replace(pair.estimator, **changes))
        found = naive_gradients(model, pixels, noise, changed, crossed=crossed).posterior
        return float(torch.cat([each.flatten() for each in found.values()]).square().mean())

    found = dense_gradients(model, pixels, noise, pair)
    expected = naive_gradients(model, pixels, noise, pair, crossed=crossed)
    assert off_networks(found.model, expected.model) == {}
    assert off_networks(found.posterior, expected.posterior) == {}
    assert list(found.learned) == ["alpha", "beta", "gamma", "delta"]
    for scalar, slope in found.learned.items():
        value = getattr(pair.estimator, scalar)
        difference = mean_square(**{scalar: value + 0.5}) - mean_square(**{scalar: value - 0.5})
        assert float(slope) == pytest.approx(difference, rel=1e-9, abs=1e-12)
