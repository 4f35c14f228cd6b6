"""What modules have beside plain parameters: shared, tied, frozen and normalised ones, buffers, two roles at once."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.checks.check import check_module
from dregcli.engine.dreams import Dreams
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, standard_normal
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.tracking import TRACKED
from dregcli.engine.training import Trainer
from dregcli.errors import SpecError
from tests.support import planted_models as planted
from tests.support.exact import relative_distance
from tests.support.plain_models import SmallModel, small_data
from tests.support.program_oracle import drawn, far, naive
from tests.support.program_zoo import PATHS, SCORES, made, pixels_of
from tests.support.small_training import SCREENED, K, small_trainer, take

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


class Experts(LatentModel):
    """A model whose parts depend on the example and on the mode: the trial reaches only the first expert of each."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([nn.Linear(16, 4), nn.Linear(16, 4)])
        self.decoders = nn.ModuleList([nn.Linear(2, 16), nn.Linear(2, 16)])
        self.only_in_training = nn.Linear(16, 4)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        x = x.flatten(1)
        outputs = _of_some(x[:, 0] > 0.5, x, *self.encoders)
        draw("z", gaussian(outputs + self.only_in_training(x) if self.training else outputs))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        return Independent(Bernoulli(logits=_of_some(z["z"][..., 0] > 2.0, z["z"], *self.decoders)), 1)


class SharedBySome(Experts):
    """The second expert of q is also a part of p, but not where the trial looks."""

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        logits = self.decoders[0](z["z"])
        return Independent(Bernoulli(logits=_of_some(z["z"][..., 0] > 2.0, logits, nn.Identity(), self.top)), 1)

    def top(self, logits: Tensor) -> Tensor:
        return logits + self.encoders[0](logits).sum(-1, keepdim=True)


class BorrowedBySome(Experts):
    """For some examples, q also uses a part of p."""

    def posterior(self, x: Tensor, draw: Draw) -> None:
        x = x.flatten(1)
        first = self.encoders[0]
        draw("z", gaussian(_of_some(x[:, 0] > 0.5, x, first, lambda values: first(values) + self.borrowed())))

    def borrowed(self) -> Tensor:
        return cast("nn.Linear", self.decoders[0]).bias[:4]


def _of_some(mask: Tensor, values: Tensor, first: nn.Module, second: Callable[[Tensor], Tensor]) -> Tensor:
    found = first(values)
    return found.index_put((mask,), second(values[mask])) if mask.any() else found


def experts(kind: type[Experts] = Experts) -> ProgramModel:
    """In training mode; samples of bright examples go to the second decoder."""
    model = made(kind)
    with torch.no_grad():
        cast("Any", model.module).encoders[1].bias[0] = 3.0
    return model


@pytest.mark.parametrize("word", ["iwae/dreg", "iwae/reparam", "rws/dreg", "iwae/vimco"])
@pytest.mark.parametrize("execution", [Execution(), Execution(k_chunk=16)])
def test_what_the_trial_does_not_reach_learns_from_the_batches_that_reach_it(word: str, execution: Execution) -> None:
    model = experts()
    assert model.unreached == [
        *("encoders.1.weight", "encoders.1.bias", "decoders.1.weight", "decoders.1.bias"),
        *("only_in_training.weight", "only_in_training.bias"),
    ]
    x, pair = pixels_of(model, 4), resolve_pair(*word.split("/"), 20)
    assert len(x[:, 0].unique()) == 2
    draws = drawn(model, k=20, batch=len(x))
    found = Step(model, x, draws, execution).gradients(pair)
    assert far(found, naive(model, x, draws, pair)) < 1e-10
    assert all(each.any() for each in found.whole().values())
    assert found.whole().keys() == dict(model.module.named_parameters()).keys()


def test_a_part_of_a_gradient_that_the_trial_did_not_see_is_refused() -> None:
    """A parameter that the trial found in q alone has no gradient by log p, even if a later batch needs it."""
    model = experts(SharedBySome)
    x, pair = pixels_of(model, 4), resolve_pair("iwae", "dreg", 4)
    with pytest.raises(
        SpecError, match=r"log p\(x, z\) depends on encoders.0.weight, encoders.0.bias for this batch"
    ):
        Step(model, x, drawn(model, k=4, batch=len(x)), Execution()).gradients(pair)
    model = experts(BorrowedBySome)
    with pytest.raises(SpecError, match=r"q\(z \| x\) depends on decoders.0.bias for this batch"):
        Step(model, x, drawn(model, k=4, batch=len(x)), Execution()).gradients(pair)
    dreams = Dreams(x, {"z": torch.zeros(1, len(x), 2, dtype=x.dtype)})
    with pytest.raises(SpecError, match=r"q\(z \| x\) depends on decoders.0.bias for this batch"):
        model.log_posterior(dreams)


@pytest.mark.parametrize("kind", [planted.PlainList, planted.PlainTensor, planted.LearnedBuffer])
def test_tensors_that_would_never_learn_are_refused(kind: Callable[[ModelData], nn.Module]) -> None:
    with pytest.raises(SpecError, match=r"no parameters of the module, of shape \((2|4),"):
        ProgramModel(kind(small_data()), small_data())
    ProgramModel(planted.DifferentiatesInside(small_data()), small_data())


class FromTheFirstInput(planted.Sound):
    """A layer that sets itself from its first input in training mode, as an ActNorm does."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.shift = nn.Parameter(torch.zeros(4))
        self.register_buffer("is_set", torch.zeros(()))

    def q(self, outputs: Tensor) -> Distribution:
        if self.training and not self.is_set:
            self.shift.data.copy_(-outputs.detach().mean(0))
            self.is_set.fill_(1.0)
        return gaussian(outputs + self.shift)


def test_a_trial_and_checks_set_no_parameter() -> None:
    module = FromTheFirstInput(small_data())
    ProgramModel(module, small_data())
    pixels = (torch.rand(6, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    check_module(module, small_data(), pixels)
    assert not any(each.any() for each in (module.shift, module.is_set))


class CountsBatches(FromTheFirstInput):
    """Replaces buffers by others: a running statistic, and one that gets its size from the first input."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.empty(0))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        if self.training:
            self.count = self.count + 1
        self.last = x.flatten(1).mean(0)
        super().posterior(x, draw)


def test_only_steps_move_running_statistics() -> None:
    """A process that continues a run warms up once more, and a pass in training mode checks each checkpoint."""
    pixels = (torch.rand(20, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    module = CountsBatches(small_data())
    cold, resumed, warm = (
        small_trainer(model=ProgramModel(each, small_data()), stored=pixels)
        for each in (copy.deepcopy(module), copy.deepcopy(module), module)
    )
    warm.warm_up()
    assert not any(each.any() for each in (module.count, module.is_set, module.shift))
    assert module.last.shape == (16,)
    take(warm, 2)
    warm.check(state := warm.state())
    assert (module.count.item(), module.is_set.item()) == (2, 1)
    take(warm, 1)
    resumed.load(state.step, state.model, state.optimizer, state.window)
    resumed.warm_up()
    take(resumed, 1)
    assert _equal(warm.state().model, resumed.state().model)
    assert _equal(warm.state().model, take(cold, 3).state().model)


class Spare(SmallModel):
    """Has parameters that nothing reaches, and in a subclass one that the first step alone reaches."""

    is_late = False

    def __init__(self, data: ModelData) -> None:
        super().__init__(data)
        self.spare = nn.Linear(30, 30)
        self.register_buffer("steps", torch.zeros(()))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        if self.training and self.is_late and not self.steps:
            x = x * self.spare.bias.exp().prod()
        if self.training:
            self.steps = self.steps + 1
        super().posterior(x, draw)


class Late(Spare):
    is_late = True


def test_what_nothing_reaches_is_no_coordinate_of_a_tracked_gradient() -> None:
    """Neither after a resume: the state has no part of it."""
    pixels = (torch.rand(20, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def of(kind: type[SmallModel]) -> Trainer:
        torch.manual_seed(0)
        model = ProgramModel(kind(small_data()), small_data())
        return small_trainer(model=model, stored=pixels, tracked=[resolve_pair("iwae", "stl", K)])

    rows = {SmallModel: take(of(SmallModel), 3).row()}
    for kind, known in ((Spare, set[str]()), (Late, {"spare.bias"})):
        whole, resumed = take(of(kind), 2), of(kind)
        assert set(whole.model.unreached) == {"spare.weight", "spare.bias"}
        state = whole.state()
        found = {
            part
            for name in state.optimizer
            for part in whole.model.unreached
            if name.startswith(TRACKED) and part in name
        }
        assert found == known
        resumed.load(state.step, state.model, state.optimizer, state.window)
        rows[kind] = take(whole, 1).row()
        assert rows[kind] == take(resumed, 1).row()
    assert rows[SmallModel] == rows[Spare]
    assert rows[Late]["stl.posterior_variance"] != rows[Spare]["stl.posterior_variance"], "30 more coordinates"


class Watched(planted.Recurrent):
    """Notes whether cuDNN may compute its recurrent layer."""

    def hidden(self, z: Tensor) -> Tensor:
        self.seen = torch.backends.cudnn.enabled
        return super().hidden(z)


def test_recurrent_layers_in_evaluation_mode_are_not_cudnns_where_there_are_gradients() -> None:
    module = Watched(small_data())
    model = ProgramModel(module, small_data())
    z, seen = {"z": torch.zeros(1, 2, 2)}, list[bool]()
    for training, graph in ((True, True), (True, False), (False, True), (False, False)):
        model.train(training)
        with torch.set_grad_enabled(graph):
            model.model_program(z, lambda name, prior: None)
        seen.append(module.seen)
    assert seen == [True, True, False, True]
    assert torch.backends.cudnn.enabled


@pytest.mark.gpu
def test_recurrent_layers_in_evaluation_mode_have_gradients_on_a_gpu() -> None:
    """Otherwise: cudnn RNN backward can only be called in training mode."""
    module, found = planted.Recurrent(small_data()), list[dict[str, Tensor]]()
    for device in ("cpu", "cuda"):
        model = ProgramModel(module.to(device), small_data()).eval()
        x = pixels_of(model).float().to(device)
        z = torch.linspace(-1.0, 1.0, 4 * len(x) * 2, device=device).reshape(4, len(x), 2)
        log_p = model.densities.log_joint({"z": z}, x)
        named = {name: each for name, each in module.named_parameters() if not name.startswith("encoder")}
        gradients = torch.autograd.grad(log_p.sum(), list(named.values()))
        found.append({name: each.cpu() for name, each in zip(named, gradients, strict=True)})
    assert relative_distance(found[1], found[0]) < 1e-3


def test_a_reentrant_checkpoint_is_refused() -> None:
    with pytest.raises(SpecError, match="checkpoint with use_reentrant=True"):
        ProgramModel(planted.ReentrantCheckpoint(small_data()), small_data())


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
