"""Recorded steps with every setting that changes what a step does, and with more rows than there is room for."""

from collections.abc import Callable
from typing import Any

import pytest

from dregcli.engine import captured, execution
from dregcli.engine.captured import MovedRandomness
from dregcli.engine.models.base import Model
from dregcli.engine.optimisation import Optimisation, parse_optimizer, parse_schedule
from dregcli.engine.pairs import all_pairs, resolve_pair
from dregcli.engine.randomness import Stream, address
from dregcli.engine.training import Trainer
from dregcli.engine.words import parse_scheduled
from dregcli.names import PriorGradient, SampleNoise
from tests.engine.test_captured import call_again, off, warm
from tests.support.every_pair import pairs_of_different_weights
from tests.support.exact import small_structured, small_vae
from tests.support.small_training import DENSE, HALF, SCREENED, K, take
from tests.support.sweep import swept

STEPS = 9
WAYS = {"dense": DENSE, "screened": SCREENED, "bfloat16": HALF}
PLAIN: dict[str, Any] = {"word": "iwae/dreg", "model": small_vae}

SETTINGS: dict[str, dict[str, Any]] = {
    "dreams": {"word": "rws:sleep=0.5/dreg"},
    "an objective that changes": {
        "word": "vr-iwae:alpha=0.5/dreg",
        "objective": parse_scheduled("vr-iwae:alpha=0.5->0.0@4"),
    },
    "a warm-up of the KL part": {"optimisation": Optimisation(kl_warmup=4, steps=STEPS)},
    "rates that change, a limited norm and an average": {
        "optimisation": Optimisation(
            schedule=parse_schedule("cosine"), warmup_steps=2, grad_clip=0.5, ema=0.9, steps=STEPS
        )
    },
    "two rates, and weight decay": {
        "optimisation": Optimisation(optimizer=parse_optimizer("adamw"), lr_posterior=0.003, steps=STEPS)
    },
    "antithetic samples": {"noise": SampleNoise.ANTITHETIC},
    "the path of a learned prior": {"model": small_structured, "prior_gradient": PriorGradient.BLEND},
    "a fixed theta": {"train_model": False},
}
NEVER: dict[str, dict[str, Any]] = {
    "tracked pairs": {"tracked": [resolve_pair("iwae", "stl", K), resolve_pair("rws", "dreg", K)]},
    "an optimizer of torch": {"optimisation": Optimisation(optimizer=parse_optimizer("rmsprop"), steps=STEPS)},
    "a fitted objective": {"word": "tvo:schedule=moments/dreg"},
}
"""What is never recorded, whoever asks for it."""


def trained(way: str, record: Any, **settings: Any) -> tuple[Trainer, dict[str, float]]:
    """A trainer in float64 after some steps, and its row."""
    whole = PLAIN | settings
    model: Callable[[], Model] = whole.pop("model")
    found = warm(whole.pop("word"), WAYS[way], record, model=model().double(), **whole)
    take(found, STEPS)
    return found, found.row()


TURNS = [
    (name, way, name in SETTINGS)
    for i, name in enumerate([*SETTINGS, *NEVER])
    for way in (list(WAYS) if name == "dreams" else [list(WAYS)[i % 3]])
]


@swept("name, way, is_recorded", TURNS)
def test_a_repeated_step_is_the_step(name: str, way: str, is_recorded: bool) -> None:
    settings = (SETTINGS | NEVER)[name]
    found, row = trained(way, call_again, **settings)
    expected, expected_row = trained(way, None, **settings)
    assert (vars(found)["_captured"] is not None) is is_recorded
    assert row == pytest.approx(expected_row, rel=1e-6)
    assert off(found, expected) < 1e-6
    usual, _ = trained(way, None, model=settings.get("model", small_vae))
    assert off(found, usual) > 1e-4 or name == "tracked pairs", "the setting does something"


@pytest.mark.parametrize("name", ["an objective that changes", "a warm-up of the KL part"])
def test_a_recording_that_is_used_too_early_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: it repeats the last stage while the objective still changes."""

    def too_early(trainer: Trainer) -> None:
        vars(trainer)["_captured_from"] = 0
        advance(trainer)

    expected, _ = trained("dense", None, **SETTINGS[name])
    advance = Trainer.advance
    monkeypatch.setattr(Trainer, "advance", too_early)
    assert off(trained("dense", call_again, **SETTINGS[name])[0], expected) > 1e-4


class _SameDreams(MovedRandomness):
    """The wrong twin: every repetition has the dreams of the first step."""

    def move(self, step: int) -> None:
        super().move(step)
        for (stream, block, _), generator in self._generators.items():
            if stream is Stream.DREAMS:
                generator.manual_seed(address(self.seed, stream, 0, block))


def test_dreams_of_another_step_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = trained("dense", None, **SETTINGS["dreams"])
    monkeypatch.setattr(captured, "MovedRandomness", _SameDreams)
    assert off(trained("dense", call_again, **SETTINGS["dreams"])[0], expected) > 1e-4


KINDS = {
    pair.objective.name: pair
    for pair in pairs_of_different_weights(K, (pair for pair in all_pairs() if not pair.faults(K)))
    if not pair.estimator.learned and pair.uses_path
}
"""One pair of each objective; those without a path keep rows for theta alone, as an objective of theirs does."""


@swept("pair", [*KINDS.values(), resolve_pair("iwae", "vimco", K)], named=lambda pair: pair.word)
def test_a_step_with_too_many_rows_is_the_step_for_every_objective(pair) -> None:
    expected, expected_row = trained("screened", None, word=pair.word)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "gpu_capacity", lambda rows: 2)
        patch.setattr("dregcli.engine.training.MOST_PENDING", 4)
        found, row = trained("screened", call_again, word=pair.word)
    assert vars(found)["_captured"] is not None
    assert vars(found)["_spills"] >= 1
    assert row == pytest.approx(expected_row, rel=1e-6)
    assert off(found, expected) < 1e-6
