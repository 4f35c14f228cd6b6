"""Structured prediction: one part of an image given the other, by a learned conditional prior (arXiv 1810.04152)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents
from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.models.amortised import AmortisedModel
from dregcli.engine.models.networks import decode, gaussian_network, layer_of, network
from dregcli.engine.prior_rule import PriorRule
from dregcli.engine.rows import PLAIN_ROWS, Rows

Places = slice | Tensor
"""Places among the values of an image: a slice if they are consecutive."""


class ImageParts(NamedTuple):
    """The pixels that are given and the pixels that are predicted."""

    context: Places
    target: Places


def image_parts(pixels: int, *, context: int, channels: int = 1, crossed: bool = False) -> ImageParts:
    """Return the parts of an image.

    Args:
        pixels: number of all values of an image, D, channel after channel.
        context: number of values in the context, C: the first of each channel, or the last with ``crossed``.
        channels: number of channels of an image; each has the same share of both parts.
        crossed: see ``StructuredVae``.

    Raises:
        ValueError: a part would be empty, or channels would have different shares, or ``crossed`` parts would differ
            in size.
    """
    if not 0 < context < pixels:
        message = f"the context must be from 1 to {pixels - 1} of {pixels} pixels, got {context}"
        raise ValueError(message)
    if pixels % channels or context % channels:
        message = f"{channels} channels cannot share {pixels} pixels and a context of {context} equally"
        raise ValueError(message)
    first, second = _places(0, context, pixels, channels), _places(context, pixels, pixels, channels)
    if not crossed:
        return ImageParts(first, second)
    if 2 * context != pixels:
        message = f"crossed parts must be halves of equal size, got {context} of {pixels} pixels"
        raise ValueError(message)
    return ImageParts(second, first)


def _places(start: int, end: int, pixels: int, channels: int) -> Places:
    """Return the places from ``start`` up to ``end`` of ``pixels``, the same share in every channel."""
    if channels == 1:
        return slice(start, end)
    size = pixels // channels
    return torch.arange(pixels).reshape(channels, size)[:, start // channels : end // channels].flatten()


class StructuredVae(AmortisedModel):
    """A model p(x, z | c) = p(z | c) p(x | z, c) of target pixels x given context pixels c, with q(z | c, x).

    The prior is a diagonal Gaussian, computed from the centred context by a C - hidden - (Z means + Z raw scales)
    network. The likelihood's network takes z and the uncentred context (both as in the reference code); the encoder
    takes the whole image. Theta are the parameters of the likelihood's and the prior's networks.

    The likelihood network's first layer is one matrix for z and the context together, Xavier-uniform for their joint
    width. It is stored in two parts: ``decoder.0`` is applied to rows, ``context_layer`` once per example, since the
    K rows of an example have the same context.

    Args:
        mean: mean of each training pixel, shape (D,).
        context: number of pixels in the context, C: the first of each channel, the top of the image.
        hidden: sizes of the hidden layers: from the input on for encoder and prior, reversed for the decoder.
        latent_dim: number of latent dimensions, Z.
        generator: random generator of the initial weights.
        likelihood: likelihood of the target's pixels given the decoder's outputs; Bernoulli if it is not given.
        spread: divisor of centred pixels before encoder and prior, shape (D,). With it, the decoder too gets the
            context centred and divided, so that the model does not depend on the data's units. None leaves pixels
            unchanged.
        channels: number of channels of an image, which are stored one after the other.
        crossed: the reference code's variant, to compare with its published results. The parts change places, but
            the statistics do not: the context is the second half of the image and the target the first half, while
            the prior subtracts the first half's mean and the output's bias starts from the second half's mean.

    Raises:
        ValueError: the parts are impossible. See ``image_parts``.
    """

    def __init__(
        self,
        mean: Tensor,
        *,
        context: int,
        hidden: Sequence[int],
        latent_dim: int,
        generator: torch.Generator,
        likelihood: Likelihood | None = None,
        spread: Tensor | None = None,
        channels: int = 1,
        crossed: bool = False,
    ) -> None:
        parts = image_parts(mean.shape[0], context=context, channels=channels, crossed=crossed)
        super().__init__(
            mean,
            hidden=hidden,
            latent_dim=latent_dim,
            generator=generator,
            likelihood=Bernoulli() if likelihood is None else likelihood,
            spread=spread,
        )
        self.parts = parts
        # By position: with crossed parts this is the other part's mean, as in the reference code.
        self._context_mean, rest = image_parts(mean.shape[0], context=context, channels=channels)
        start = mean[rest]
        outputs = self.likelihood.outputs_per_pixel * start.shape[0]
        self.prior = network([context, *hidden, 2 * latent_dim], generator)
        self.decoder = network([latent_dim + context, *reversed(hidden), outputs], generator)
        self._start_output(self.decoder, start)
        self.decoder[0], self.context_layer = _split(self.decoder[0], latent_dim)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z | c) for whole images of shape (B, D), whose context is used."""
        return gaussian_network(self.prior, self._standardised_context(pixels))

    def prior_parameters(self) -> list[str]:
        """Return the names of the prior network's parameters."""
        return [name for name in self.model_parameters() if name.startswith("prior.")]

    def no_prior_path(self, rule: PriorRule) -> str | None:
        """Return None: the prior is a diagonal Gaussian."""
        return None

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x | z, c) + log p(z | c), shape (K, B), nats, for whole images of shape (B, D)."""
        (z,) = latents
        log_prior = rows.log_prior(self.latent_prior(pixels), z)
        of_context = rows.shared(self.context_layer(self._decoder_context(pixels)))
        hidden, last = decode(self.decoder, z, rows, first_bias=of_context)
        return rows.log_likelihood(self.likelihood, last, hidden, pixels[:, self.parts.target]) + log_prior

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return the unchanged context, with the likelihood's mean in the target's place, shape (K, B, D)."""
        return self._completed(pixels, latents, self.likelihood.mean)

    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        """Return the unchanged context, with a sample in the target's place, shape (K, B, D)."""
        return self._completed(pixels, latents, lambda outputs: self.likelihood.sample(outputs, generator))

    def _completed(self, pixels: Tensor, latents: Latents, target: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the unchanged context, with a function of the outputs in the target's place, shape (K, B, D)."""
        (z,) = latents
        of_context = self.context_layer(self._decoder_context(pixels))
        hidden, last = decode(self.decoder, z, PLAIN_ROWS, first_bias=of_context)
        whole = pixels.expand(z.shape[0], *pixels.shape).clone()
        whole[..., self.parts.target] = target(last(hidden))
        return whole

    def _standardised_context(self, pixels: Tensor) -> Tensor:
        """Return the context, centred and divided by the spread if there is one, shape (B, C)."""
        centred = pixels[:, self.parts.context] - self.mean[self._context_mean]
        return centred if self.spread is None else centred / self.spread[self.parts.context]

    def _decoder_context(self, pixels: Tensor) -> Tensor:
        """Return the context as the decoder takes it, shape (B, C)."""
        return pixels[:, self.parts.context] if self.spread is None else self._standardised_context(pixels)


def _split(whole: nn.Module, width: int) -> tuple[nn.Linear, nn.Linear]:
    """Split a layer into one for the first ``width`` inputs, with the bias, and one for the other inputs."""
    assert isinstance(whole, nn.Linear)
    first, second = whole.weight.detach().tensor_split([width], dim=1)
    return layer_of(first, whole.bias.detach()), layer_of(second, None)
