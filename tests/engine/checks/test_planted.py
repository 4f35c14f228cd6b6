"""Each planted fault is found, at its line; sound models have no finding."""

import linecache
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.checks.check import Checked, check_module
from dregcli.engine.models.vae import Vae
from dregcli.engine.programs.contract import ModelData
from dregcli.names import DataKind, Severity
from tests.support import planted_models as planted
from tests.support.plain_models import PlainVae, Shared, SmallModel, TwoLayers, small_data
from tests.support.planted_models import ON_BINARY, ON_INTENSITY, Planted, Sound
from tests.support.program_zoo import PATHS, SCORES
from tests.support.program_zoo import pixels_of as zoo_pixels

BLACK = 6
"""Number of an example without any light."""


@cache
def checked(
    make: Callable[[ModelData], nn.Module], kind: DataKind = DataKind.BINARY, *, thorough: bool = True
) -> Checked:
    torch.manual_seed(0)
    data = small_data(kind=kind)
    return check_module(make(data), data, pixels_of(data), thorough=thorough)


def pixels_of(data: ModelData) -> Tensor:
    uniform = torch.rand(8, 16, generator=torch.Generator().manual_seed(0))
    pixels = (uniform < data.mean.flatten()).float()
    pixels[BLACK] = 0.0
    if data.kind is DataKind.INTENSITY:
        pixels = torch.round(pixels * uniform * 255.0) / 255.0
    return pixels


def keys(found: Checked) -> set[str]:
    return {each.key for each in found.findings}


def cases(table: dict[Planted, str]) -> Any:
    return pytest.mark.parametrize(
        ("make", "wanted"), table.items(), ids=lambda each: getattr(each, "__name__", each)
    )


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, of reentrant checkpoints
@cases(ON_BINARY)
def test_a_planted_fault_is_found_alone(make: Planted, wanted: str) -> None:
    found = checked(make)
    assert keys(found) == set(wanted.split())
    assert all(each.what.endswith(".") or ": " in each.what for each in found.findings)


@cases(ON_INTENSITY)
def test_a_likelihood_that_does_not_fit_grey_levels_is_found(make: Planted, wanted: str) -> None:
    found = checked(make, DataKind.INTENSITY)
    assert [f"{each.severity}: {each.key}" for each in found.findings] == [wanted]


LINES: dict[Planted, tuple[str, str | None]] = {
    planted.BatchNormInDecoder: ("# mixes rows", "decoder.1 (BatchNorm1d)"),
    planted.MeanOverSamples: ("# mixes samples", "torch function sub"),
    planted.DetachedLatent: ("# cut", "torch function detach"),
    planted.DetachedPosterior: ("# cut", "torch function detach"),
    planted.NoGradDecoder: ("# cut", "decoder.0 (Linear)"),
    planted.DetachedSamples: ("# cut", "torch function detach"),
    planted.DetachedDensity: ("# cut", "torch function detach"),
    planted.DetachedEarlierLatent: ("# cut", "torch function detach"),
    planted.NumbersOfAParameter: ("# cut", "torch function __float__"),
    planted.TransposedReshape: ("transpose", "torch function reshape"),
    planted.SoftmaxOverExamples: ("softmax", "torch function softmax"),
    planted.DividesByLight: ("# breaks", "torch function div"),
    planted.HalfLogits: (".half()", "torch function half"),
    planted.Dropout: ("self.decoder", "decoder.2 (Dropout)"),
    planted.NoPrior: ("return", None),
    planted.Fails: ("# not flattened", None),
}


@pytest.mark.parametrize("make", LINES, ids=lambda each: each.__name__)
def test_the_line_is_named(make: Planted) -> None:
    marker, part = LINES[make]
    place = checked(make).findings[0].place
    assert place is not None
    assert marker in linecache.getline(place.file, place.line)
    assert place.part == part


SOUND: dict[str, Callable[[ModelData], nn.Module]] = {
    "plain twin of the vae": lambda data: PlainVae(
        Vae(data.mean.flatten(), hidden=(5,), latent_dim=2, generator=torch.Generator())
    ),
    "sound": Sound,
    "frozen": planted.FrozenEncoder,
    "dropout in the posterior": planted.DropoutInPosterior,
    "a recurrent decoder": planted.Recurrent,
    "a constant prior": planted.ConstantPrior,
    "a leaf of each run": planted.DifferentiatesInside,
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_has_no_finding(name: str) -> None:
    assert checked(SOUND[name]).findings == []


@pytest.mark.parametrize("name", {**PATHS, **SCORES})
def test_no_model_of_the_zoo_has_a_finding(name: str) -> None:
    model = {**PATHS, **SCORES}[name]()
    assert check_module(model.module.float(), model.data, zoo_pixels(model, 6)).findings == []


def test_faults_of_both_programs_come_at_once() -> None:
    assert keys(checked(planted.TwoFaults)) == {"shape", "random-model"}


def test_the_examples_that_are_not_finite_are_named() -> None:
    data = small_data()
    torch.manual_seed(0)
    numbers = [100 + i for i in range(8)]
    found = check_module(planted.DividesByLight(data), data, pixels_of(data), numbers=numbers)
    assert f"1 of 8 examples: {100 + BLACK}." in found.findings[0].what


def test_binary_data_outside_0_and_1_are_found() -> None:
    data = small_data()
    pixels = pixels_of(data)
    pixels[3, 5] = 0.5
    found = check_module(Sound(data), data, pixels)
    assert keys(found) == {"values", "likelihood"}
    assert "1 of 8 examples have values other than 0 and 1: 3." in found.findings[0].what


def test_weights_buffers_gradients_and_generators_stay_as_they_are() -> None:
    data = small_data()
    torch.manual_seed(0)
    for make in (planted.BatchNormInDecoder, planted.SpectralNorm, planted.CountingBuffer):
        model = make(data)
        before = {name: each.clone() for name, each in model.state_dict().items()}
        state = torch.get_rng_state()
        check_module(model, data, pixels_of(data))
        assert torch.equal(state, torch.get_rng_state())
        assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
        assert all(each.grad is None for each in model.parameters())
        assert model.training


def test_the_owner_of_each_parameter_is_reported() -> None:
    found = checked(Shared)
    assert found.parameters is not None
    assert found.parameters.theta == ("weight", "bias")
    assert found.parameters.phi == ("weight", "raw")
    assert found.parameters.shared == ("weight",)
    assert checked(planted.UnreachedParameter).parameters.unreached == ("forgotten.weight", "forgotten.bias")  # pyright: ignore[reportOptionalMemberAccess]
    assert set(checked(planted.FrozenEncoder).parameters.frozen) == {"encoder.0.weight", "encoder.0.bias"}  # pyright: ignore[reportOptionalMemberAccess]


def test_latents_are_reported() -> None:
    (latent,) = checked(lambda data: SmallModel(data, "categorical")).latents
    assert (latent.name, latent.shape, latent.q, latent.p) == ("z", (2,), "OneHotCategorical", "OneHotCategorical")
    assert not latent.has_path
    assert checked(TwoLayers).likelihood == "Bernoulli"
    assert [(each.name, each.has_path) for each in checked(TwoLayers).latents] == [("z1", True), ("z2", True)]


def test_a_batch_of_one_example_is_enough() -> None:
    data = small_data()
    torch.manual_seed(0)
    for make, wanted in ((Sound, set[str]()), (planted.BatchNormInDecoder, {"rows"})):
        assert keys(check_module(make(data), data, pixels_of(data)[:1])) == wanted


def test_only_warnings_are_no_errors() -> None:
    found = checked(planted.UnreachedParameter)
    assert [each.severity for each in found.findings] == [Severity.WARNING]
    assert found.errors == []


def test_a_sound_distribution_of_grey_levels_has_no_finding() -> None:
    assert checked(planted.OwnLevels, DataKind.INTENSITY).findings == []
