"""What a user's model is: a module with two programs over torch distributions, and small helpers to write them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dregcli.names import DataKind


@dataclass(frozen=True)
class ModelData:
    """What a model may know of the data set when it is built; it stays beside the weights of every checkpoint.

    Attributes:
        shape: shape of one example, such as (1, 28, 28): channels, height, width.
        kind: kind of the values that the model sees: binary, intensities in [0, 1], or real values.
        levels: number of steps from black to white: each intensity is a multiple of 1 / levels, such as 255 for
            bytes. It is 1 for binary and for real values, and for intensities without steps.
        mean: mean of the training examples, of shape ``shape``, float32; if pixels are drawn, the mean of the pixels.
        spread: standard deviation of the same by value, of shape ``shape``, float32, above 0: at least 0.02 for
            values in [0, 1], and 1 where a real value never varies.
    """

    shape: tuple[int, ...]
    kind: DataKind
    levels: int
    mean: Tensor
    spread: Tensor


class Draw(Protocol):
    """Draws one latent. The engine decides what is returned: a sample, or given values of it."""

    def __call__(self, name: str, distribution: Distribution) -> Tensor:
        """Return samples of a latent.

        Args:
            name: name of the latent.
            distribution: q of this latent, of batch_shape (B,), or (K, B) if it depends on an earlier latent.

        Returns:
            Shape (K, B, ...).
        """
        ...


class Given(Protocol):
    """Takes the prior of one latent."""

    def __call__(self, name: str, distribution: Distribution) -> None:
        """Add log p of a latent.

        Args:
            name: name of the latent.
            distribution: its prior, of batch_shape () or (K, B), with the event_shape of q.
        """
        ...


class LatentModel(nn.Module):
    """A model p(x, z) with a posterior q(z | x), written as two programs over torch distributions.

    A class that derives from this one, or any ``nn.Module`` with the same two methods, can be trained. It is built as
    ``Class(data, **options)``, with ``data`` of type ``ModelData``. Neither program knows of estimators, chunks or
    devices. Entry (k, b) of every density must depend on sample (k, b) and on example b alone, so batch statistics
    over K x B are wrong.
    """

    def posterior(self, x: Tensor, draw: Draw) -> None:
        """Draw every latent from q(z | x).

        Args:
            x: examples, shape (B, ...) with the shape of the data, such as (B, 1, 28, 28).
            draw: call it once for each latent; what it returns may be the input of a later latent's distribution.
        """
        raise NotImplementedError

    def model(self, z: dict[str, Tensor], given: Given) -> Distribution:
        """Return p(x | z), and pass the prior of every latent to ``given``.

        Args:
            z: samples by name, (K, B, ...) each.
            given: call it once for each latent.

        Returns:
            A distribution of batch_shape (K, B), whose event has as many values as an example.
        """
        raise NotImplementedError


def gaussian(outputs: Tensor) -> Distribution:
    """Return a diagonal Gaussian from a network's outputs (..., 2 Z): Z means, then Z raw scales.

    The scale is softplus(raw + 0.25), as in the built-in networks (reference code of arXiv 1810.04152).
    """
    loc, raw = outputs.chunk(2, dim=-1)
    return Independent(Normal(loc, nn.functional.softplus(raw + 0.25), validate_args=False), 1, validate_args=False)


class _StandardNormal(Normal):
    """N(0, 1) for every number of a shape. Its parameters have no axes, so they fit values of any device and type."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(torch.zeros(()), torch.ones(()), validate_args=False)
        self._batch_shape = torch.Size(shape)

    def expand(self, batch_shape: Any, _instance: object = None) -> "_StandardNormal":  # noqa: ANN401 - as in torch
        return _StandardNormal(tuple(batch_shape))

    @property
    def mean(self) -> Tensor:
        return self.loc.expand(self._batch_shape)

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def stddev(self) -> Tensor:
        return self.scale.expand(self._batch_shape)

    def entropy(self) -> Tensor:
        return super().entropy().expand(self._batch_shape)


def standard_normal(*shape: int) -> Distribution:
    """Return N(0, I) over an event of this shape, such as ``standard_normal(50)``."""
    return Independent(_StandardNormal(shape), len(shape), validate_args=False)


def rows(module: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Apply a module that takes (N, ...), such as a convolution, to samples of shape (K, B, ...).

    Returns:
        The module's outputs, (K, B, ...).
    """
    outputs = module(z.flatten(0, 1))
    return outputs.reshape(*z.shape[:2], *outputs.shape[1:])
