"""Small models as a user writes them, and the plain twin of the built-in VAE."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    StudentT,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform, TanhTransform

from dregcli.engine.models.vae import Vae
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, rows, standard_normal
from dregcli.names import DataKind

SIDE = 4


def small_data(*shape: int, kind: DataKind = DataKind.BINARY) -> ModelData:
    """Statistics of imaginary data; images of one channel with four rows and columns if no shape is given."""
    shape = shape or (1, SIDE, SIDE)
    count = torch.Size(shape).numel()
    mean = torch.linspace(0.2, 0.7, count).reshape(shape)
    return ModelData(shape, kind, 255 if kind is DataKind.INTENSITY else 1, mean, torch.full(shape, 0.5))


class PlainVae(LatentModel):
    """The built-in VAE written as two programs, with its parameters."""

    mean: Tensor

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.register_buffer("mean", vae.mean)
        self.encoder, self.decoder = (sequential(each) for each in (vae.encoder, vae.decoder))
        self.latent_dim = vae.latent_width

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x.flatten(1) - self.mean)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(self.latent_dim))
        return Independent(Bernoulli(logits=self.decoder(z["z"])), 1)


def sequential(layers: Iterable[nn.Module]) -> nn.Sequential:
    every: list[nn.Module] = []
    for layer in layers:
        every += [layer, nn.Tanh()]
    return nn.Sequential(*every[:-1])


class ConvVae(LatentModel):
    """A convolutional decoder on small images."""

    def __init__(self, data: ModelData, latent_dim: int = 2, channels: int = 2) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        count = torch.Size(data.shape).numel()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(count, 2 * latent_dim))
        half = data.shape[1] // 2, data.shape[2] // 2
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, channels * half[0] * half[1]),
            nn.Tanh(),
            nn.Unflatten(1, (channels, *half)),
            nn.ConvTranspose2d(channels, data.shape[0], 2, stride=2),
        )

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", gaussian(self.encoder(x)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(self.latent_dim))
        return Independent(Bernoulli(logits=rows(self.decoder, z["z"])), 3)


class SmallModel(LatentModel):
    """One latent with any posterior, computed by a linear layer, and a linear decoder.

    Args:
        data: the data.
        family: name of the posterior's family.
    """

    def __init__(self, data: ModelData, family: str = "normal") -> None:
        super().__init__()
        self.width = 2
        count = torch.Size(data.shape).numel()
        self.encoder = nn.Linear(count, 8)
        self.decoder = nn.Linear(self.width, count)
        self.family = family
        self.prior = nn.Parameter(torch.tensor([0.1, -0.2]))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        draw("z", _FAMILIES[self.family](self.encoder(x.flatten(1))))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", _prior(self.family, self.prior))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z"]))), 1)


def _prior(family: str, parameter: Tensor) -> Distribution:
    if family == "categorical":
        return OneHotCategorical(logits=parameter)
    if family == "bernoulli":
        return Independent(Bernoulli(logits=parameter), 1)
    if family == "lognormal":
        return Independent(LogNormal(parameter, torch.ones(2).to(parameter)), 1)
    if family == "squashed":
        base = Independent(Normal(parameter, torch.ones(2).to(parameter)), 1)
        return TransformedDistribution(base, [TanhTransform(cache_size=1)])
    return Independent(Normal(parameter, torch.ones(2).to(parameter)), 1)


def _positive(values: Tensor) -> Tensor:
    return nn.functional.softplus(values) + 0.3


def _full(outputs: Tensor) -> Distribution:
    zero = torch.zeros_like(outputs[..., 0])
    factor = torch.stack(
        [
            torch.stack([_positive(outputs[..., 2]), zero], -1),
            torch.stack([outputs[..., 4], _positive(outputs[..., 3])], -1),
        ],
        -2,
    )
    return MultivariateNormal(outputs[..., :2], scale_tril=factor)


def _flow(outputs: Tensor) -> Distribution:
    base = Independent(Normal(outputs[..., :2], _positive(outputs[..., 2:4])), 1)
    return TransformedDistribution(
        base, [TanhTransform(), AffineTransform(outputs[..., 4:6], _positive(outputs[..., 6:8]), 1)]
    )


def _located(family: Any) -> Callable[[Tensor], Distribution]:
    return lambda outputs: Independent(family(outputs[..., :2], _positive(outputs[..., 2:4])), 1)


def _student(outputs: Tensor) -> Distribution:
    return Independent(StudentT(5.0, outputs[..., :2], _positive(outputs[..., 2:4])), 1)


def _diagonal(outputs: Tensor) -> Distribution:
    return gaussian(outputs[..., :4])


def _squashed(outputs: Tensor) -> Distribution:
    return TransformedDistribution(gaussian(outputs[..., :4]), [TanhTransform(cache_size=1)])


def _categorical(outputs: Tensor) -> Distribution:
    return OneHotCategorical(logits=outputs[..., :2])


def _bernoulli(outputs: Tensor) -> Distribution:
    return Independent(Bernoulli(logits=outputs[..., :2]), 1)


_FAMILIES: dict[str, Callable[[Tensor], Distribution]] = {
    "normal": _diagonal,
    "full": _full,
    "laplace": _located(Laplace),
    "student": _student,
    "lognormal": _located(LogNormal),
    "squashed": _squashed,
    "flow": _flow,
    "categorical": _categorical,
    "bernoulli": _bernoulli,
}


class Shared(LatentModel):
    """One matrix for both q and p: the encoder's weight is the decoder's, transposed."""

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.weight = nn.Parameter(0.3 * torch.randn(count, 2))
        self.raw = nn.Parameter(torch.zeros(2))
        self.bias = nn.Parameter(torch.zeros(count))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        loc = x.flatten(1) @ self.weight
        draw("z", Independent(Normal(loc, _positive(self.raw).expand_as(loc)), 1))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z", standard_normal(2))
        return Independent(Bernoulli(logits=z["z"] @ self.weight.mT + self.bias), 1)


class TwoLayers(LatentModel):
    """Two latents, bottom-up in q; the top one's family may have no normals to map."""

    def __init__(self, data: ModelData, top: str = "normal") -> None:
        super().__init__()
        count = torch.Size(data.shape).numel()
        self.q1, self.q2 = nn.Linear(count, 4), nn.Linear(2, 4)
        self.p1, self.decoder = nn.Linear(2, 4), nn.Linear(2, count)
        self.top = top

    def posterior(self, x: Tensor, draw: Draw) -> None:
        z1 = draw("z1", gaussian(self.q1(x.flatten(1))))
        outputs = self.q2(torch.tanh(z1))
        draw("z2", _FAMILIES[self.top](outputs))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        given("z2", standard_normal(2))
        given("z1", gaussian(self.p1(z["z2"])))
        return Independent(Bernoulli(logits=self.decoder(torch.tanh(z["z1"]))), 1)
