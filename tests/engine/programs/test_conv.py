"""The built-in convolutional VAE: any image, any kind of data, and a start at the data's mean."""

import pytest
import torch
from torch import Tensor

from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.likelihoods import fitting, make_likelihood
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.conv import ConvVae
from dregcli.engine.programs.pixels import Pixels
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.errors import SpecError
from dregcli.names import DataKind
from tests.support.program_oracle import drawn
from tests.support.program_zoo import made, pixels_of
from tests.support.small_training import small_trainer, take
from tests.support.sweep import swept

SHAPES = ((1, 28, 28), (1, 8, 8), (3, 32, 32), (2, 7, 5), (1, 1, 3), (1, 2, 1))


def data_of(shape: tuple[int, ...], kind: DataKind, levels: int = 1) -> ModelData:
    count = torch.Size(shape).numel()
    mean, spread = torch.linspace(0.3, 0.7, count), torch.linspace(0.02, 0.05, count)
    return ModelData(shape, kind, levels, mean.reshape(shape), spread.reshape(shape))


KINDS = {
    "binary": (DataKind.BINARY, 1),
    "grey levels": (DataKind.INTENSITY, 255),
    "intensities without levels": (DataKind.INTENSITY, 1),
    "real": (DataKind.REAL, 1),
}


def small(data: ModelData) -> ProgramModel:
    return made(lambda each: ConvVae(each, latent_dim=3, channels=2), data)


@swept("shape", SHAPES)
def test_any_image_has_its_gradients(shape: tuple[int, ...]) -> None:
    model = small(data_of(shape, DataKind.REAL))
    x = pixels_of(model)
    found = Step(model, x, drawn(model, k=4, batch=len(x)), Execution()).gradients(resolve_pair("iwae", "dreg", 4))
    assert model.unreached == []
    assert all(torch.isfinite(each).all() for each in found.whole().values())
    assert found.model["output_bias"].all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_is_that_of_the_built_in_vae(kind: str) -> None:
    """By its value: the outputs are those of the decoder and the bias."""
    data = data_of((2, 4, 3), *KINDS[kind])
    model = small(data)
    likelihood = make_likelihood(fitting(*KINDS[kind])[0], spread=data.spread.flatten(), levels=data.levels).double()
    x = pixels_of(model)
    z = torch.linspace(-1.0, 1.0, 2 * len(x) * 3, dtype=torch.float64).reshape(2, len(x), 3)
    module = model.module
    assert isinstance(module, ConvVae)
    outputs = torch.stack([module.decoder(each) for each in z]) + module.output_bias
    p = module.model({"z": z}, lambda *_: None)
    assert torch.allclose(p.log_prob(x.reshape(-1, *data.shape)), likelihood.log_prob(outputs, x), rtol=1e-12)
    assert torch.allclose(p.mean, likelihood.mean(outputs).unflatten(-1, data.shape))


@swept("kind", KINDS)
def test_it_starts_at_the_mean_image(kind: str) -> None:
    """Where the decoder says nothing, the pixels' means are the data's."""
    data = data_of((2, 4, 3), *KINDS[kind])
    module = small(data).module
    assert isinstance(module, ConvVae)
    with torch.no_grad():
        for each in module.decoder.parameters():
            each.zero_()
    mean = module.model({"z": torch.ones(1, 1, 3, dtype=torch.float64)}, lambda *_: None).mean[0, 0]

    assert torch.allclose(mean, data.mean.double(), atol=1e-3)


def test_it_learns() -> None:
    model = small(data_of((1, 4, 4), DataKind.BINARY)).float()
    stored = torch.eye(4).repeat(5, 4)
    trainer = small_trainer(model=model, stored=stored, lr=0.05)
    bounds: list[Tensor] = []
    for steps in (1, 60, 1):
        take(trainer, steps)
        bounds.append(torch.tensor(trainer.row()["bound"]))
    assert bounds[-1] > bounds[0] + 2.0


def test_options_and_data_that_cannot_be() -> None:
    with pytest.raises(SpecError) as caught:
        ConvVae(data_of((4,), DataKind.REAL), latent_dim=0, channels=0)
    assert [fault.field for fault in caught.value.faults] == ["latent_dim", "channels", "model"]


def test_pixels_have_the_batch_shape_of_their_outputs() -> None:
    likelihood = make_likelihood(fitting(DataKind.REAL, 1)[0], spread=torch.ones(6), levels=1)
    p = Pixels(likelihood, torch.zeros(5, 4, 12), (1, 2, 3))
    assert (p.batch_shape, p.event_shape, p.mean.shape) == ((5, 4), (1, 2, 3), (5, 4, 1, 2, 3))
