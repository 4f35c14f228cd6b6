"""What models of images have in common: a posterior by a tanh network of the whole image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods import Likelihood
from dregcli.engine.models.base import DiagonalGaussian, LatentModel
from dregcli.engine.models.networks import gaussian_network, network

ENCODER = "encoder."


class AmortisedPosterior(LatentModel):
    """A model with a D - hidden - (Z means + Z raw scales) encoder. All other parameters are theta.

    Args:
        mean: mean of each training pixel, shape (D,). The encoder's input is centred by it.
        hidden: sizes of the encoder's hidden layers, from the input on; none makes it linear.
        latent_dim: Z.
        generator: where the initial weights are drawn.
        spread: what centred pixels are divided by, shape (D,); None for pixels in [0, 1], which stay as they are.
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
        # A buffer that is None is not in the state: runs without a spread keep the tensors they always had.
        self.register_buffer("spread", None if spread is None else spread.clone())

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """q(z | x) for pixels of shape (B, D)."""
        centred = pixels - self.mean
        return gaussian_network(self.encoder, centred if self.spread is None else centred / self.spread)

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """theta: all parameters but the encoder's, by name."""
        return self._parts()[0]

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """phi: the encoder's parameters, by name."""
        return self._parts()[1]

    def _parts(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """theta and phi. Asked for several times a step, and looked up once: torch walks all modules for it."""
        if self._found is None:
            every = dict(self.named_parameters())
            phi = {name: each for name, each in every.items() if name.startswith(ENCODER)}
            self._found = ({name: each for name, each in every.items() if name not in phi}, phi)
        return self._found


class AmortisedModel(AmortisedPosterior):
    """One whose pixels, or some of them, have a likelihood given a network's outputs.

    Args:
        mean: mean of each training pixel, shape (D,).
        hidden: sizes of the encoder's hidden layers, from the input on.
        latent_dim: Z.
        generator: where the initial weights are drawn.
        likelihood: of the pixels that the model gives a density.
        spread: what centred pixels are divided by, shape (D,); None for pixels in [0, 1], which stay as they are.
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
        """Let a decoder's last bias start where its likelihood begins for pixels of this mean."""
        output = decoder[-1]
        assert isinstance(output, nn.Linear)
        with torch.no_grad():
            output.bias.copy_(self.likelihood.initial_bias(mean))

    def fuse(self) -> None:
        """Compile the likelihood's."""
        self.likelihood.fuse()
        self.fused = True

    def unfuse(self) -> None:
        """Compile no more."""
        self.likelihood.unfuse()
        self.fused = False
