"""``dreg train`` trains what the paper's formulas train in plain torch, with the same noise, pixels and order.

``tests/support/plain_training.py`` knows nothing of this program. It gets arrays alone: the first parameters, the
pixels and the noise of each step.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dregcli.app.loading.build import build_trainer
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.engine.evaluation import BatchBounds, evaluate
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH, evaluation_step
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training_batches import TrainingBatches
from dregcli.names import Split
from dregcli.specs.resolve import read_options
from tests.support import plain_training as plain

STEPS, EVERY, K, LATENT_DIM, LR = 150, 10, 8, 8, 3e-3
TWIN_STEPS = 80
"""Steps after which a wrong formula is seen."""

NATS = 0.05
"""What two correct implementations may differ by; with rounding alone they differ by a thousandth of it."""

OPTIONS = {
    **{"dataset": "digits", "device": "cpu", "backward": "dense", "compile": "off", "steps": STEPS},
    **{"k": K, "hidden": (24,), "latent_dim": LATENT_DIM, "lr": LR, "log_every": EVERY, "seed": 3},
}


@dataclass(frozen=True)
class Trained:
    """The bounds of every window of ``EVERY`` steps, and that of test examples at the end if there was one; nats."""

    windows: Tensor
    end: float = math.nan

    def apart(self, other: "Trained") -> float:
        """The largest distance of two bounds, as far as both were trained."""
        common = min(len(self.windows), len(other.windows))
        at_end = abs(self.end - other.end)
        windows = float((self.windows[:common] - other.windows[:common]).abs().max())
        return windows if math.isnan(at_end) else max(windows, at_end)


def _plan(objective: str = "iwae", estimator: str = "dreg") -> Plan:
    options, faults = read_options({**OPTIONS, "objective": objective, "estimator": estimator})
    return resolve_plan(options, Path(), faults)


def _test_bounds(plan: Plan, model: Model) -> BatchBounds:
    seed, settings = plan.spec.eval_seed, {"k": K, "limit": EVALUATION_BATCH}
    examples = plan.data.examples(Split.TEST)
    (found,) = evaluate(model, examples, plan.data.pixels, split=Split.TEST, seed=seed, **settings)
    return found


def ours(pair: str) -> Trained:
    """Train as ``dreg train`` does."""
    plan = _plan(*pair.split("/"))
    trainer = build_trainer(plan.spec, plan.data)
    windows: list[float] = []
    for step in range(1, STEPS + 1):
        trainer.advance()
        if step % EVERY == 0:
            windows.append(trainer.row()["bound"])
    return Trained(torch.tensor(windows), float(_test_bounds(plan, trainer.model).bound.mean()))


class ByHand:
    """Trainings of ``tests/support/plain_training.py``. It gets this program's arrays, and none of its code."""

    def __init__(self) -> None:
        self._plan = _plan()
        spec, data, width = self._plan.spec, self._plan.data, LATENT_DIM
        sizes = {"k": K, "batch_size": spec.batch_size, "width": width}
        batches = TrainingBatches(data.examples(Split.TRAIN), data.pixels, seed=spec.seed, **sizes)
        drawn = [batches.drawn(step) for step in range(STEPS)]
        self._batches = [(each.pixels, each.draws.noise(0, K)) for each in drawn]
        randomness, step = Randomness(spec.eval_seed), evaluation_step(Split.TEST, 0)
        noise = randomness.normal(Stream.EVALUATION_NOISE, step, k=K, batch=EVALUATION_BATCH, width=width)
        self._at_end = _test_bounds(self._plan, self._model()).pixels, noise
        self._done: dict[plain.Losses, Trained] = {}

    def train(self, losses: plain.Losses, steps: int = STEPS) -> Trained:
        """Train by losses, once; without an end if there are fewer steps."""
        if losses not in self._done:
            parameters = self._model().state_dict()
            mean = parameters.pop("mean")
            bounds = torch.tensor(plain.train(parameters, mean, self._batches[:steps], losses, lr=LR))
            with torch.no_grad():
                end = float(plain.bound(plain.log_weights(parameters, mean, *self._at_end).live).mean())
            windows = bounds.reshape(-1, EVERY).mean(dim=1)
            self._done[losses] = Trained(windows, end) if steps == STEPS else Trained(windows)
        return self._done[losses]

    def _model(self) -> Model:
        return build_trainer(self._plan.spec, self._plan.data).model


@pytest.fixture(scope="module")
def by_hand() -> ByHand:
    return ByHand()


def _squared_for_both(log_w: plain.LogWeights) -> tuple[Tensor, Tensor]:
    """What TensorFlow Probability does: theta gets the squared weights too."""
    _, of_phi = plain.iwae_dreg(log_w)
    return of_phi, of_phi


def _not_stopped(losses: plain.Losses) -> plain.Losses:
    """Mean and scale of log q are differentiated where the formula holds them fixed."""
    return lambda log_w: losses(replace(log_w, path=log_w.live))


def _not_weighed(log_w: plain.LogWeights) -> tuple[Tensor, Tensor]:
    """The wake update with equal weights."""
    return -plain.bound(log_w.live), plain.weighted(torch.full_like(log_w.live, 1 / K), log_w.log_q)


def _all_squares(log_w: plain.LogWeights) -> tuple[Tensor, Tensor]:
    """JVI with the squared weights of all samples, in place of those of the samples that are left."""
    return -plain.jackknife(log_w.live), plain.weighted(log_w.live.softmax(0).square(), log_w.path)


PAIRS: dict[str, tuple[plain.Losses, dict[str, plain.Losses]]] = {
    "iwae/reparam": (plain.iwae_reparam, {"log q stopped": plain.iwae_stl}),
    "iwae/stl": (plain.iwae_stl, {"log q not stopped": plain.iwae_reparam}),
    "iwae/dreg": (
        plain.iwae_dreg,
        {
            "weights not squared": plain.iwae_stl,
            "theta's weights squared": _squared_for_both,
            "log q not stopped": _not_stopped(plain.iwae_dreg),
        },
    ),
    "rws/reparam": (plain.rws_reparam, {"not weighed": _not_weighed, "the wrong estimator": plain.iwae_stl}),
    "rws/dreg": (
        plain.rws_dreg,
        {"log q not stopped": _not_stopped(plain.rws_dreg), "the wrong objective": plain.iwae_dreg},
    ),
    "jvi/reparam": (plain.jvi_reparam, {"no part left out": plain.iwae_reparam}),
    "jvi/dreg": (
        plain.jvi_dreg,
        {"no sample left out": _all_squares, "log q not stopped": _not_stopped(plain.jvi_dreg)},
    ),
}
"""How each pair is written from its formula, and how it is written wrongly."""

RIGHT = {losses for losses, _ in PAIRS.values()}


@pytest.mark.parametrize("pair", PAIRS)
def test_the_bounds_of_a_training_are_those_of_the_formulas(pair: str, by_hand: ByHand) -> None:
    """Within .05 nats at every logged step and at the end; a wrong formula is further away at one of them."""
    right, wrong = PAIRS[pair]
    found = ours(pair)
    assert found.apart(by_hand.train(right)) < NATS
    for name, losses in wrong.items():
        assert found.apart(by_hand.train(losses, STEPS if losses in RIGHT else TWIN_STEPS)) > NATS, name
