"""Optimizers, schedules, clipping and averages as a trainer uses them: resumed, recorded, logged."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from dregcli import LatentModel, standard_normal
from dregcli.engine.captured import record_graph
from dregcli.engine.optimisation import RAW, Optimisation, parse_optimizer, parse_schedule
from dregcli.engine.programs.contract import Draw, Given
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.training import Trainer
from dregcli.engine.training_state import TrainerState
from tests.engine.test_captured import call_again
from tests.support.exact import small_vae
from tests.support.plain_models import small_data
from tests.support.small_training import DENSE, SCREENED, STL, binary_examples, small_trainer, take

COSINE: dict[str, Any] = {
    "schedule": parse_schedule("cosine"),
    "warmup_steps": 3,
    "steps": 12,
    "grad_clip": 0.5,
    "ema": 0.8,
    "lr_posterior": 0.002,
}


def _trainer(word: str = "adamw", *, how: dict[str, Any] | None = None, **settings: Any) -> Trainer:
    optimisation = Optimisation(optimizer=parse_optimizer(word), **(COSINE if how is None else how))
    return small_trainer(optimisation=optimisation, execution=SCREENED, **settings)


def _same(found: TrainerState, expected: TrainerState) -> bool:
    """To the bit."""
    pairs = ((found.model, expected.model), (found.optimizer, expected.optimizer))
    return found.window == expected.window and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs
    )


@pytest.mark.parametrize("word", ["adamw", "adam:amsgrad=true", "sgd:momentum=0.9", "nadam"])
def test_a_run_with_everything_continues_to_the_last_bit(word: str) -> None:
    straight = take(_trainer(word), 12).state()
    state = take(_trainer(word), 5).state()
    second = _trainer(word)
    second.load(state.step, state.model, state.optimizer, state.window)
    assert _same(take(second, 7).state(), straight)


class _Named(LatentModel):
    """Parameters with the names under which a state keeps other tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((12, 2), 0.1))
        self.estimator, self.tracked = (nn.Parameter(torch.zeros(count)) for count in (2, 12))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", Independent(Normal(x.flatten(1) @ self.raw + self.estimator, 1.0), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        return Independent(Bernoulli(logits=z["z"] @ self.raw.mT + self.tracked), 1)


@pytest.mark.parametrize("word", ["adam", "rmsprop"])
def test_a_parameter_may_have_the_name_of_a_part_of_the_state(word: str) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(0)
        model = ProgramModel(_Named(), small_data(1, 3, 4))
        return _trainer(word, model=model, tracked=[STL])

    straight = take(trainer(), 12).state()
    state = take(trainer(), 5).state()
    second = trainer()
    second.load(state.step, state.model, state.optimizer, state.window)
    assert _same(take(second, 7).state(), straight)
    assert {name for name in straight.optimizer if name.startswith(RAW)} == {f"raw/{name}" for name in straight.model}


@pytest.mark.parametrize("forgotten", ["schedule", "warmup_steps", "grad_clip", "ema", "lr_posterior"])
def test_each_setting_changes_the_run(forgotten: str) -> None:
    whole = take(_trainer(), 12).state()
    other = take(_trainer(how={key: value for key, value in COSINE.items() if key != forgotten}), 12).state()
    assert any(not torch.equal(whole.model[name], other.model[name]) for name in whole.model)


def test_the_default_is_adam_with_a_constant_rate() -> None:
    """The same work as before there was a choice, to the last bit."""
    found = take(small_trainer(optimisation=Optimisation(), execution=DENSE), 6).state()
    assert _same(found, take(small_trainer(execution=DENSE), 6).state())
    assert not [name for name in found.optimizer if name.startswith(RAW)]


@pytest.mark.parametrize("word", ["adamw", "sgd:momentum=0.9"])
def test_a_recorded_step_has_the_rate_of_its_own_step(word: str) -> None:
    """Only an optimizer that reads nothing on the host is recorded."""
    found, expected = _trainer(word, record=call_again), _trainer(word)
    found.warm_up()
    assert (vars(found)["_captured"] is not None) == found.records == (word == "adamw")
    a, b = take(found, 12).state(), take(expected, 12).state()
    for name, each in b.model.items():
        torch.testing.assert_close(a.model[name], each, rtol=1e-4, atol=1e-6)


def test_a_recorded_rate_that_never_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong twin: the rate of the step that was recorded."""
    found, expected = _trainer(record=call_again), _trainer()
    found.warm_up()
    monkeypatch.setattr(found.trained.updates, "set_step", lambda step: None)
    a, b = take(found, 12).state(), take(expected, 12).state()
    assert any((a.model[name] - each).abs().max() > 1e-3 for name, each in b.model.items())


def test_a_checkpoint_holds_the_weights_that_evaluations_use() -> None:
    trainer = take(_trainer(), 5)
    raw = {name: each.clone() for name, each in trainer.model.state_dict().items()}
    state = trainer.state()
    with trainer.trained.evaluated():
        assert all(torch.equal(each, state.model[name]) for name, each in trainer.model.state_dict().items())
    assert all(torch.equal(each, raw[name]) for name, each in trainer.model.state_dict().items())
    assert all(torch.equal(state.optimizer[RAW + name], each) for name, each in raw.items())
    assert any(not torch.equal(state.model[name], each) for name, each in raw.items())


def test_a_row_has_the_last_rate_and_the_share_of_clipped_steps() -> None:
    trainer = take(_trainer(), 2)
    row = trainer.row()
    assert row["lr"] == pytest.approx(0.01 * 2 / 3 * parse_schedule("cosine").factor(steps=12, steps_per_epoch=1)(1))
    assert row["lr_posterior"] == pytest.approx(0.2 * row["lr"])
    assert row["clipped"] == 1.0
    loose = take(_trainer(how={"grad_clip": 1e6}), 2).row()
    assert loose["clipped"] == 0.0
    assert "lr" not in loose
    usual = take(small_trainer(), 2).row()
    assert not {"clipped", "lr", "lr_posterior"} & usual.keys()
    first, second = (take(each, 1).row() for each in (_trainer(how={"grad_clip": 0.1}), _trainer(how={})))
    assert first["model_gradient_norm"] == second["model_gradient_norm"], "of the gradient before it was limited"


def test_what_an_estimator_learns_follows_the_schedule() -> None:
    """The first step of Adam is the rate itself, whatever the slope."""
    rates: list[float] = []
    for warmup in (0, 10):
        trainer = small_trainer(word="dreg-cv", optimisation=Optimisation(warmup_steps=warmup), execution=DENSE)
        before = trainer.trained.learned.values()
        take(trainer, 1)
        moved = [abs(value - before[name]) for name, value in trainer.trained.learned.values().items()]
        rates.append(max(moved))
    assert rates == pytest.approx([0.01, 0.001], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("word", ["adam", "adamw", "sgd:momentum=0.9", "nadam"])
def test_a_graph_reads_the_numbers_of_its_own_step(word: str) -> None:
    """With everything: the rates, the limit of the gradient and the average, to the last bit."""
    finals: list[TrainerState] = []
    for record in (record_graph, None):
        trainer = _trainer(
            word, model=small_vae().float().to("cuda"), stored=binary_examples().to("cuda"), record=record
        )
        trainer.warm_up()
        finals.append(take(trainer, 12).state())
    assert _same(*finals)
