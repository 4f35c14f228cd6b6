"""The small VAE as one's own torch model: a posterior that draws the noise of ``ModelSource`` itself."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from dregcli.engine.models.vae import Vae
from dregcli.engine.randomness import Randomness, Stream


class GivenNoise(Distribution):
    """A diagonal Gaussian of loc and scale (B, Z) whose K samples use given noise (K, B, Z); others are random."""

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, noise: Tensor) -> None:
        super().__init__(loc.shape[:1], loc.shape[1:], validate_args=False)
        self.loc, self.scale, self.noise = loc, scale, noise

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = (*sample_shape, *self.loc.shape)
        noise = self.noise if shape == self.noise.shape else torch.randn(shape, dtype=self.loc.dtype)
        return self.loc + self.scale * noise

    def log_prob(self, value: Tensor) -> Tensor:
        return Independent(Normal(self.loc, self.scale), 1).log_prob(value)


def diagnostic_noise(model: Vae, pixels: Tensor, *, k: int, seed: int, step: int) -> Tensor:
    """Where the noise of batch ``step`` of a bias check is drawn, float64."""
    batch, width = pixels.shape[0], model.latent_width
    return Randomness(seed).normal(Stream.DIAGNOSTIC_NOISE, step, k=k, batch=batch, width=width).double()


class Own:
    """What ``check_bias`` takes: called anew for every batch, it goes from step to step as ``ModelSource`` does."""

    def __init__(self, model: Vae, pixels: Tensor, *, k: int, seed: int) -> None:
        self.model, self.pixels, self.k, self.seed, self.step = model, pixels, k, seed, 0

    def __call__(self) -> tuple[Callable[[Tensor], Tensor], GivenNoise]:
        noise = diagnostic_noise(self.model, self.pixels, k=self.k, seed=self.seed, step=self.step)
        self.step += 1
        q = self.model.posterior(self.pixels)

        def log_joint(z: Tensor) -> Tensor:
            return self.model.log_joint(self.pixels, (z,))

        return log_joint, GivenNoise(q.loc, q.scale, noise)

    def parameters(self) -> dict[str, Tensor]:
        return {**self.model.posterior_parameters(), **self.model.model_parameters()}
