"""The reference VAE: tanh networks, one stochastic layer, standard normal prior (formulas of arXiv 1810.04152)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.models.amortised import AmortisedModel
from dregcli.engine.models.networks import decode, network, tanh_network
from dregcli.engine.rows import PLAIN_ROWS, Rows


class Vae(AmortisedModel):
    """A VAE: D - hidden - (Z means + Z raw scales) encoder, Z - hidden - outputs decoder, standard normal prior.

    Args:
        mean: mean of each training pixel, shape (D,). It is subtracted from the encoder's input, and the likelihood
            computes the decoder's initial last bias from it.
        hidden: sizes of the hidden layers: from the input on for the encoder, reversed for the decoder.
        latent_dim: number of latent dimensions, Z.
        generator: random generator of the initial weights.
        likelihood: likelihood of the pixels given the decoder's outputs; Bernoulli if it is not given.
        spread: divisor of the encoder's centred input, shape (D,); None leaves the input unchanged.
    """

    def __init__(
        self,
        mean: Tensor,
        *,
        hidden: Sequence[int],
        latent_dim: int,
        generator: torch.Generator,
        likelihood: Likelihood | None = None,
        spread: Tensor | None = None,
    ) -> None:
        super().__init__(
            mean,
            hidden=hidden,
            latent_dim=latent_dim,
            generator=generator,
            likelihood=Bernoulli() if likelihood is None else likelihood,
            spread=spread,
        )
        outputs = self.likelihood.outputs_per_pixel * mean.shape[0]
        self.decoder = network([latent_dim, *reversed(hidden), outputs], generator)
        self._start_output(self.decoder, mean)

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x | z) + log p(z), shape (K, B), nats."""
        (z,) = latents
        hidden, last = decode(self.decoder, z, rows)
        return rows.log_likelihood(self.likelihood, last, hidden, pixels) + standard_normal_log_prob(z)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return the standard normal."""
        return DiagonalGaussian.standard(pixels.shape[0], self.latent_width, like=self.mean)

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return the likelihood's mean, shape (K, B, D)."""
        (z,) = latents
        return self.likelihood.mean(tanh_network(self.decoder, z))

    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        """Draw x given z, shape (K, B, D)."""
        (z,) = latents
        return self.likelihood.sample(tanh_network(self.decoder, z), generator)
