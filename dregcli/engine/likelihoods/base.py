"""The base class of likelihoods: distributions of pixels given a decoder's outputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods.fused import fused
from dregcli.names import DataKind

FEWEST_COMPILED = 2**18
"""Smallest number of outputs, over all rows, for which compiled code is worth its call and its compilation."""

BLOCK_BYTES = 2**21
"""Size of the decoder's outputs that are computed and summed together on a CPU. Larger blocks leave the cache, and
smaller ones make every operation's start count."""


def samples_at_once(like: Tensor, k: int, outputs: int) -> int:
    """Return how many of K samples make a block of ``BLOCK_BYTES``; all on a GPU, where every start is a launch.

    Args:
        like: a tensor of the rows' device and type.
        k: samples.
        outputs: numbers of one sample, B x O.
    """
    if like.device.type != "cpu":
        return k
    return max(1, min(k, BLOCK_BYTES // (outputs * like.element_size())))


Kernel = Callable[..., tuple[Tensor, Tensor | None]]
"""A pure function: (outputs (K, B, O), pixels (B, D), the layer's bias (O,) or None, *constants, gradient=...) -> the
value (K, B), and its gradient by the outputs or None."""


@dataclass(frozen=True)
class BlockValue:
    """The log-density of blocks of rows, computed from a decoder's last hidden layer and a matrix product with it.

    Attributes:
        weight: factor of the product, (O', I): the last layer's weights, or some of them.
        sum: maps the hidden layer (K', B, I) and the product (K', B, O') to log p(x | outputs), (K', B). It may
            overwrite the product.
    """

    weight: Tensor
    sum: Callable[[Tensor, Tensor], Tensor]


class Likelihood(nn.Module, ABC):
    """The distribution of independent pixels given a decoder's outputs.

    It has no parameters to train. The numbers that it needs from the data are buffers, so that they move to a device
    together with the model and belong to its state.

    Attributes:
        cites: keys in ``references.bib`` of the works that a user of the likelihood cites.
        needs: the pixels that it takes, in words.
        standardises: whether the model divides its inputs by each pixel's spread, which gives values without a
            natural scale a common one.
        unbounded: whether the log-density of a value is bounded only by the floor of the scale.
        linearises: whether ``linearised`` is an approximation, and ``value_from`` needs no compiled code to be fast.
        outputs_per_pixel: number of outputs of the decoder for every pixel. If there are two, the first D outputs are
            the first number of each pixel, the next D the second.
        kernel: function that computes the likelihood.
        compiled_kernel: the same function in the form that compiles to the fastest code.
    """

    cites: ClassVar[tuple[str, ...]]
    needs: ClassVar[str]
    standardises: ClassVar[bool] = False
    unbounded: ClassVar[bool] = False
    linearises: ClassVar[bool] = False
    outputs_per_pixel: ClassVar[int] = 1
    kernel: ClassVar[Kernel]
    compiled_kernel: ClassVar[Kernel]

    def __init__(self) -> None:
        super().__init__()
        self._compiled: Kernel | None = None

    @classmethod
    @abstractmethod
    def takes(cls, kind: DataKind, levels: int) -> bool:
        """Whether the likelihood is defined for pixels of a kind.

        Args:
            kind: kind of the pixels after binarisation.
            levels: stored value of a pixel of intensity 1; 1 if intensities are fractions.
        """

    @classmethod
    @abstractmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """Return the likelihood for some data; each class uses the arguments that it needs.

        Args:
            spread: standard deviation of each training pixel, shape (D,), above 0.
            levels: pixels are whole multiples of 1 / levels in [0, 1]; used only by likelihoods of such pixels.
        """

    def constants(self) -> tuple[Any, ...]:
        """Return the kernel's arguments beside outputs, pixels and bias."""
        return ()

    def fuse(self) -> None:
        """Compile the kernel; large arrays then go through it in one pass."""
        self._compiled = torch.compile(type(self).compiled_kernel)

    def unfuse(self) -> None:
        """Stop using compiled code."""
        self._compiled = None

    def log_prob(self, outputs: Tensor, pixels: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return log p(x | outputs), summed over pixels.

        Args:
            outputs: shape (K, B, outputs_per_pixel * D), float32 or better.
            pixels: shape (B, D).
            bias: added to the outputs first, shape (outputs_per_pixel * D,); no gradient reaches it.

        Returns:
            Shape (K, B), nats.
        """
        kernel, constants = self._kernel_for(outputs), self.constants()
        if not torch.is_grad_enabled():
            return kernel(outputs, pixels, bias, *constants, gradient=False)[0]
        return fused(outputs, lambda given, gradient: kernel(given, pixels, bias, *constants, gradient=gradient))

    def value_and_gradient(self, outputs: Tensor, pixels: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log p(x | outputs), (K, B), and its gradient by the outputs, (K, B, O), which may take their place.

        The arguments are those of ``log_prob``.
        """
        kernel = self._kernel_for(outputs)
        value, gradient = kernel(outputs, pixels, bias, *self.constants(), gradient=True)
        assert gradient is not None
        return value, gradient

    def _kernel_for(self, outputs: Tensor) -> Kernel:
        compiled = self._compiled if outputs.numel() >= FEWEST_COMPILED else None
        return compiled or type(self).kernel

    def value_from(self, layer: nn.Linear, pixels: Tensor) -> BlockValue:
        """Return the log-density of blocks of rows in its fastest form, which may use the hidden layer too.

        Args:
            layer: the decoder's last layer.
            pixels: shape (B, D).
        """
        return self.value_of_outputs(layer, pixels)

    def value_of_outputs(self, layer: nn.Linear, pixels: Tensor) -> BlockValue:
        """Return the log-density of blocks of rows as a function of the product alone; the arguments are the same."""
        return BlockValue(layer.weight, lambda _, outputs: self.log_prob(outputs, pixels, layer.bias))

    def linearised(self, layer: nn.Linear, pixels: Tensor, centre: Tensor, other: Tensor) -> BlockValue:
        """Return an approximate one, with the tangent of the density in place of some pixels; exact if there is none.

        Args:
            layer: the decoder's last layer.
            pixels: shape (B, D).
            centre: the hidden layer at which the tangent is taken, (B, I).
            other: the hidden layer of another row of each example, (B, I), which shows what is nearly linear.
        """
        return self.value_from(layer, pixels)

    @abstractmethod
    def initial_bias(self, mean: Tensor) -> Tensor:
        """Return the decoder's last bias before training, shape (outputs_per_pixel * D,).

        Args:
            mean: mean of each training pixel, shape (D,).
        """

    @abstractmethod
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x given outputs, shape (K, B, D), without a gradient."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """Return E[x | outputs], the mean image, shape (K, B, D), for outputs as in ``log_prob``."""
