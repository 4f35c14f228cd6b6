"""Structured prediction: one part of an image given the other, by a learned conditional prior (arXiv 1810.04152)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.models.amortised import AmortisedModel
from dregcli.engine.models.base import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.models.networks import decode, gaussian_network, layer_of, network
from dregcli.engine.rows import PLAIN_ROWS, Rows

Places = slice | Tensor
"""Places among the values of an image: a slice where they are consecutive."""


class ImageParts(NamedTuple):
    """Which pixels are given and which are predicted."""

    context: Places
    target: Places


def image_parts(pixels: int, *, context: int, channels: int = 1, crossed: bool = False) -> ImageParts:
    """The parts of an image.

    Args:
        pixels: D, all values of an image, channel after channel.
        context: how many of them are the context, C: the first of each channel, or with ``crossed`` the last.
        channels: of an image; each has the same share of both parts.
        crossed: see ``StructuredVae``.

    Raises:
        ValueError: a part would be empty or no share of every channel, or ``crossed`` without halves of equal size.
    """
    if not 0 < context < pixels:
        message = f"the context must be from 1 to {pixels - 1} of {pixels} pixels, got {context}"
        raise ValueError(message)
    if pixels % channels or context % channels:
        message = f"{channels} channels cannot share {pixels} pixels and a context of {context} alike"
        raise ValueError(message)
    first, second = _places(0, context, pixels, channels), _places(context, pixels, pixels, channels)
    if not crossed:
        return ImageParts(first, second)
    if 2 * context != pixels:
        message = f"crossed parts must be halves of equal size, got {context} of {pixels} pixels"
        raise ValueError(message)
    return ImageParts(second, first)


def _places(start: int, end: int, pixels: int, channels: int) -> Places:
    """From ``start`` up to ``end`` of ``pixels``, in every channel alike."""
    if channels == 1:
        return slice(start, end)
    size = pixels // channels
    return torch.arange(pixels).reshape(channels, size)[:, start // channels : end // channels].flatten()


class StructuredVae(AmortisedModel):
    """p(x, z | c) = p(z | c) p(x | z, c) of target pixels x given context pixels c, with q(z | c, x).

    The prior is a diagonal Gaussian by a C - hidden - (Z means + Z raw scales) network of the context, centred; the
    likelihood's network takes z and the context, not centred (both as in the reference code); the encoder the whole
    image. theta is the likelihood's network and the prior's.

    The likelihood network's first layer is one matrix for z and the context together, Xavier-uniform for their joint
    width. It is kept in two parts: ``decoder.0`` works on rows, ``context_layer`` once an example, since the K rows
    of an example have the same context.

    Args:
        mean: mean of each training pixel, shape (D,).
        context: how many pixels are the context, C: the first of each channel, the top of the image.
        hidden: sizes of the hidden layers, of encoder and prior from the input on, of the decoder reversed.
        latent_dim: Z.
        generator: where the initial weights are drawn.
        likelihood: of the target's pixels given the decoder's outputs; Bernoulli unless given.
        spread: what centred pixels are divided by before encoder and prior, shape (D,). Then the decoder too gets
            the context centred and divided, so that the model does not depend on the data's units. None leaves
            pixels as they are.
        channels: of an image, which lies channel after channel.
        crossed: the reference code's variant, for comparison with what it published. The parts change places, and
            statistics do not go with them: the context is the second half of the image and the target the first,
            while the prior centres by the first half's mean and the output's bias starts from the second half's.

    Raises:
        ValueError: parts that cannot be. See ``image_parts``.
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
        # By position, so that of crossed parts it is the other's mean, as in the reference code.
        self._context_mean, rest = image_parts(mean.shape[0], context=context, channels=channels)
        start = mean[rest]
        outputs = self.likelihood.outputs_per_pixel * start.shape[0]
        self.prior = network([context, *hidden, 2 * latent_dim], generator)
        self.decoder = network([latent_dim + context, *reversed(hidden), outputs], generator)
        self._start_output(self.decoder, start)
        self.decoder[0], self.context_layer = _split(self.decoder[0], latent_dim)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """p(z | c) for whole images of shape (B, D), of which the context is used."""
        return gaussian_network(self.prior, self._standardised_context(pixels))

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """log p(x | z, c) + log p(z | c), shape (K, B), nats, for whole images of shape (B, D)."""
        (z,) = latents
        prior = self.latent_prior(pixels)
        standardised = (z - rows.shared(prior.loc)) / rows.shared(prior.scale)
        log_prior = standard_normal_log_prob(standardised) - rows.shared(prior.scale.log().sum(dim=-1))
        of_context = rows.shared(self.context_layer(self._decoder_context(pixels)))
        outputs, bias = decode(self.decoder, z, rows, first_bias=of_context)
        target = pixels[:, self.parts.target]
        return self.likelihood.log_prob(outputs, rows.shared(target), bias) + log_prior

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """The context as it is, and the likelihood's mean in the target's place, shape (K, B, D)."""
        (z,) = latents
        of_context = self.context_layer(self._decoder_context(pixels))
        outputs, bias = decode(self.decoder, z, PLAIN_ROWS, first_bias=of_context)
        whole = pixels.expand(z.shape[0], *pixels.shape).clone()
        whole[..., self.parts.target] = self.likelihood.mean(outputs if bias is None else outputs + bias)
        return whole

    def _standardised_context(self, pixels: Tensor) -> Tensor:
        """The context, centred and divided by the spread if there is one, shape (B, C)."""
        centred = pixels[:, self.parts.context] - self.mean[self._context_mean]
        return centred if self.spread is None else centred / self.spread[self.parts.context]

    def _decoder_context(self, pixels: Tensor) -> Tensor:
        """The context as the decoder takes it, shape (B, C)."""
        return pixels[:, self.parts.context] if self.spread is None else self._standardised_context(pixels)


def _split(whole: nn.Module, width: int) -> tuple[nn.Linear, nn.Linear]:
    """A layer of concatenated inputs as one of the first ``width`` of them, with the bias, and one of the rest."""
    assert isinstance(whole, nn.Linear)
    first, second = whole.weight.detach().tensor_split([width], dim=1)
    return layer_of(first, whole.bias.detach()), layer_of(second, None)
