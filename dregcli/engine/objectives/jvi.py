"""Jackknife variational inference: the importance-weighted bound with its leading bias terms removed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.indexed import add_by_index
from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.weights import largest, leave_one_out_logsumexp, log_mean_exp, normalised

MOST_TERMS = 10**7
"""Largest number of terms per example; with more, one step would take minutes. There are K terms for each ordered
choice of all removed samples except one."""

_CHUNK = 1 << 20
"""Largest number of elements in an array that holds leave-one-out sets; larger work is cut into chunks."""


@dataclass(frozen=True)
class _Means:
    """Means over all subsets S of K - j of the K samples.

    Attributes:
        value: mean of the bound of S, log mean_{k in S} w_k, shape (B,).
        first: mean of v_k^S, the weights normalised inside S (0 where k is not in S), shape (K, B).
        square: mean of (v_k^S)^2, shape (K, B).
    """

    value: Tensor
    first: Tensor
    square: Tensor


def _without_one(log_w: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield chunks of (removed, rest): removed samples, (I,), and the indices of the others, (K-1, I)."""
    k, elements = log_w.shape[0], log_w.numel()
    rows = torch.arange(k - 1, device=log_w.device)[:, None]
    size = max(1, _CHUNK // elements)
    for first in range(0, k, size):
        removed = torch.arange(first, min(k, first + size), device=log_w.device)
        yield removed, rows + (rows >= removed)


def _subset_means(log_w: Tensor, j: int) -> _Means:
    """Compute means over all subsets with ``j`` samples removed. The cost is O(K) for j up to 1, O(K^j) beyond."""
    k = log_w.shape[0]
    if j == 0:
        v = normalised(log_w)
        return _Means(log_mean_exp(log_w), v, v.square())
    if j == 1:
        # v_k^(-i) = w_k / sum_{j != i} w_j, so its sum over i != k is w_k times another leave-one-out sum.
        without = leave_one_out_logsumexp(log_w)
        first = (log_w + leave_one_out_logsumexp(-without)).exp() / k
        square = (2.0 * log_w + leave_one_out_logsumexp(-2.0 * without)).exp() / k
        return _Means(without.mean(dim=0) - math.log(k - 1), first, square)
    # Remove one sample, then j - 1 of the others; this counts each set of j removed samples j times.
    batch = log_w.shape[1]
    value = torch.zeros_like(log_w[0])
    first, square = torch.zeros_like(log_w), torch.zeros_like(log_w)
    for removed, rest in _without_one(log_w):
        inner = _subset_means(log_w[rest].flatten(1), j - 1)
        value += inner.value.reshape(len(removed), batch).sum(dim=0)
        add_by_index(first, rest.flatten(), inner.first.reshape(-1, batch))
        add_by_index(square, rest.flatten(), inner.square.reshape(-1, batch))
    return _Means(value / k, first / k, square / k)


def _subset_value(log_w: Tensor, j: int) -> Tensor:
    """Compute the mean of the bounds of all subsets with ``j`` samples removed, shape (B,)."""
    if j == 0:
        return log_mean_exp(log_w)
    if j == 1:
        total = torch.logsumexp(log_w, dim=0)
        return total - math.log(log_w.shape[0] - 1) + _mean_log_one_minus(log_w)
    return _subset_means(log_w, j).value


def _mean_log_one_minus(log_w: Tensor) -> Tensor:
    """Compute the mean over samples of log(1 - v_k), (B,); for the largest weight, 1 - v is the sum of the others."""
    most = log_w.argmax(dim=0, keepdim=True)
    # Relative to the largest weight, which is 1 and omitted. So the share subtracted from 1 is at most a half.
    rest = log_w.scatter(0, most, -math.inf) - log_w.gather(0, most)
    weights = rest.exp()
    others = weights.sum(dim=0)
    # Another pass is needed only if all other weights underflow; to know it would make the host wait for a GPU.
    log_others = torch.logsumexp(rest, dim=0) if others.is_cuda or not others.all() else others.log()
    total = torch.log1p(others)
    each = torch.log1p(weights.div_(-1.0 - others)).sum(dim=0)
    return (each + log_others - total) / log_w.shape[0]


def _replaced_means(log_w: Tensor, replacement: Tensor, j: int) -> Tensor:
    """Compute means of all subsets' bounds with ``j`` removed and each sample replaced in turn; shape (K, B)."""
    k, batch = log_w.shape
    if j == 0:
        return torch.logaddexp(leave_one_out_logsumexp(log_w), replacement) - math.log(k)
    total = torch.zeros_like(log_w)
    for removed, rest in _without_one(log_w):
        others, replacing = log_w[rest].flatten(1), replacement[rest].flatten(1)
        # If the replaced sample is itself removed, its replacement has no effect.
        total[removed] += _subset_means(others, j - 1).value.reshape(len(removed), batch)
        add_by_index(total, rest.flatten(), _replaced_means(others, replacing, j - 1).reshape(-1, batch))
    return total / k


@dataclass(frozen=True)
class Jvi(FunctionObjective):
    """The sum over j=0..m of c_j * mean bound over subsets of K - j samples; c_j = (-1)^j (K-j)^m / ((m-j)! j!).

    Order 1 is K times the bound minus K - 1 times the mean of the leave-one-out bounds; order 0 is IWAE. The value
    estimates log p(x) with bias O(K^-(m+1)) and is not a bound.

    Reference: Nowozin, Debiasing evidence approximations, ICLR 2018.
    """

    name: ClassVar[str] = "jvi"
    reference: ClassVar[str] = "Nowozin, ICLR 2018"
    cites: ClassVar[tuple[str, ...]] = ("nowozin2018jvi",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("g", "g", "-g", "h")

    order: int = 1

    @property
    def smallest_k(self) -> int:
        """One more sample than the number of removed samples."""
        return self.order + 1

    def faults(self, k: int) -> list[str]:
        """Check that the order is at least 0 and that its subsets are few enough to be summed."""
        if self.order < 0:
            return [f"order must be at least 0, got {self.order}."]
        if self.order >= 2 and (terms := k * math.perm(k, self.order - 1)) > MOST_TERMS:
            size = len(str(terms)) - 1
            return [f"order {self.order} with k={k} sums 10^{size} terms for each example; lower the order or k."]
        return []

    def _coefficients(self, k: int) -> list[float]:
        m = self.order
        return [(-1) ** j * (k - j) ** m / (math.factorial(m - j) * math.factorial(j)) for j in range(m + 1)]

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = sum_j c_j mean v_k^S and F_kk = sum_j c_j mean (v_k^S - (v_k^S)^2), shape (K, B)."""
        centre = largest(log_w)
        value, first = torch.zeros_like(log_w[0]), torch.zeros_like(log_w)
        square = torch.zeros_like(log_w)
        for j, c in enumerate(self._coefficients(log_w.shape[0])):
            means = _subset_means(log_w - centre, j)
            value += c * means.value
            first += c * means.first
            square += c * means.square
        return terms_of_function(log_w, value + centre, first, first - square)

    def value(self, log_w: Tensor) -> Tensor:
        """Compute the value alone, since evaluations need it at thousands of samples."""
        centre = largest(log_w)
        coefficients = self._coefficients(log_w.shape[0])
        return centre + sum(c * _subset_value(log_w - centre, j) for j, c in enumerate(coefficients))

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute the value with each weight replaced in turn, in O(K^(order + 1)) time and O(K) memory."""
        total = torch.zeros_like(log_w)
        for j, c in enumerate(self._coefficients(log_w.shape[0])):
            total += c * _replaced_means(log_w, replacement, j)
        return total

    def is_linear(self, k: int) -> bool:
        """Whether there is only one sample: then the order is 0 and it equals the ELBO."""
        return k == 1

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return every possible order that is cheap."""
        return tuple(cls(order) for order in range(min(k, 4)))
