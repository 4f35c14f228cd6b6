"""The likelihood of real-valued pixels in the data's own units."""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.names import DataKind

SCALE_FLOOR = 0.01
"""The smallest scale, in units of a pixel's spread. A density has no upper bound: without a floor, a model that
predicts some pixel exactly, such as a constant one, could increase the density without limit by a smaller scale."""

_INITIAL_RAW = math.log(math.expm1(1.0 - SCALE_FLOOR))
"""Its softplus is 1 - SCALE_FLOOR, so that training starts from a scale of one spread."""

_LOG_2PI = math.log(2.0 * math.pi)


def _evaluate(
    outputs: Tensor, pixels: Tensor, bias: Tensor | None, spread: Tensor, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    # In units of the spread: u = (x - loc) / scale, log p = sum -u^2/2 - log scale - log spread - log(2 pi)/2.
    outputs = outputs if bias is None else outputs + bias
    loc, raw = outputs.chunk(2, dim=-1)
    scale = softplus(raw).add_(SCALE_FLOOR)
    u = (pixels / spread - loc).div_(scale)
    constant = spread.log().sum() + 0.5 * _LOG_2PI * spread.shape[0]
    total = torch.einsum("kbd,kbd->kb", u, u).mul_(-0.5).sub_(scale.log().sum(dim=-1)).sub_(constant)
    if not gradient:
        return total, None
    # d/dloc = u/scale; d/draw = (u^2 - 1)/scale * sigmoid(raw).
    by_outputs = torch.empty_like(outputs)
    by_loc, by_raw = by_outputs.chunk(2, dim=-1)
    torch.div(u, scale, out=by_loc)
    torch.mul(by_loc, u, out=by_raw).sub_(scale.reciprocal_()).mul_(torch.sigmoid(raw))
    return total, by_outputs


class Gaussian(Likelihood):
    """The likelihood x ~ N(spread * out_1, (spread * (0.01 + softplus(out_2)))^2) for each pixel.

    The decoder works in units of each pixel's spread, so a model does not depend on the data's units. Log-densities
    do: in other units they differ by D log(unit), and for continuous data they may be positive.

    Args:
        spread: standard deviation of each training pixel, shape (D,), above 0.
    """

    cites = ("kingma2014vae",)
    needs = "real values or intensities"
    standardises = True
    unbounded = True
    outputs_per_pixel = 2
    kernel = staticmethod(_evaluate)
    compiled_kernel = staticmethod(_evaluate)
    spread: Tensor

    def __init__(self, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("spread", spread.clone())

    @classmethod
    def takes(cls, kind: DataKind, levels: int) -> bool:
        """Whether pixels are real values or intensities; grey levels are treated as continuous."""
        return kind in (DataKind.REAL, DataKind.INTENSITY)

    @classmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """Return the likelihood; it needs only the spread."""
        return cls(spread)

    def constants(self) -> tuple[Tensor]:
        """Return the spread."""
        return (self.spread,)

    def initial_bias(self, mean: Tensor) -> Tensor:
        """Return the bias for loc = mean and scale = spread; shape (2 D,)."""
        return torch.cat([mean / self.spread, torch.full_like(mean, _INITIAL_RAW)])

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw real values in the data's own units."""
        loc, raw = outputs.chunk(2, dim=-1)
        noise = torch.randn(loc.shape, generator=generator, device=loc.device).to(loc.dtype)
        return self.spread * (loc + (softplus(raw) + SCALE_FLOOR) * noise)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return loc, shape (K, B, D)."""
        return self.spread * outputs.chunk(2, dim=-1)[0]
