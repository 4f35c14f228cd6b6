"""The common part of image models: a posterior computed by a tanh network from the whole image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.models.networks import gaussian_network, network

ENCODER = "encoder."


class AmortisedPosterior(GaussianModel):
    """A model with a D - hidden - (Z means + Z raw scales) encoder. All other parameters are theta.

    Args:
        mean: mean of each training pixel, shape (D,). It is subtracted from the encoder's input.
        hidden: sizes of the encoder's hidden layers, from the input on; without hidden layers it is linear.
        latent_dim: number of latent dimensions, Z.
        generator: random generator of the initial weights.
        spread: divisor of centred pixels, shape (D,); None for pixels in [0, 1], which are not divided.
    """

    mean: Tensor
    spread: Tensor | None

    def __init__(
        self,
        mean: Tensor,
        *,
        hidden: Sequence[int],
        latent_dim: int,
        generator: torch.Generator,
        spread: Tensor | None,
    ) -> None:
        super().__init__()
        self.latent_width = latent_dim
        self._found: tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]] | None = None
        self.encoder = network([mean.shape[0], *hidden, 2 * latent_dim], generator)
        self.register_buffer("mean", mean.clone())
        # A buffer that is None is not part of the state, so the state without a spread has no such tensor.
        self.register_buffer("spread", None if spread is None else spread.clone())

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return q(z | x) for pixels of shape (B, D)."""
        centred = pixels - self.mean
        return gaussian_network(self.encoder, centred if self.spread is None else centred / self.spread)

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta: all parameters except the encoder's, by name."""
        return self._parts()[0]

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return phi: the encoder's parameters, by name."""
        return self._parts()[1]

    def _parts(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """Return theta and phi. They are needed several times a step but found once: torch walks all modules."""
        if self._found is None:
            every = dict(self.named_parameters())
            phi = {name: each for name, each in every.items() if name.startswith(ENCODER)}
            self._found = ({name: each for name, each in every.items() if name not in phi}, phi)
        return self._found


class AmortisedModel(AmortisedPosterior):
    """A model in which pixels, or some of them, have a likelihood given a network's outputs.

    Args:
        mean: mean of each training pixel, shape (D,).
        hidden: sizes of the encoder's hidden layers, from the input on.
        latent_dim: number of latent dimensions, Z.
        generator: random generator of the initial weights.
        likelihood: likelihood of the pixels that the model gives a density.
        spread: divisor of centred pixels, shape (D,); None for pixels in [0, 1], which are not divided.
    """

    def __init__(
        self,
        mean: Tensor,
        *,
        hidden: Sequence[int],
        latent_dim: int,
        generator: torch.Generator,
        likelihood: Likelihood,
        spread: Tensor | None,
    ) -> None:
        super().__init__(mean, hidden=hidden, latent_dim=latent_dim, generator=generator, spread=spread)
        self.likelihood = likelihood

    def _start_output(self, decoder: nn.ModuleList, mean: Tensor) -> None:
        """Set a decoder's last bias to the likelihood's initial value for pixels of this mean."""
        output = decoder[-1]
        assert isinstance(output, nn.Linear)
        with torch.no_grad():
            output.bias.copy_(self.likelihood.initial_bias(mean))

    @property
    def values_in_threads(self) -> bool:
        """Whether several threads can compute values of rows at once: unless compiled code takes part."""
        return not self.fused or self.likelihood.linearises

    def fuse(self) -> None:
        """Compile the likelihood's pass over rows."""
        self.likelihood.fuse()
        self.fused = True

    def unfuse(self) -> None:
        """Stop using compiled code."""
        self.likelihood.unfuse()
        self.fused = False
