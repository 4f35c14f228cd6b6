"""Means and variances of vectors that come one after the other, coordinate by coordinate: one recurrence for all.

Deviations are from the running mean, and groups are merged as Chan, Golub and LeVeque do: a difference of two sums of
squares would lose the variance of a coordinate that hardly varies about a large mean.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dregcli.engine.snr import signal_to_noise

_WEIGHTS = "weights"

_BLOCK = 2**16
"""Coordinates that are worked on at once. What several passes read and write is then in the cache after the first."""


def _merge(mean: Tensor, squares: Tensor, deviation: Tensor, *, share: float, weight: float = 1.0) -> None:
    """Merge vectors into a mean and a sum of squared deviations, in place.

    Where the vectors are more than one, their own squared deviations are added to ``squares`` by the caller.

    Args:
        mean: so far.
        squares: so far.
        deviation: the mean of the new vectors less ``mean``.
        share: the weight of the new vectors over the weight of all.
        weight: the weight of the new vectors.
    """
    mean.add_(deviation, alpha=share)
    squares.addcmul_(deviation, deviation, value=weight * (1.0 - share))


class RunningMoments:
    """Weighted means and variances of P sequences of vectors, coordinate by coordinate.

    The last vector counts 1, the one before it ``decay``, and so on; with a decay of 1 they are the plain mean and
    variance. Deviations are from the running mean (West's recurrence): a difference of two averages would lose the
    variance of a coordinate that hardly varies. The variance is unbiased for independent vectors: of weights w the
    sum of squares is divided by sum w - sum w^2 / sum w, of n that count the same by n - 1.

    Args:
        decay: in (0, 1].
    """

    def __init__(self, decay: float = 1.0) -> None:
        self._decay = decay
        self._weight = 0.0
        self._squared_weight = 0.0
        self._means: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}

    @property
    def started(self) -> bool:
        """Whether there is any vector."""
        return self._weight > 0.0

    @property
    def count(self) -> float:
        """The sum of the weights: with a decay of 1, how many vectors there were."""
        return self._weight

    def add(self, vectors: Mapping[str, Tensor]) -> None:
        """Add one vector of each sequence, given by its parts, (P, ...) each."""
        self._weight = self._decay * self._weight + 1.0
        self._squared_weight = self._decay**2 * self._squared_weight + 1.0
        share = 1.0 / self._weight
        for name, part in vectors.items():
            if name not in self._means:
                self._means[name] = part.new_zeros(part.shape)
                self._squares[name] = part.new_zeros(part.shape)
            new, mean, squares = (
                each.view(-1) for each in (part.contiguous(), self._means[name], self._squares[name])
            )
            for first in range(0, len(new), _BLOCK):
                block = slice(first, first + _BLOCK)
                if self._decay != 1.0:
                    squares[block].mul_(self._decay)
                _merge(mean[block], squares[block], new[block] - mean[block], share=share)

    def variance_and_snr(self, *names: str) -> Tensor:
        """Means over coordinates of the variance, and ``signal_to_noise``, (2, P), float64.

        Before the second vector all is NaN.

        Args:
            names: the parts whose coordinates count; none is all parts.
        """
        rest = self._weight - self._squared_weight / self._weight
        # By name: parts that were loaded may come in another order, in which the sum may be another in its last bit.
        chosen = sorted(names or self._means)
        count = sum(self._means[name][0].numel() for name in chosen)
        parts: list[tuple[Tensor, Tensor]] = []
        for name in chosen:
            squares = self._squares[name].flatten(1)
            variance = squares / rest if rest else torch.full_like(squares, torch.nan)
            parts.append((self._means[name].flatten(1), variance))
        total = torch.zeros((), dtype=torch.float64)
        for _, variance in parts:
            total = total + variance.sum(dim=1, dtype=torch.float64).cpu()
        return torch.stack([total / count, signal_to_noise(parts)])

    @property
    def means(self) -> Mapping[str, Tensor]:
        """The mean of each part, (P, ...)."""
        return self._means

    def tensors(self) -> dict[str, Tensor]:
        """Everything, copied."""
        weights = torch.tensor([self._weight, self._squared_weight], dtype=torch.float64)
        means = {f"{name}/mean": each.clone() for name, each in self._means.items()}
        return {_WEIGHTS: weights} | means | {f"{name}/squares": each.clone() for name, each in self._squares.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Put back what ``tensors`` gave.

        Raises:
            KeyError: the weights are missing.
        """
        self._weight, self._squared_weight = (float(each) for each in tensors[_WEIGHTS])
        self._means, self._squares = {}, {}
        for kind, into in (("/mean", self._means), ("/squares", self._squares)):
            into.update(
                (name.removesuffix(kind), each.to(device).clone())
                for name, each in tensors.items()
                if name.endswith(kind)
            )


class GroupMoments:
    """Means and sums of squared deviations of P sequences of vectors, group by group, coordinate by coordinate.

    They are merged as Chan, Golub and LeVeque do: a difference of two sums of squares would lose the variance of a
    coordinate that hardly varies about a large mean.

    Args:
        groups: G.
    """

    def __init__(self, groups: int) -> None:
        self.counts = [0] * groups
        self._mean: Tensor | None = None  # (G, P, D)
        self._squares: Tensor | None = None

    def add(self, group: int, vectors: Tensor) -> None:
        """Add n vectors of each sequence to a group, shape (P, n, D)."""
        pairs, n, width = vectors.shape
        if self._mean is None or self._squares is None:
            self._mean = vectors.new_zeros(len(self.counts), pairs, width)
            self._squares = torch.zeros_like(self._mean)
        mean, squares = self._mean[group], self._squares[group]
        # From the first one on: what is the same in all of them does not vary in its last bit.
        theirs = vectors[:, 0] + (vectors - vectors[:, :1]).mean(dim=1)
        if n > 1:
            squares += (vectors - theirs.unsqueeze(1)).square_().sum(dim=1)
        self.counts[group] += n
        _merge(mean, squares, theirs.sub_(mean), share=n / self.counts[group], weight=n)

    def merged(self, sequence: int, groups: Sequence[int]) -> tuple[int, Tensor, Tensor]:
        """Number, mean and unbiased variance of all vectors of one sequence in some groups; (D,) each, float64."""
        assert self._mean is not None
        assert self._squares is not None
        n, mean, squares = 0, None, None
        for each in groups:
            if not self.counts[each]:
                continue
            n += self.counts[each]
            own, own_squares = self._mean[each, sequence].double(), self._squares[each, sequence].double()
            if mean is None or squares is None:
                # Copies: of float64 moments these are the moments themselves.
                mean, squares = own.clone(), own_squares.clone()
                continue
            squares += own_squares
            _merge(mean, squares, own - mean, share=self.counts[each] / n, weight=self.counts[each])
        assert mean is not None
        assert squares is not None
        return n, mean, squares / (n - 1)

    def mean(self, groups: Sequence[int]) -> Tensor:
        """Mean of each sequence over some groups, (P, D), float64."""
        assert self._mean is not None
        n = sum(self.counts[each] for each in groups)
        total = torch.zeros(self._mean.shape[1:], dtype=torch.float64, device=self._mean.device)
        for each in groups:
            total.add_(self._mean[each].double(), alpha=self.counts[each] / n)
        return total

    def state(self) -> dict[str, Tensor]:
        """Its arrays; none before the first vector."""
        if self._mean is None or self._squares is None:
            return {}
        return {"mean": self._mean, "squares": self._squares, "counts": torch.tensor(self.counts)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        if state:
            self._mean, self._squares = state["mean"], state["squares"]
            self.counts = [int(each) for each in state["counts"]]
