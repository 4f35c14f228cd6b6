"""Quasi-random noise of an evaluation: Sobol points, shifted at random and mapped by the normal quantile.

The K points of an example fill the unit cube more evenly than independent ones. One uniform shift for each example
and each of its Z numbers, modulo 1, makes each point uniform. So each sample has the distribution of q, the mean of
the weights has the expectation p(x), and the bound is a lower bound. But the K samples depend on each other, so that
no error can be estimated from one draw of them. Two draws have independent shifts.

Reference: Cranley, Patterson, SIAM Journal on Numerical Analysis 13(6), 1976.
"""

import math
from functools import cached_property

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from dregcli.engine.randomness import Randomness, Stream

MOST_NUMBERS = SobolEngine.MAXDIM
"""Largest number of latent dimensions that torch has Sobol points for."""

_SMALLEST = 2.0**-53
"""Smallest distance of a uniform number from 0 and 1, so that its quantile is finite in float64."""


class SobolNoise:
    """The noise of one evaluation batch.

    Args:
        randomness: the evaluation's seed, and the model's device.
        stream: stream of the shifts.
        step: number of the batch and the draw.
        k: samples per example.
        batch: number of examples that shifts are drawn for.
        width: latent dimensions, Z.
        examples: number of examples to use, from the first on.
    """

    def __init__(
        self, randomness: Randomness, stream: Stream, step: int, *, k: int, batch: int, width: int, examples: int
    ) -> None:
        self.k = k
        self._width, self._device = width, randomness.device
        self._shifts = randomness.uniform64(stream, step, 0, batch, width)[:examples]

    @cached_property
    def _points(self) -> Tensor:
        """The points before the shift, (K, 1, Z), float64, the same for all examples."""
        return SobolEngine(self._width).draw(self.k, dtype=torch.float64).to(self._device).unsqueeze(1)

    def noise(self, first: int, count: int) -> Tensor:
        """Return the noise of some samples, (count, B, Z), float32."""
        uniform = (self._points[first : first + count] + self._shifts).remainder_(1.0)
        return torch.erfinv(2.0 * uniform.clamp_(_SMALLEST, 1.0 - _SMALLEST) - 1.0).mul_(math.sqrt(2.0)).float()
