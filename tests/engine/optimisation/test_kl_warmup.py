"""A KL part with less weight: log p(x | z) + beta (log p(z) - log q(z | x)) in the place of log w.

First the weights of every pair, by quadrature; then the executors, against naive gradients and autograd.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.engine import OBJECTIVES
from dregcli.engine.draws import AddressedDraws
from dregcli.engine.estimators.dreg import Dreg
from dregcli.engine.execution import Execution
from dregcli.engine.execution.tempered import TemperedBatch
from dregcli.engine.gradients import Gradients, Step
from dregcli.engine.models.base import Model
from dregcli.engine.objectives import Terms
from dregcli.engine.optimisation import Optimisation
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.engine.weights import log_mean_exp
from dregcli.names import Backward, Promise
from tests.engine.test_captured import call_again
from tests.support.dense import GivenNoise
from tests.support.every_pair import checked_pairs
from tests.support.exact import (
    MODELS,
    naive_gradients,
    naive_log_joint,
    naive_posterior,
    off_networks,
    relative_distance,
    small_batch,
)
from tests.support.plain_models import ConvVae, Shared, SmallModel, TwoLayers, small_data
from tests.support.quadrature import Gaussian1d, expected_gradient, target_gradient
from tests.support.small_training import HALF, SCREENED, small_trainer, take
from tests.support.sweep import swept

BETA = 0.3
TEMPERED = [pair for pair in checked_pairs(2) if pair.can_be_tempered]


def _bias(pair: Pair, kl_weight: float, *, k: int = 2, nodes: int = 64) -> float:
    """The relative distance of a pair's expected gradient, theta's included, from that of its objective."""
    model = Gaussian1d(kl_weight=kl_weight)
    target = target_gradient(pair, model, k=k, nodes=nodes)
    return float((expected_gradient(pair, model, k=k, nodes=nodes) - target).norm() / target.norm())


def test_only_rws_and_dreg_norm_are_left_out() -> None:
    left_out = [pair for pair in checked_pairs(2) if pair not in TEMPERED]
    assert {pair.objective.name for pair in left_out if pair.estimator.name != "dreg-norm"} == {"rws"}
    assert {pair.estimator.name for pair in left_out if pair.objective.name != "rws"} == {"dreg-norm"}


@pytest.mark.parametrize("kl_weight", [0.0, BETA])
@swept("pair", TEMPERED, named=lambda pair: pair.word)
def test_the_promise_holds_at_every_weight(pair: Pair, kl_weight: float) -> None:
    """By quadrature. At beta 0 only the path of log p(x | z) is left, so that biased pairs may be unbiased there."""
    bias = _bias(pair, kl_weight)
    if pair.promise(2) is Promise.UNBIASED:
        assert bias < 1e-6
    elif kl_weight:
        assert bias > 1e-3


class _DregOfTheWholeKl(Dreg):
    """The wrong twin: the weights of dreg as if the log-weights had the whole of log q."""

    def coefficients(self, objective: Any, terms: Terms) -> Any:
        return super().coefficients(objective, objective.terms(terms.log_w))


def test_weights_of_the_whole_kl_are_biased() -> None:
    assert _bias(Pair(OBJECTIVES["iwae"](), _DregOfTheWholeKl()), BETA) > 0.05
    assert _bias(Pair(OBJECTIVES["iwae"](), _DregOfTheWholeKl()), 1.0) < 1e-6


# The executors.


@pytest.mark.parametrize("name", ["vae", "structured"])
@swept("pair", TEMPERED, named=lambda pair: pair.word)
def test_gradients_are_those_of_two_naive_losses(pair: Pair, name: str) -> None:
    case = MODELS[name]
    model = case.build()
    pixels, noise = small_batch(model, k=2)
    found = Step(model, pixels, GivenNoise(noise), Execution(), kl_weight=BETA).gradients(pair)
    expected = naive_gradients(model, pixels, noise, pair, crossed=case.crossed, kl_weight=BETA)
    assert not off_networks(found.model, expected.model) | off_networks(found.posterior, expected.posterior)
    torch.testing.assert_close(found.value, expected.value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["vae", "structured"])
def test_the_bound_is_the_true_one(name: str) -> None:
    model = MODELS[name].build()
    pixels, noise = small_batch(model, k=5)
    found = Step(model, pixels, GivenNoise(noise), Execution(), kl_weight=BETA).gradients(
        resolve_pair("iwae", "dreg", 5)
    )
    loc, scale = naive_posterior(model, pixels)
    log_q = torch.distributions.Normal(loc, scale).log_prob(loc + scale * noise).sum(-1)
    log_w = naive_log_joint(model, pixels, loc + scale * noise) - log_q
    torch.testing.assert_close(found.bound, log_mean_exp(log_w).detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.log_w, log_w.detach(), rtol=1e-12, atol=1e-12)
    assert (found.bound - found.value).abs().min() > 1e-3


def _draws(model: Model, k: int, batch: int) -> AddressedDraws:
    """Addressed random numbers, the same at each call."""
    randomness = Randomness(3)
    width = model.latent_width
    return AddressedDraws(
        randomness, Stream.NOISE, 0, k=k, batch=batch, width=width, screening=Stream.SCREENING, dtype=torch.float64
    )


def _programs() -> dict[str, Model]:
    data = small_data()
    torch.manual_seed(4)
    modules = {
        "conv": ConvVae(data),
        "learned prior": SmallModel(data),
        "flow": SmallModel(data, "flow"),
        "two layers": TwoLayers(data),
        "shared": Shared(data),
    }
    return {name: ProgramModel(module.double(), data) for name, module in modules.items()}


def _pixels(model: Model) -> Tensor:
    if isinstance(model, ProgramModel):
        return (torch.rand(3, 16, generator=torch.Generator().manual_seed(2)) < 0.5).double()
    return small_batch(MODELS["structured"].build(), k=1, batch=3)[0]


def _gradient(model: Model, execution: Execution, estimator: str, *, k: int = 20) -> Gradients:
    pixels = _pixels(model)
    step = Step(model, pixels, _draws(model, k, len(pixels)), execution, kl_weight=BETA)
    return step.gradients(resolve_pair("iwae", estimator, k))


def _value(model: Model, *, k: int = 20) -> float:
    """The mean of F at beta's log-weights, from two models: the whole one, and the prior alone."""
    pixels = _pixels(model)
    whole = model.batch(pixels, _draws(model, k, len(pixels)))
    log_w, ratio = (each.log_weights(k_chunk=None) for each in (whole, whole.prior()))
    return float(log_mean_exp(log_w - (1.0 - BETA) * ratio).mean())


def _slope(model: Model, direction: dict[str, Tensor], *, size: float = 1e-5) -> float:
    """The derivative of the value along a direction of all parameters, by a central difference."""
    named = {**model.model_parameters(), **model.posterior_parameters()}
    values: list[float] = []
    for times in (size, -2.0 * size, size):
        with torch.no_grad():
            for name, each in direction.items():
                named[name] += times * each
        values.append(_value(model))
    return (values[0] - values[1]) / (2.0 * size)


@swept("name", _programs(), named=str)
def test_a_program_has_the_derivative_of_the_value(name: str) -> None:
    """Of theta and phi together, along a random direction and along the gradient."""
    model = _programs()[name]
    found = _gradient(model, Execution(), "reparam").whole()
    random = {name: torch.randn_like(each) for name, each in found.items()}
    for direction in (random, found):
        expected = -sum(float((each * direction[name]).sum()) for name, each in found.items())
        assert _slope(model, direction) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@swept("name", _programs(), named=str)
def test_the_prior_of_a_program_is_what_it_gives(name: str) -> None:
    """By the module's own programs, at the samples of the batch."""
    model: Any = _programs()[name]
    pixels = _pixels(model)
    batch = model.batch(pixels, _draws(model, 8, 3))
    drawn = model.draw(pixels, _draws(model, 8, 3))
    given = dict[str, Tensor]()

    def add(name: str, distribution: torch.distributions.Distribution) -> None:
        given[name] = distribution.log_prob(drawn.values[name])

    p = model.module.model(drawn.values, add)
    ratio = torch.stack(list(given.values())).sum(0) - drawn.log_q
    torch.testing.assert_close(batch.prior().log_weights(k_chunk=None), ratio.detach(), rtol=1e-9, atol=1e-9)
    whole = ratio + p.log_prob(pixels.reshape(-1, *p.event_shape))
    torch.testing.assert_close(batch.log_weights(k_chunk=None), whole.detach(), rtol=1e-9, atol=1e-9)


KEEPS_ALL = Execution(Backward.SCREENED, 1e-9)


@pytest.mark.parametrize("estimator", ["dreg", "reparam", "reinforce"])
@pytest.mark.parametrize("execution", [Execution(k_chunk=16), KEEPS_ALL, replace(KEEPS_ALL, k_chunk=16)])
@pytest.mark.parametrize("name", ["structured", "two layers", "conv"])
def test_every_execution_has_the_dense_gradient(name: str, execution: Execution, estimator: str) -> None:
    model = MODELS[name].build() if name in MODELS else _programs()[name]
    found, expected = (_gradient(model, each, estimator) for each in (execution, Execution()))
    assert relative_distance(found.whole(), expected.whole()) < 1e-6
    torch.testing.assert_close(found.values, expected.values, rtol=1e-9, atol=1e-9)


def test_some_examples_and_other_samples_are_tempered_too() -> None:
    model = MODELS["structured"].build()
    pixels = _pixels(model)
    draws = [_draws(model, 4, 3), GivenNoise(torch.randn(4, 3, 3, dtype=torch.float64))]
    whole = [TemperedBatch(model.batch(pixels, each), BETA, k_chunk=None) for each in draws]
    plain = [each.log_weights(k_chunk=None) for each in whole]
    some = torch.tensor([2, 0])
    torch.testing.assert_close(whole[0].of(some).log_weights(k_chunk=None), plain[0][:, some])
    torch.testing.assert_close(whole[0].drawn(draws[1]).log_weights(k_chunk=None), plain[1])


# Training.


def test_the_weight_rises_from_0_to_1() -> None:
    assert [Optimisation(kl_warmup=4).kl_weight(step) for step in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert Optimisation().kl_weight(0) == 1.0


def _trainer(**settings: Any) -> Trainer:
    return small_trainer(optimisation=Optimisation(kl_warmup=6), **settings)


def test_a_warm_up_is_resumed_logged_and_over() -> None:
    straight, first, second = (_trainer(execution=HALF) for _ in range(3))
    take(straight, 10)
    state = take(first, 3).state()
    second.load(state.step, state.model, state.optimizer, state.window)
    a, b = straight.state(), take(second, 7).state()
    assert all(torch.equal(a.model[name], b.model[name]) for name in a.model)
    assert a.window == b.window
    assert take(_trainer(), 4).row()["kl_weight"] == 0.5
    assert take(_trainer(), 9).row()["kl_weight"] == 1.0
    assert "kl_weight" not in take(small_trainer(), 2).row()
    other = take(small_trainer(execution=HALF), 10).state()
    assert any(not torch.equal(a.model[name], other.model[name]) for name in a.model)


def test_the_logged_bound_does_not_know_of_the_warm_up() -> None:
    """Of the first step, whose weights are those of any run."""
    found, expected = take(_trainer(), 1).row(), take(small_trainer(), 1).row()
    assert found["bound"] == pytest.approx(expected["bound"], rel=1e-6)
    assert found["value"] != pytest.approx(expected["value"], rel=1e-3)
    # A first pass in bfloat16 corrects the value alone, so that a warm-up makes its first pass in float32.
    half = take(_trainer(execution=HALF), 1).row()
    assert half["bound"] == pytest.approx(take(small_trainer(execution=SCREENED), 1).row()["bound"], rel=1e-6)


def test_steps_are_recorded_after_the_warm_up() -> None:
    found, expected = _trainer(record=call_again), _trainer()
    found.warm_up()
    assert vars(found)["_captured"]
    a, b = take(found, 12).state(), take(expected, 12).state()
    for name, each in b.model.items():
        torch.testing.assert_close(a.model[name], each, rtol=1e-4, atol=1e-5)
