"""The reference VAE: tanh networks, one stochastic layer, Bernoulli pixels (formulas of arXiv 1810.04152)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods import bernoulli_log_likelihood
from dregcli.engine.models.base import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.rows import Linear, plain_linear

RAW_SCALE_OFFSET = 0.25
"""scale = softplus(raw + 0.25), as in the reference code."""

MEAN_CLIP = 1e-3


def _network(sizes: Sequence[int], generator: torch.Generator) -> nn.ModuleList:
    """Linear layers between ``sizes``, Xavier-uniform weights and zero biases."""
    layers = nn.ModuleList()
    for inputs, outputs in pairwise(sizes):
        # Initialised here from the run's address; torch's own initialisation would draw from global state.
        layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return layers


def _apply(layers: nn.ModuleList, inputs: Tensor, linear: Linear) -> Tensor:
    """tanh between layers, none after the last."""
    for i, layer in enumerate(layers):
        assert isinstance(layer, nn.Linear)
        inputs = linear(layer, torch.tanh(inputs) if i else inputs)
    return inputs


class Vae(nn.Module):
    """D - hidden - (Z means + Z raw scales) encoder, Z - hidden - D decoder, standard normal prior.

    Args:
        mean: mean intensity of the training pixels, shape (D,), in [0, 1]. The encoder's input is centred by
            it; the decoder's last bias starts at its logit, clipped to [0.001, 0.999]. (The reference adds
            that logit to the output; with Adam and no weight decay the two train alike.)
        hidden: sizes of the hidden layers, of the encoder from the input on, of the decoder reversed.
        latent_dim: Z.
        generator: where the initial weights are drawn.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, *, hidden: Sequence[int], latent_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        pixels = mean.shape[0]
        self.latent_width = latent_dim
        self.encoder = _network([pixels, *hidden, 2 * latent_dim], generator)
        self.decoder = _network([latent_dim, *reversed(hidden), pixels], generator)
        self.register_buffer("mean", mean.clone())
        output = self.decoder[-1]
        assert isinstance(output, nn.Linear)
        with torch.no_grad():
            output.bias.copy_(torch.logit(mean.clamp(MEAN_CLIP, 1.0 - MEAN_CLIP)))

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """q(z | x) for pixels of shape (B, D)."""
        loc, raw = _apply(self.encoder, pixels - self.mean, plain_linear).chunk(2, dim=-1)
        return DiagonalGaussian(loc, nn.functional.softplus(raw + RAW_SCALE_OFFSET))

    def log_joint(self, pixels: Tensor, latents: Latents, linear: Linear = plain_linear) -> Tensor:
        """log p(x | z) + log p(z), shape (K, B), nats."""
        (z,) = latents
        logits = _apply(self.decoder, z, linear)
        return bernoulli_log_likelihood(logits, pixels) + standard_normal_log_prob(z)

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """theta: the decoder's parameters, by name."""
        return {f"decoder.{name}": p for name, p in self.decoder.named_parameters()}

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """phi: the encoder's parameters, by name."""
        return {f"encoder.{name}": p for name, p in self.encoder.named_parameters()}
