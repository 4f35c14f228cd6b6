"""The reference VAE: tanh networks, one stochastic layer, standard normal prior (formulas of arXiv 1810.04152)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.models.amortised import AmortisedModel
from dregcli.engine.models.base import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.models.networks import decode, network, tanh_network
from dregcli.engine.rows import PLAIN_ROWS, Rows


class Vae(AmortisedModel):
    """D - hidden - (Z means + Z raw scales) encoder, Z - hidden - outputs decoder, standard normal prior.

    Args:
        mean: mean of each training pixel, shape (D,). The encoder's input is centred by it, and the decoder's last
            bias starts where the likelihood says for it.
        hidden: sizes of the hidden layers, of the encoder from the input on, of the decoder reversed.
        latent_dim: Z.
        generator: where the initial weights are drawn.
        likelihood: of the pixels given the decoder's outputs; Bernoulli unless given.
        spread: what the encoder's centred input is divided by, shape (D,); None leaves it as it is.
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
        """log p(x | z) + log p(z), shape (K, B), nats."""
        (z,) = latents
        outputs, bias = decode(self.decoder, z, rows)
        return self.likelihood.log_prob(outputs, rows.shared(pixels), bias) + standard_normal_log_prob(z)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Standard normal."""
        return DiagonalGaussian.standard(pixels.shape[0], self.latent_width, like=self.mean)

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """The likelihood's mean, shape (K, B, D)."""
        (z,) = latents
        return self.likelihood.mean(tanh_network(self.decoder, z))
