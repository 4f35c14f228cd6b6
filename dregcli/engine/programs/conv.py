"""The built-in convolutional VAE, written as any user's model is."""

from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from dregcli.engine.likelihoods import fitting, make_likelihood
from dregcli.engine.programs.contract import Draw, Given, LatentModel, ModelData, gaussian, rows, standard_normal
from dregcli.engine.programs.pixels import Pixels
from dregcli.errors import Fault, SpecError
from dregcli.names import LikelihoodName


class ConvVae(LatentModel):
    """A VAE for images of any size, with two convolutions in each network and a standard normal prior.

    Each convolution halves height and width, and each transposed convolution doubles them. The likelihood is the
    built-in VAE's default for the kind of the data: Bernoulli for binary pixels, the discretised logistic for
    intensities with levels, and otherwise a Gaussian whose mean and scale are learned.

    Args:
        data: shape and statistics of the data; the shape is (channels, height, width).
        latent_dim: number of latent dimensions, Z.
        channels: channels after the first convolution; there are twice as many after the second one.

    Raises:
        SpecError: an option is below 1, or the data are no images.
    """

    mean: Tensor
    unit: Tensor

    def __init__(self, data: ModelData, latent_dim: int = 32, channels: int = 32) -> None:
        super().__init__()
        _require(data, latent_dim=latent_dim, channels=channels)
        self._shape, self._latent_dim = data.shape, latent_dim
        name = fitting(data.kind, data.levels)[0]
        mean, spread = data.mean.flatten(), data.spread.flatten()
        self._is_bernoulli = name is LikelihoodName.BERNOULLI
        self.likelihood = make_likelihood(name, spread=spread, levels=data.levels)
        self.register_buffer("mean", data.mean.clone())
        self.register_buffer("unit", data.spread.clone() if self.likelihood.standardises else torch.ones(data.shape))
        seen, *size = data.shape
        half = [_halved(each) for each in size]
        quarter = [_halved(each) for each in half]
        deep = 2 * channels
        self.encoder = nn.Sequential(
            _down(seen, channels),
            nn.ReLU(),
            _down(channels, deep),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(deep * prod(quarter), 2 * latent_dim),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, deep * prod(quarter)),
            nn.ReLU(),
            nn.Unflatten(1, (deep, *quarter)),
            _up(deep, channels, half),
            nn.ReLU(),
            _up(channels, seen * self.likelihood.outputs_per_pixel, size, bias=False),
            nn.Flatten(),
        )
        # One bias for each pixel, so that training starts from the mean image.
        self.output_bias = nn.Parameter(self.likelihood.initial_bias(mean))

    def posterior(self, x: Tensor, draw: Draw) -> None:
        """Draw z from a diagonal Gaussian."""
        draw("z", gaussian(self.encoder((x - self.mean) / self.unit)))

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Return the distribution of the pixels."""
        given("z", standard_normal(self._latent_dim))
        outputs = rows(self.decoder, z["z"]) + self.output_bias
        if self._is_bernoulli:
            logits = outputs.reshape(*outputs.shape[:-1], *self._shape)
            return Independent(Bernoulli(logits=logits, validate_args=False), 3, validate_args=False)
        return Pixels(self.likelihood, outputs, self._shape)


def _require(data: ModelData, **options: int) -> None:
    faults = [Fault(name, f"must be at least 1, got {value}.") for name, value in options.items() if value < 1]
    if len(data.shape) != 3:
        message = f"conv needs data of shape (channels, height, width), got {data.shape}."
        faults.append(Fault("model", message))
    if faults:
        raise SpecError(faults)


def _halved(size: int) -> int:
    """Return the number of pixels of a side after a convolution."""
    return (size + 1) // 2


def _down(channels: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, 3, stride=2, padding=1)


def _up(channels: int, outputs: int, size: list[int], *, bias: bool = True) -> nn.ConvTranspose2d:
    """Return a transposed convolution to images of this height and width, from images of half of it, rounded up."""
    height, width = size
    more = (1 - height % 2, 1 - width % 2)
    return nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=more, bias=bias)
