"""The interface of a model that the gradient executor and the evaluation need."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents
from dregcli.engine.draws import Noise
from dregcli.engine.execution.batch import Batch
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.pairs import Pair
from dregcli.engine.rows import PLAIN_ROWS, Rows
from dregcli.errors import Fault


class Model(nn.Module, ABC):
    """A model p(x, z) with a posterior q(z | x). With a context c they are p(x, z | c) and q(z | c, x).

    Pixels are always whole images, including the context.

    Attributes:
        latent_width: latent dimensions of all layers together, Z.
        fused: whether its passes over rows are compiled.
        repeats: whether a step always does the same work in the same order, so that a GPU can record and repeat it.
    """

    latent_width: int
    fused: bool = False
    repeats: bool = True

    @abstractmethod
    def batch(self, pixels: Tensor, draws: Noise) -> Batch:
        """Return a batch for the executors: its rows, their log-weights and gradients.

        Args:
            pixels: shape (B, D).
            draws: random numbers of the samples; ``Draws`` if rows are screened.
        """

    @abstractmethod
    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta, which log p(x, z) depends on, by name."""

    @abstractmethod
    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return phi, which q(z | x) depends on, by name. A parameter of both is in both, and gets the sum."""

    def faults(self, pair: Pair) -> list[Fault]:
        """Return the reasons why the model cannot be trained by a pair; empty if it can."""
        return []

    def posterior_means(self, pixels: Tensor) -> Tensor | None:
        """Return E[z | x] under q, shape (B, Z), float64, or None if it has no closed form."""
        return None

    def kl_from_prior(self, pixels: Tensor) -> Tensor | None:
        """Return KL(q(z | x) || p(z)), shape (B,), float64, nats, or None if it has no closed form."""
        return None

    def log_marginal(self, pixels: Tensor) -> Tensor | None:
        """Return the exact log p(x), shape (B,), float64, nats, or None if it has no closed form."""
        return None

    def fuse(self) -> None:
        """Compile the passes over rows that can be compiled. Their results stay the same up to rounding."""

    def unfuse(self) -> None:
        """Stop using compiled code."""


class GaussianModel(Model):
    """A model with one diagonal Gaussian as its posterior, whose layers meet rows in ``Rows`` alone: the fast path.

    One backward pass then serves all estimators.
    """

    def batch(self, pixels: Tensor, draws: Noise) -> GaussianBatch:
        """Return a batch whose posterior is computed once."""
        return GaussianBatch(self, pixels, self.posterior(pixels), draws)

    def posterior_means(self, pixels: Tensor) -> Tensor:
        """Return q's means, shape (B, Z), float64."""
        return self.posterior(pixels).loc.double()

    def kl_from_prior(self, pixels: Tensor) -> Tensor:
        """Return KL(q(z | x) || p(z)), or to p(z | c), shape (B,), float64, nats."""
        return self.posterior(pixels).kl_from(self.latent_prior(pixels))

    @abstractmethod
    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return q(z | x) for pixels of shape (B, D)."""

    @abstractmethod
    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x, z), shape (K, B), nats.

        Args:
            pixels: shape (B, D).
            latents: latents of each layer, (K, B, Z_layer) each.
            rows: applies every layer to rows, and brings tensors of examples, including pixels, to rows. Parameters
                may meet rows in no other way.
        """

    @abstractmethod
    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z), or p(z | c) for a model with a context, for pixels of shape (B, D)."""

    @abstractmethod
    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return E[x | z], whole images of shape (K, B, D); a context c is taken from ``pixels``, (B, D)."""
