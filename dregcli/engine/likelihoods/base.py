"""What a likelihood is: the distribution of pixels given a decoder's outputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods.fused import fused
from dregcli.names import DataKind

FEWEST_COMPILED = 2**18
"""Outputs, of all rows together, below which compiled code is not worth its call, nor a compilation for its shape."""

Kernel = Callable[..., tuple[Tensor, Tensor | None]]
"""(outputs (K, B, O), pixels (B, D), the layer's bias (O,) or None, *constants, gradient=...) -> the value (K, B),
and its gradient by the outputs or None. A pure function."""


class Likelihood(nn.Module, ABC):
    """Independent pixels given a decoder's outputs.

    It has no parameters to train; what it needs to know of the data are buffers, so that it goes to a device with
    the model that holds it and is in its state.

    Attributes:
        cites: the works that a user of it cites, by their keys in ``references.bib``.
        needs: the pixels that it takes, in words.
        standardises: whether the model divides its inputs by each pixel's spread: values that have no scale of their
            own are brought to one.
        unbounded: whether only the floor of its scale bounds the log-density that it gives to a value.
        outputs_per_pixel: what the decoder gives for every pixel. Of more than one, the first D outputs are the
            first number of each pixel, the next D the second.
        kernel: computes it.
        compiled_kernel: the same in the form that compiles to the fastest code.
    """

    cites: ClassVar[tuple[str, ...]]
    needs: ClassVar[str]
    standardises: ClassVar[bool] = False
    unbounded: ClassVar[bool] = False
    outputs_per_pixel: ClassVar[int] = 1
    kernel: ClassVar[Kernel]
    compiled_kernel: ClassVar[Kernel]

    def __init__(self) -> None:
        super().__init__()
        self._compiled: Kernel | None = None

    @classmethod
    @abstractmethod
    def takes(cls, kind: DataKind, levels: int) -> bool:
        """Whether pixels of a kind are what it is the distribution of.

        Args:
            kind: what the pixels are, after binarisation.
            levels: what a pixel of intensity 1 is stored as; 1 where intensities are fractions.
        """

    @classmethod
    @abstractmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """The likelihood for some data; each takes what it needs of it.

        Args:
            spread: standard deviation of each training pixel, shape (D,), above 0.
            levels: pixels are whole multiples of 1 / levels in [0, 1]; only where a likelihood is of such.
        """

    def constants(self) -> tuple[Any, ...]:
        """What the kernel needs beside outputs, pixels and bias."""
        return ()

    def fuse(self) -> None:
        """Compile the kernel: from now on large arrays go through it in one pass."""
        self._compiled = torch.compile(type(self).compiled_kernel)

    def unfuse(self) -> None:
        """Compile no more."""
        self._compiled = None

    def log_prob(self, outputs: Tensor, pixels: Tensor, bias: Tensor | None = None) -> Tensor:
        """log p(x | outputs), summed over pixels.

        Args:
            outputs: shape (K, B, outputs_per_pixel * D), float32 or better.
            pixels: shape (B, D).
            bias: what is to be added to the outputs first, shape (outputs_per_pixel * D,); no gradient reaches it.

        Returns:
            Shape (K, B), nats.
        """
        compiled = self._compiled if outputs.numel() >= FEWEST_COMPILED else None
        kernel = compiled or type(self).kernel
        constants = self.constants()
        if not torch.is_grad_enabled():
            return kernel(outputs, pixels, bias, *constants, gradient=False)[0]
        return fused(outputs, lambda given, gradient: kernel(given, pixels, bias, *constants, gradient=gradient))

    @abstractmethod
    def initial_bias(self, mean: Tensor) -> Tensor:
        """The decoder's last bias before training, shape (outputs_per_pixel * D,).

        Args:
            mean: mean of each training pixel, shape (D,).
        """

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """E[x | outputs], the mean image, shape (K, B, D), for outputs as ``log_prob`` takes them."""
