"""The executor against the naive two-loss, two-backward form: exact, at fixed noise, for every pair."""

from dataclasses import replace

import pytest
import torch

from dregcli.engine import OBJECTIVES
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.gradients import dense_gradients
from dregcli.engine.pairs import Pair, all_pairs, checked_pairs, estimators_of, resolve_pair
from dregcli.engine.rows import RowTape
from tests.support.exact import naive_gradients, relative_distance, small_batch, small_vae
from tests.support.naive_values import naive_values

CASES = [pytest.param(pair, k, id=f"{pair.word}-k{k}") for k in (1, 2, 5) for pair in checked_pairs(k)]
CASES += [pytest.param(pair, 16, id=f"{pair.word}-k16") for pair in all_pairs()]


@pytest.mark.parametrize(("pair", "k"), CASES)
def test_one_backward_equals_two_losses_and_two_backwards(pair: Pair, k: int) -> None:
    model = small_vae()
    pixels, noise = small_batch(model, k=k)
    found = dense_gradients(model, pixels, noise, pair)
    expected = naive_gradients(model, pixels, noise, pair)
    assert relative_distance(found.model, expected.model) < 1e-12
    assert relative_distance(found.posterior, expected.posterior) < 1e-12
    torch.testing.assert_close(found.value, expected.value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("objective", [o for o, entry in OBJECTIVES.items() if entry.is_function])
def test_reparam_is_the_derivative_of_the_value(objective: str) -> None:
    """No weight array in sight: autograd through the objective's own value."""
    model = small_vae()
    pixels, noise = small_batch(model, k=8)
    found = dense_gradients(model, pixels, noise, resolve_pair(objective, "reparam", 8))
    posterior = model.posterior(pixels)
    latents = posterior.rsample(noise)
    log_w = model.log_joint(pixels, latents) - posterior.log_prob(latents)
    loss = -naive_values(OBJECTIVES[objective]())[0](log_w).mean()
    parameters = {**model.model_parameters(), **model.posterior_parameters()}
    expected = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    assert relative_distance({**found.model, **found.posterior}, expected) < 1e-12


def test_float32_agrees_with_float64() -> None:
    model = small_vae()
    pixels, noise = small_batch(model, k=64)
    pair = resolve_pair("iwae", "dreg", 64)
    exact = dense_gradients(model, pixels, noise, pair)
    found = dense_gradients(small_vae().float(), pixels.float(), noise.float(), pair)
    assert relative_distance(found.model, exact.model) < 1e-5
    assert relative_distance(found.posterior, exact.posterior) < 1e-5


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


@pytest.mark.parametrize(
    "kind", ["theta weighted by v^2", "squared weights K times too large", "dead hook: stl instead of dreg"]
)
def test_wrong_twins_are_caught(kind: str) -> None:
    model = small_vae()
    pixels, noise = small_batch(model, k=5)
    right = resolve_pair("iwae", "dreg", 5)
    expected = naive_gradients(model, pixels, noise, right)
    found = dense_gradients(model, pixels, noise, Pair(right.objective, _Wrong(kind)))
    distances = (
        relative_distance(found.model, expected.model),
        relative_distance(found.posterior, expected.posterior),
    )
    assert max(distances) > 1e-2


def test_theta_gradient_is_the_same_for_all_of_iwaes_estimators() -> None:
    model = small_vae()
    pixels, noise = small_batch(model, k=6)
    iwae = OBJECTIVES["iwae"]()
    gradients = [dense_gradients(model, pixels, noise, Pair(iwae, e)).model for e in estimators_of(iwae)]
    assert len(gradients) == 10
    for other in gradients[1:]:
        assert all(torch.equal(gradients[0][name], other[name]) for name in other)


def test_a_parameter_outside_the_tape_is_refused() -> None:
    model = small_vae()
    pixels, noise = small_batch(model, k=2)
    model.model_parameters = lambda: {"stray": torch.nn.Parameter(torch.zeros(1))}
    with pytest.raises(RuntimeError, match=r"outside RowTape\.linear"):
        dense_gradients(model, pixels, noise, resolve_pair("iwae", "dreg", 2))


def test_a_layer_the_backward_does_not_reach_is_refused() -> None:
    tape = RowTape()
    layer = torch.nn.Linear(2, 2)
    tape.linear(layer, torch.zeros(1, 1, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="does not reach log w"):
        tape.contract(torch.ones(1, 1), [layer.weight])


def test_a_layer_used_twice_adds_up() -> None:
    layer = torch.nn.Linear(3, 3).double()
    inputs = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weights = torch.rand(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    tape = RowTape()
    taped = tape.linear(layer, torch.tanh(tape.linear(layer, inputs))).square().sum(-1)
    torch.autograd.grad(taped.sum(), inputs)
    plain = layer(torch.tanh(layer(inputs))).square().sum(-1)
    expected = torch.autograd.grad((weights * plain).sum(), [layer.weight, layer.bias])
    found = tape.contract(weights, [layer.weight, layer.bias])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
