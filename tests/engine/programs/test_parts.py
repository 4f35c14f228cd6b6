"""What modules have beside plain parameters: shared, tied, frozen and normalised ones, buffers, two roles at once."""

import pytest
import torch
from torch import Tensor

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from tests.support.program_oracle import drawn
from tests.support.program_zoo import PATHS, SCORES, pixels_of
from tests.support.small_training import SCREENED, small_trainer, take

ROLES = {
    "normal": (["decoder.bias", "decoder.weight", "prior"], ["encoder.bias", "encoder.weight"]),
    "VampPrior": (
        ["decoder.bias", "decoder.weight", "encoder.bias", "encoder.weight", "inputs"],
        ["encoder.bias", "encoder.weight"],
    ),
    "shared matrix": (["bias", "weight"], ["raw", "weight"]),
    "dressed": (
        [
            "bias",
            "change",
            *(
                "decoder.bias",
                "decoder.parametrizations.weight.original0",
                "decoder.parametrizations.weight.original1",
            ),
            *("first.bias", "first.weight", "norm.bias", "norm.weight", "second.bias"),
        ],
        [
            *(
                "encoder.bias",
                "encoder.parametrizations.weight.original0",
                "encoder.parametrizations.weight.original1",
            ),
        ],
    ),
    "discrete and continuous": (
        ["centres.bias", "centres.weight", "decoder.bias", "decoder.weight", "logits"],
        ["shift.bias", "shift.weight", "where.bias", "where.weight", "which.bias", "which.weight"],
    ),
}


@pytest.mark.parametrize("name", ROLES)
def test_theta_and_phi_are_found(name: str) -> None:
    model = {**PATHS, **SCORES}[name]()
    assert (sorted(model.model_parameters()), sorted(model.posterior_parameters())) == ROLES[name]
    assert model.unreached == []


@pytest.mark.parametrize("name", PATHS)
def test_the_state_is_the_modules_own(name: str) -> None:
    """With buffers and frozen parts; a model that is built again takes it whole."""
    model, other = PATHS[name](), PATHS[name]()
    assert list(model.state_dict()) == list(model.module.state_dict())
    with torch.no_grad():
        for each in other.parameters():
            each.add_(1.0)
    other.load_state_dict({name: each.clone() for name, each in model.state_dict().items()})
    x = pixels_of(model)
    draws, pair = drawn(model, k=4, batch=len(x)), resolve_pair("iwae", "dreg", 4)
    one, two = (Step(each, x, draws, Execution()).gradients(pair).whole() for each in (model, other))
    assert all(torch.equal(each, two[name]) for name, each in one.items())


def test_training_changes_all_but_frozen_parts_and_buffers() -> None:
    model = PATHS["dressed"]().float()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    trainer = take(small_trainer(model=model, stored=pixels_of(model, 10).float()), 3)
    after = trainer.state().model
    still = [name for name, each in before.items() if torch.equal(each, after[name])]
    assert still == [
        *("centre", "frozen.weight", "frozen.bias"),
        *("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"),
    ]
    assert torch.equal(after["first.weight"], after["second.weight"])


def test_the_encoder_of_a_vamp_prior_follows_the_sum_of_both_gradients() -> None:
    model = PATHS["VampPrior"]()
    x = pixels_of(model)
    found = Step(model, x, drawn(model, k=4, batch=len(x)), Execution()).gradients(resolve_pair("iwae", "dreg", 4))
    both = found.model["encoder.weight"], found.posterior["encoder.weight"]
    assert all(each.any() for each in both)
    assert torch.equal(found.whole()["encoder.weight"], both[0] + both[1])
    assert torch.equal(found.whole()["inputs"], found.model["inputs"])


@pytest.mark.parametrize("name", ["VampPrior", "two layers"])
def test_a_frozen_model_leaves_the_posteriors_gradient_as_it_is(name: str) -> None:
    model = PATHS[name]()
    x = pixels_of(model)
    draws, pair = drawn(model, k=4, batch=len(x)), resolve_pair("iwae", "reparam", 4)
    whole, alone = (
        Step(model, x, draws, Execution()).gradients(pair, train_model=train_model) for train_model in (True, False)
    )
    assert alone.model == {}
    assert all(torch.equal(each, alone.posterior[name]) for name, each in whole.posterior.items())


RESUMED = {
    "two layers, Laplace above": "dreg",
    "VampPrior": "dreg",
    "discrete and continuous": "vimco",
    "beta": "stl",
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_training_has_the_same_bits(name: str) -> None:
    def trainer():
        model = {**PATHS, **SCORES}[name]().float()
        x = pixels_of(model, 10).float()
        return small_trainer(model=model, stored=x, word=RESUMED[name], execution=SCREENED, k=20)

    whole = take(trainer(), 5)
    stopped = take(trainer(), 2).state()
    torch.rand(7)  # somebody else draws
    resumed = trainer()
    resumed.load(stopped.step, stopped.model, stopped.optimizer, stopped.window)
    take(resumed, 3)
    assert _equal(whole.state().model, resumed.state().model)
    assert not _equal(whole.state().model, stopped.model)


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(each, other[name]) for name, each in one.items())
