"""What an estimator learns: by the right slope, with Adam, and never before the step that used it."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.learning import PREFIX, learned_pair
from dregcli.engine.pairs import Pair, resolve_pair
from dregcli.engine.pixels import Dynamic
from dregcli.engine.training import Trainer
from dregcli.engine.training_batches import DrawnBatch
from tests.support.dense import GivenNoise, dense_gradients
from tests.support.exact import naive_gradients, relative_distance, small_vae

LR, K, LEVELS = 0.02, 4, 16
SCALARS = ("alpha", "beta", "gamma", "delta")


class _Float64(Trainer):
    """Float64 throughout, so that finite differences have digits to lose."""

    def _drawn(self, *given: Any) -> DrawnBatch:
        drawn = super()._drawn(*given)
        noise = GivenNoise(drawn.draws.noise(0, drawn.draws.k).double())
        return drawn._replace(pixels=drawn.pixels.double(), draws=noise)


def _trainer(kind: type[Trainer] = _Float64, *, word: str = "dreg-cv", **changes) -> Trainer:
    stored = torch.randint(0, LEVELS + 1, (20, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    settings = {"k": K, "batch_size": 5, "lr": LR, "seed": 1, **changes}
    return kind(small_vae(), resolve_pair("iwae", word, K), ResidentExamples(stored), Dynamic(LEVELS), **settings)


@dataclass
class _Adam:
    """Adam of one tensor by hand."""

    m: Tensor | float = 0.0
    v: Tensor | float = 0.0
    t: int = 0

    def step(self, gradient: Tensor) -> Tensor:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        return -LR * (self.m / (1 - 0.9**self.t)) / ((self.v / (1 - 0.999**self.t)) ** 0.5 + 1e-8)


def _mean_square(model, pixels: Tensor, noise: Tensor, pair: Pair) -> Tensor:
    found = naive_gradients(model, pixels, noise, pair).posterior
    return torch.cat([each.flatten() for each in found.values()]).square().mean()


class _ByHand:
    """The trainer's batches and noise; everything else by naive gradients, finite differences and Adam by hand."""

    def __init__(self) -> None:
        self.draws = _trainer()
        self.model = copy.deepcopy(self.draws.model)
        self.scalars = dict.fromkeys(SCALARS, 0.0)
        self._adams: dict[str, _Adam] = {}
        self.moments: dict[str, Tensor] = {}

    def _pair(self, **changes: float) -> Pair:
        pair = resolve_pair("iwae", "dreg-cv", K)
        return replace(pair, estimator=replace(pair.estimator, **{**self.scalars, **changes}))

    def _step_of(self, name: str, gradient: Tensor) -> Tensor:
        return self._adams.setdefault(name, _Adam()).step(gradient)

    def advance(self) -> None:
        pixels, draws, _ = self.draws._drawn()
        noise = draws.noise(0, K)
        self.draws.step += 1
        h = 1e-5
        slopes = {
            name: (
                _mean_square(self.model, pixels, noise, self._pair(**{name: value + h}))
                - _mean_square(self.model, pixels, noise, self._pair(**{name: value - h}))
            )
            / (2 * h)
            for name, value in self.scalars.items()
        }
        gradients = naive_gradients(self.model, pixels, noise, self._pair())
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, gradient in {**gradients.model, **gradients.posterior}.items():
                parameters[name] += self._step_of(name, gradient)
                self.moments[name] = torch.as_tensor(self._adams[name].m)
        for name, slope in slopes.items():
            self.scalars[name] += self._step_of(name, slope).item()


def _distances(kind: type[Trainer], steps: int) -> tuple[float, float, float]:
    """How far a trainer is from the one by hand: Adam's moments, parameters, scalars."""
    trainer, by_hand = _trainer(kind), _ByHand()
    for _ in range(steps):
        trainer.advance()
        by_hand.advance()
    state = trainer.state()
    moments = {name: state.optimizer[f"{name}/exp_avg"] for name in by_hand.moments}
    parameters = {name: each.detach() for name, each in by_hand.model.named_parameters()}
    scalars = [abs(trainer.trained.learned.values()[name] - by_hand.scalars[name]) for name in SCALARS]
    return (
        relative_distance(moments, by_hand.moments),
        relative_distance({name: state.model[name] for name in parameters}, parameters),
        max(scalars),
    )


class _ChangedFirst(_Float64):
    """The wrong twin: learns from a step's samples, and then uses what it learnt in the same step."""

    def advance(self) -> None:
        pixels, draws, _ = self._drawn()
        found = dense_gradients(self.model, pixels, draws.noise(0, K), self.trained.learned.pair)
        self.trained.learned.update({name: slope.item() for name, slope in found.learned.items()})
        held, update = self.trained.learned.update, self.trained.learned
        update.update = lambda _slopes: None
        super().advance()
        update.update = held


def test_training_is_that_by_hand() -> None:
    moments, parameters, scalars = _distances(_Float64, 5)
    assert moments < 1e-9
    assert parameters < 1e-9
    assert scalars < 1e-9


def test_the_first_step_uses_zeros_and_scalars_changed_before_use_are_caught() -> None:
    """Adam's first update hides the gradient's size; its moments show it."""
    assert _distances(_Float64, 1)[0] < 1e-12
    assert _distances(_ChangedFirst, 1)[0] > 1e-3
    assert _distances(_ChangedFirst, 5)[1] > 1e-5


def test_the_scalars_move_and_make_the_gradient_smaller() -> None:
    trainer = _trainer(lr=0.02)
    for _ in range(150):
        trainer.advance()
    values = trainer.trained.learned.values()
    assert list(values) == list(SCALARS)
    assert all(abs(value) > 1e-3 for value in values.values())
    pixels, draws, _ = trainer._drawn()
    learned, start = (
        _mean_square(trainer.model, pixels, draws.noise(0, K), pair)
        for pair in (trainer.trained.learned.pair, resolve_pair("iwae", "dreg-cv", K))
    )
    assert learned < start


def test_a_state_continues_bit_for_bit_with_what_was_learnt() -> None:
    straight, first, second = _trainer(), _trainer(), _trainer()
    for _ in range(9):
        straight.advance()
    for _ in range(4):
        first.advance()
    state = first.state()
    first.advance()  # what happens after the state was taken must not reach it
    second.load(state.step, state.model, state.optimizer, state.window)
    assert second.trained.learned.pair == learned_pair(resolve_pair("iwae", "dreg-cv", K), state.optimizer)
    for _ in range(5):
        second.advance()
    a, b = straight.state(), second.state()
    assert a.window == b.window
    assert {f"{PREFIX}{name}/{key}" for name in SCALARS for key in ("value", "step", "exp_avg", "exp_avg_sq")} == {
        name for name in a.optimizer if name.startswith(PREFIX)
    }
    assert tensors_sha256({**a.model, **a.optimizer}) == tensors_sha256({**b.model, **b.optimizer})
    assert straight.trained.learned.pair == second.trained.learned.pair


def test_a_state_before_the_first_step_can_be_loaded() -> None:
    trainer, other = _trainer(word="dreg-cv:alpha=0.25"), _trainer()
    state = trainer.state()
    other.load(state.step, state.model, state.optimizer, state.window)
    assert other.trained.learned.values() == {"alpha": 0.25, "beta": 0.0, "gamma": 0.0, "delta": 0.0}


def test_the_row_holds_the_values_and_others_learn_nothing() -> None:
    trainer, plain = _trainer(), _trainer(word="dreg")
    for each in (trainer, plain):
        each.advance()
    row = trainer.row()
    assert {name: row[f"dreg-cv.{name}"] for name in SCALARS} == trainer.trained.learned.values()
    assert trainer.window.count == 0
    assert not any("." in column for column in plain.row())
    assert plain.trained.learned.values() == {}
    assert plain.trained.learned.tensors() == {}


def test_a_frozen_model_stays_and_its_posterior_learns() -> None:
    frozen = _trainer(train_model=False)
    theta = tensors_sha256(frozen.model.model_parameters())
    phi = tensors_sha256(frozen.model.posterior_parameters())
    for _ in range(3):
        frozen.advance()
    assert tensors_sha256(frozen.model.model_parameters()) == theta
    assert tensors_sha256(frozen.model.posterior_parameters()) != phi
    assert not any(name.startswith("decoder") for name in frozen.state().optimizer)
    assert "model_gradient_norm" not in frozen.row()
    moving = _trainer()
    moving.advance()
    assert tensors_sha256(moving.model.model_parameters()) != theta


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(2)},
        {"a": torch.zeros(1, 2)},
        {"a": torch.zeros(2, dtype=torch.float64)},
        {"a": torch.tensor([0.0, -0.0])},
        {"a": torch.zeros(2), "c": torch.zeros(0)},
    ],
)
def test_a_checksum_sees_names_shapes_types_and_every_bit(other: dict[str, Tensor]) -> None:
    assert tensors_sha256(other) != tensors_sha256({"a": torch.zeros(2)})


def test_a_checksum_does_not_see_order() -> None:
    a, b = torch.zeros(2), torch.tensor(3)
    assert tensors_sha256({"a": a, "b": b}) == tensors_sha256({"b": b, "a": a})
