"""What a likelihood is: the distribution of pixels given a decoder's outputs."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor, nn


class Likelihood(nn.Module, ABC):
    """Independent pixels given a decoder's outputs.

    It has no parameters to train; what it needs to know of the data are buffers, so that it goes to a device with
    the model that holds it and is in its state.

    Attributes:
        outputs_per_pixel: what the decoder gives for every pixel. Of more than one, the first D outputs are the
            first number of each pixel, the next D the second.
    """

    outputs_per_pixel: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """The likelihood for some data; each takes what it needs of it.

        Args:
            spread: standard deviation of each training pixel, shape (D,), above 0.
            levels: pixels are whole multiples of 1 / levels in [0, 1]; only where a likelihood is of such.
        """

    @abstractmethod
    def log_prob(self, outputs: Tensor, pixels: Tensor) -> Tensor:
        """log p(x | outputs), summed over pixels.

        Args:
            outputs: shape (K, B, outputs_per_pixel * D), float32 or better.
            pixels: shape (B, D).

        Returns:
            Shape (K, B), nats.
        """

    @abstractmethod
    def initial_bias(self, mean: Tensor) -> Tensor:
        """The decoder's last bias before training, shape (outputs_per_pixel * D,).

        Args:
            mean: mean of each training pixel, shape (D,).
        """

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """E[x | outputs], the mean image, shape (K, B, D), for outputs as ``log_prob`` takes them."""
