"""Floating-point operations of the networks' matrix products; what is no matrix product is not counted."""

from collections.abc import Sequence
from itertools import pairwise

PIXELS = 784


def products(sizes: Sequence[int]) -> int:
    """Of one row's way through linear layers between ``sizes``: a multiplication and an addition a weight."""
    return 2 * sum(a * b for a, b in pairwise(sizes))


def decoder(hidden: Sequence[int], latent_dim: int, pixels: int = PIXELS) -> int:
    """Of one decoder evaluation."""
    return products([latent_dim, *reversed(hidden), pixels])


def encoder(hidden: Sequence[int], latent_dim: int, pixels: int = PIXELS) -> int:
    """Of one encoder evaluation."""
    return products([pixels, *hidden, 2 * latent_dim])
