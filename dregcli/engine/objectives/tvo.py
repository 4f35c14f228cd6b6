"""The thermodynamic variational objective: a Riemann sum along the path from the posterior q to the model."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.antithetic import of_partners
from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.tvo_moments import equal_rises
from dregcli.engine.weights import largest, leave_one_out_logsumexp, leave_one_out_sum, normalised
from dregcli.errors import Fault, SpecError
from dregcli.names import TvoRule, TvoSchedule

BETA = 0.02
"""The default of b_1."""

EPOCHS_OF_A_FIT = 6
"""Epochs from one fit of the points to the next, as in the code of arXiv 2007.00642."""


@dataclass(frozen=True)
class TvoPoint:
    """One point of the sum, at log-weights of shape (K, B).

    Attributes:
        width: width of the point's part of the path.
        power: the power b of the weights; 0 is the posterior and 1 the model.
        v: weights normalised after the power, softmax(b log w), shape (K, B).
        deviation: log w - m, where m = sum_k v_k log w_k, shape (K, B), nats. At b > 0 it is 0 for a log-weight of
            -inf, whose v is 0. At b = 0 it is not finite for an example with such a log-weight.
        mean: m, shape (B,), nats.
    """

    width: float
    power: float
    v: Tensor
    deviation: Tensor
    mean: Tensor

    @property
    def tilt(self) -> Tensor:
        """The product b (log w - m), which is 0 at b = 0 for any log-weights; shape (K, B)."""
        return self.power * self.deviation if self.power else torch.zeros_like(self.v)


@dataclass(frozen=True)
class Tvo(FunctionObjective):
    """The sum over j of D_j m_j, where m_j = sum_k v^j_k log w_k and v^j = softmax(b_j log w).

    The points are 0 = b_0 < b_1 < ... < b_J = 1. The mean m_b does not decrease in b, and its integral from 0 to 1 is
    the IWAE bound of the same samples. So for any samples, the left sum is between the ELBO and the IWAE bound, and
    therefore a lower bound of log p(x). The right sum is not below the IWAE bound, and is not a bound of log p(x).
    The left sum of one part is the ELBO.

    Attributes:
        partitions: the number J of parts.
        beta: b_1. With one part there is no point between 0 and 1, and beta has no effect.
        rule: where each part's height is taken: at its left end, at its right end, or the mean of both (trapezoid).
        schedule: how b_1 to b_J are spaced from beta to 1: evenly in their logarithms (log), or evenly (linear).
            Linear with beta = 1/J cuts the path into equal parts. Or ``moments``: a training fits the points so that
            the data's mean of m_b rises by the same amount in every part, before its first step and then every 6
            epochs. It takes no beta.
        inner: the fitted points b_1 to b_(J-1) of schedule ``moments``; empty before the first fit.

    Reference: Masrani, Le, Wood, arXiv 1907.00031; for the defaults its figure 6 (5 parts, log,
    with beta = 0.02 at 10 samples). For moments: Brekelmans et al., arXiv 2007.00642.
    """

    name: ClassVar[str] = "tvo"
    reference: ClassVar[str] = "arXiv 1907.00031"
    cites: ClassVar[tuple[str, ...]] = ("masrani2019tvo",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("g", "g", "-g", "h")
    fitted_fields: ClassVar[tuple[str, ...]] = ("inner",)
    has_partners: ClassVar[bool] = True

    partitions: int = 5
    beta: float = BETA
    rule: TvoRule = TvoRule.LEFT
    schedule: TvoSchedule = TvoSchedule.LOG
    inner: tuple[float, ...] = ()

    def faults(self, k: int) -> list[str]:
        """Check that there is a part, and that beta is inside (0, 1) and has an effect."""
        faults: list[str] = []
        if self.partitions < 1:
            faults.append(f"partitions must be at least 1, got {self.partitions}.")
        if not 0.0 < self.beta < 1.0:
            faults.append(f"beta must be above 0 and below 1, got {self.beta:g}.")
        elif self.schedule is TvoSchedule.MOMENTS and self.beta != BETA:
            faults.append(f"beta has no effect with schedule=moments: leave it out, got {self.beta:g}.")
        return faults

    @property
    def fitted_names(self) -> tuple[str, ...]:
        """The names b1, b2, ... of the points inside (0, 1), if they are fitted."""
        if self.schedule is not TvoSchedule.MOMENTS:
            return ()
        return tuple(f"b{j}" for j in range(1, self.partitions))

    @property
    def fitted_values(self) -> dict[str, float]:
        """The fitted points by name; empty before the first fit."""
        return dict(zip(self.fitted_names, self.inner, strict=True)) if self.inner else {}

    @property
    def unfitted(self) -> str | None:
        """The reason why there are no points yet; None if there are."""
        if len(self.inner) == len(self.fitted_names):
            return None
        return "the points of schedule=moments are fitted during training: use schedule=log or schedule=linear here."

    def refitted_every(self, steps_per_epoch: int) -> int | None:
        """Return the steps of 6 epochs if the points are fitted."""
        return EPOCHS_OF_A_FIT * steps_per_epoch if self.fitted_names else None

    def fitted(self, log_w: Tensor) -> Self:
        """Return the objective with the points between which the mean of m_b over the examples rises equally."""
        return replace(self, inner=tuple(equal_rises(log_w, self.partitions))) if self.fitted_names else self

    def with_fitted(self, values: Mapping[str, float]) -> Self:
        """Return the objective with other fitted points, by their names."""
        return replace(self, inner=tuple(values[name] for name in self.fitted_names))

    def powers(self) -> list[float]:
        """Return b_0 to b_J.

        Raises:
            SpecError: the points are not fitted.
        """
        if self.unfitted:
            raise SpecError([Fault("objective", self.unfitted)])
        if self.schedule is TvoSchedule.MOMENTS:
            return [0.0, *self.inner, 1.0]
        parts = self.partitions - 1
        if self.schedule is TvoSchedule.LOG:
            inner = [self.beta ** ((parts - j) / parts) for j in range(parts)]
        else:
            inner = [self.beta + (1.0 - self.beta) * (j / parts) for j in range(parts)]
        return [0.0, *inner, 1.0]

    def widths(self) -> list[float]:
        """Return D_0 to D_J; their sum is 1."""
        powers = self.powers()
        lengths = [after - before for before, after in pairwise(powers)]
        left, right = [*lengths, 0.0], [0.0, *lengths]
        if self.rule is TvoRule.LEFT:
            return left
        if self.rule is TvoRule.RIGHT:
            return right
        return [0.5 * (a + b) for a, b in zip(left, right, strict=True)]

    def points(self, log_w: Tensor) -> Iterator[TvoPoint]:
        """Yield the points with a width above 0, at float64 log-weights of shape (K, B)."""
        centre = largest(log_w)
        log_w = log_w - centre
        present = log_w.masked_fill(log_w == -math.inf, 0.0)
        for power, width in zip(self.powers(), self.widths(), strict=True):
            if width == 0.0:
                continue
            if power == 0.0:
                v, mean = torch.full_like(log_w, 1.0 / log_w.shape[0]), log_w.mean(dim=0)
                deviation = log_w - mean
            else:
                v = normalised(power * log_w)
                mean = (v * present).sum(dim=0)
                deviation = (present - mean).masked_fill(log_w == -math.inf, 0.0)
            yield TvoPoint(width, power, v, deviation, mean + centre)

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = sum_j D_j v^j_k h^j_k with h^j_k = 1 + b_j (log w_k - m_j), and F_kk; shape (K, B).

        F_kk = sum_j D_j b_j [v^j_k (1 - v^j_k) h^j_k + v^j_k (1 - v^j_k h^j_k)].
        """
        value, first, second = torch.zeros_like(log_w[0]), torch.zeros_like(log_w), torch.zeros_like(log_w)
        for point in self.points(log_w):
            v, h = point.v, 1.0 + point.tilt
            value += point.width * point.mean
            first += point.width * v * h
            second += point.width * point.power * v * ((1.0 - v) * h + (1.0 - v * h))
        return terms_of_function(log_w, value, first, second)

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute sum_j D_j b_j v^j_k v^j_k' (h^j_k + h^j_k')."""
        total = torch.zeros_like(log_w)
        for point in self.points(log_w):
            v, h = point.v, 1.0 + point.tilt
            total += point.width * point.power * v * of_partners(v) * (h + of_partners(h))
        return total

    def value(self, log_w: Tensor) -> Tensor:
        """Compute the value alone."""
        return sum((point.width * point.mean for point in self.points(log_w)), torch.zeros_like(log_w[0]))

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute the value with each log-weight replaced in turn, in O(K J).

        The mean of the other samples moves towards the replacement by the replacement's share of the weight.
        """
        if log_w.shape[0] == 1:
            return replacement
        centre = largest(log_w)
        log_w, replacement = log_w - centre, replacement - centre
        arriving = replacement.masked_fill(replacement == -math.inf, 0.0)
        total = torch.zeros_like(log_w)
        for power, width in zip(self.powers(), self.widths(), strict=True):
            if width == 0.0:
                continue
            if power == 0.0:
                total += width * Elbo().replaced(log_w, replacement)
                continue
            share = torch.sigmoid(power * replacement - leave_one_out_logsumexp(power * log_w))
            total += width * ((1.0 - share) * _mean_of_others(log_w, power) + share * arriving)
        return total + centre

    def is_linear(self, k: int) -> bool:
        """Whether it equals the ELBO, which is linear."""
        return k == 1 or (self.partitions == 1 and self.rule is TvoRule.LEFT)

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return the default, and the other schedule with the rule that weighs both ends."""
        return cls(), cls(partitions=3, beta=0.2, rule=TvoRule.TRAPEZOID, schedule=TvoSchedule.LINEAR)


def _mean_of_others(log_w: Tensor, power: float) -> Tensor:
    """Compute sum_{i != k} w_i^b log w_i / sum_{i != k} w_i^b for every k; shape (K, B), nats.

    The largest log-weight of each example must be 0, so that no sum with it underflows. The mean without it is
    computed separately.
    """
    weight = (power * log_w).exp()
    present = log_w.masked_fill(log_w == -math.inf, 0.0)
    means = leave_one_out_sum(weight * present) / leave_one_out_sum(weight)
    most = log_w.argmax(dim=0, keepdim=True)
    rest = normalised(power * log_w.scatter(0, most, -math.inf))
    return means.scatter(0, most, (rest * present).sum(dim=0, keepdim=True))
