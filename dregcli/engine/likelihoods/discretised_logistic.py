"""The likelihood of pixels with a few hundred levels, which gives each level a probability."""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.names import DataKind

SCALE_FLOOR = 0.05
"""The smallest scale, in bins. At this scale all mass except 1e-4 is in loc's own bin, so a smaller scale would gain
nothing, and gradients by loc, at most 1 / scale, stay bounded."""

_INITIAL_SCALE = math.sqrt(3.0) / math.pi
"""Initial scale in spreads: a logistic of scale s has the standard deviation s pi / sqrt(3)."""


def _log_sigmoid(x: Tensor) -> Tensor:
    """Return log sigmoid(x) with the dtype's rounding as absolute error; far below 0 it is linear, not -inf."""
    return x.clamp(max=0.0).add_(x.abs().sigmoid_().log_())


def _evaluate(
    outputs: Tensor, pixels: Tensor, bias: Tensor | None, spread: Tensor, levels: int, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    # All in bins: y in 0..levels; b and a are the upper and lower end of y's bin, measured from loc in scales.
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(-d)) with d = b - a = 1/scale: nothing cancels.
    y = (pixels * levels).round()
    has_upper, has_lower = (y < levels).to(outputs.dtype), (y > 0).to(outputs.dtype)
    inside = has_upper * has_lower
    outputs = outputs if bias is None else outputs + bias
    loc, raw = outputs.chunk(2, dim=-1)
    unit = spread * levels
    scale = softplus(raw).mul_(unit).add_(SCALE_FLOOR)
    d = scale.reciprocal()
    b = (y + 0.5 - unit * loc).mul_(d)
    a = b - d
    mass = torch.expm1(-d).neg_()
    total = torch.einsum("kbd,bd->kb", _log_sigmoid(b), has_upper)
    total += torch.einsum("kbd,bd->kb", _log_sigmoid(-a), has_lower)
    total += torch.einsum("kbd,bd->kb", mass.log(), inside)
    if not gradient:
        return total, None
    # By b: sigmoid(-b); by a: -sigmoid(a); by d: exp(-d)/(1 - exp(-d)). And db/dloc = da/dloc = -unit d,
    # db/dscale = -b d, da/dscale = -a d, dd/dscale = -d d.
    by_b, by_a = torch.sigmoid(-b).mul_(has_upper), torch.sigmoid(a).mul_(has_lower)
    by_outputs = torch.empty_like(outputs)
    by_loc, by_raw = by_outputs.chunk(2, dim=-1)
    d.mul_(unit)
    torch.sub(by_a, by_b, out=by_loc).mul_(d)
    by_d = mass.reciprocal_().sub_(1.0).mul_(inside).div_(scale)
    torch.sub(by_a.mul_(a), by_b.mul_(b), out=by_raw).sub_(by_d).mul_(d).mul_(torch.sigmoid(raw))
    return total, by_outputs


class DiscretisedLogistic(Likelihood):
    """The mass of a logistic distribution in each level's bin (arXiv 1606.04934; 1701.05517, equation 2).

    Pixels are 0, 1/levels, ..., 1. A bin reaches half a level up and down; the bins of 0 and 1 are open-ended, so
    that the masses of all levels sum to 1. loc = spread * out_1, scale = spread * softplus(out_2) + 0.05 / levels.

    Args:
        spread: standard deviation of each training pixel, shape (D,), above 0.
        levels: stored value of a pixel of intensity 1, at least 1: 255 for 256 grey levels.
    """

    cites = ("kingma2016iaf", "salimans2017pixelcnn")
    needs = "whole grey levels"
    outputs_per_pixel = 2
    kernel = staticmethod(_evaluate)
    compiled_kernel = staticmethod(_evaluate)
    spread: Tensor

    def __init__(self, spread: Tensor, *, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("spread", spread.clone())

    @classmethod
    def takes(cls, kind: DataKind, levels: int) -> bool:
        """Whether pixels are intensities that are stored as whole numbers."""
        return kind is DataKind.INTENSITY and levels > 1

    @classmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """Return the likelihood; it needs both arguments."""
        return cls(spread, levels=levels)

    def constants(self) -> tuple[Tensor, int]:
        """Return the spread and the levels."""
        return self.spread, self.levels

    def initial_bias(self, mean: Tensor) -> Tensor:
        """Return the bias for loc = mean and a standard deviation of one spread; shape (2 D,)."""
        # The part of the scale above the floor, which softplus must give; nearly 0 if the spread is below the floor.
        rest = (_INITIAL_SCALE - SCALE_FLOOR / (self.spread * self.levels)).clamp(min=0.01)
        return torch.cat([mean / self.spread, torch.log(torch.expm1(rest))])

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw levels: the nearest one to a logistic value, or the first or last one beyond them."""
        loc, raw = outputs.chunk(2, dim=-1)
        unit = self.spread * self.levels
        uniform = torch.rand(loc.shape, generator=generator, device=loc.device).to(loc.dtype)
        value = unit * loc + (unit * softplus(raw) + SCALE_FLOOR) * torch.logit(uniform)
        return value.round_().clamp_(0, self.levels) / self.levels

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean of the discrete distribution, which differs from loc at the edges. Shape (K, B, D)."""
        loc, raw = outputs.chunk(2, dim=-1)
        unit = self.spread * self.levels
        loc, scale = unit * loc, unit * softplus(raw) + SCALE_FLOOR
        # E[y] = sum over y of P(value >= y).
        total = torch.zeros_like(loc)
        for y in range(1, self.levels + 1):
            total += torch.sigmoid((loc - (y - 0.5)) / scale)
        return total / self.levels
