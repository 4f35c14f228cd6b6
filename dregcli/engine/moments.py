"""Means and variances of vectors that arrive one after the other, coordinate by coordinate.

Deviations are from the running mean, and groups are merged by the method of Chan, Golub and LeVeque: a difference of
two sums of squares would lose the variance of a coordinate that hardly varies about a large mean.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dregcli.engine.snr import signal_to_noise
from dregcli.engine.wide import wide_sums

_WEIGHTS = "weights"

_BLOCK = 2**16
"""Coordinates that are processed at once. After the first pass over them, later passes find them in the cache."""


def blocks(count: int, whole: int = 1) -> list[slice]:
    """Return blocks of ``count`` coordinates that are processed at once, cut at multiples of ``whole``."""
    size = max(1, _BLOCK // whole) * whole
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _merge(mean: Tensor, squares: Tensor, deviation: Tensor, *, share: float, factor: float) -> None:
    """Merge vectors into a mean and a sum of squared deviations, in place.

    If there is more than one vector, the caller adds the vectors' own squared deviations to ``squares``.

    Args:
        mean: mean so far.
        squares: sum of squared deviations so far.
        deviation: mean of the new vectors minus ``mean``.
        share: weight of the new vectors divided by the weight of all vectors.
        factor: weight of the earlier vectors times ``share``. The caller computes it, since its last bit depends on
            how it is computed.
    """
    mean.add_(deviation, alpha=share)
    squares.addcmul_(deviation, deviation, value=factor)


class RunningMoments:
    """Weighted means and variances of P sequences of vectors, coordinate by coordinate.

    The last vector has weight 1, the vector before it ``decay``, and so on; a decay of 1 gives the plain mean and
    variance. Deviations are from the running mean (West's recurrence): a difference of two averages would lose the
    variance of a coordinate that hardly varies. The variance is unbiased for independent vectors: with weights w, the
    sum of squares is divided by sum w - sum w^2 / sum w; with n equal weights, by n - 1.

    Args:
        decay: factor by which older vectors lose weight, in (0, 1].
    """

    def __init__(self, decay: float = 1.0) -> None:
        self._decay = decay
        self._weight = 0.0
        self._squared_weight = 0.0
        self._merged_by = (1.0, 1.0, 0.0)
        self._means: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}

    @property
    def names(self) -> Sequence[str]:
        """The names of the parts that vectors have had."""
        return [*self._means]

    @property
    def started(self) -> bool:
        """Whether any vector was added."""
        return self._weight > 0.0

    @property
    def count(self) -> float:
        """The sum of the weights; with a decay of 1, the number of vectors."""
        return self._weight

    def add(self, vectors: Mapping[str, Tensor]) -> None:
        """Add one vector to each sequence, given by its parts, (P, ...) each; parts that are not given are 0."""
        self.begin(1)
        for name in {**self._means, **vectors}:
            part = vectors[name] if name in vectors else torch.zeros_like(self._means[name])
            self.make_room(name, part.shape, part)
            new = part.reshape(-1)
            for block in blocks(len(new)):
                self.merge(name, block, new[block])

    def begin(self, count: int) -> list[float]:
        """Begin to add ``count`` vectors to each sequence; ``merge`` then gets the moments of every coordinate once.

        Returns:
            The weights of the vectors among each other.
        """
        weights = [self._decay**i for i in reversed(range(count))]
        added, kept = sum(weights), self._decay**count
        self._squared_weight = kept**2 * self._squared_weight + sum(each**2 for each in weights)
        self._weight = kept * self._weight + added
        share = added / self._weight
        self._merged_by = kept, share, added * (1.0 - share)
        return weights

    def make_room(self, name: str, shape: Sequence[int], like: Tensor) -> None:
        """Make the moments of a part of this shape, (P, ...), if they are not there yet."""
        if name not in self._means:
            self._means[name] = like.new_zeros(shape)
            self._squares[name] = like.new_zeros(shape)

    def merge(self, name: str, block: slice, mean: Tensor, squares: Tensor | None = None) -> None:
        """Merge the new vectors' moments of some coordinates. Threads may merge different blocks at once.

        Args:
            name: the part that the coordinates belong to; ``make_room`` was called for it.
            block: the coordinates, counted over the whole part.
            mean: weighted means, shape (n,).
            squares: weighted sums of squared deviations from the means; None if there is one new vector.
        """
        kept, share, factor = self._merged_by
        own_mean, own_squares = (each.view(-1)[block] for each in (self._means[name], self._squares[name]))
        if kept != 1.0:
            own_squares.mul_(kept)
        if squares is not None:
            own_squares.add_(squares)
        _merge(own_mean, own_squares, mean - own_mean, share=share, factor=factor)

    def variance_and_snr(self, *names: str) -> Tensor:
        """Return the variance's mean over coordinates, and ``signal_to_noise``, (2, P), float64.

        All values are NaN before the second vector.

        Args:
            names: parts whose coordinates count; without names, all parts.
        """
        rest = self._weight - self._squared_weight / self._weight
        # Sorted by name: loaded parts may have another order, which may change the last bit of the sum.
        chosen = sorted(names or self._means)
        count = sum(self._means[name][0].numel() for name in chosen)
        totals: list[Tensor] = []

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for name in chosen:
                mean, squares = self._means[name].flatten(1), self._squares[name].flatten(1)
                for block in blocks(mean.numel(), len(mean)):
                    columns = slice(block.start // len(mean), block.stop // len(mean))
                    some = squares[:, columns]
                    variance = some / rest if rest else torch.full_like(some, torch.nan)
                    totals.append(wide_sums(variance))
                    yield mean[:, columns], variance

        ratio = signal_to_noise(parts())
        return torch.stack([torch.stack(totals).sum(dim=0) / count, ratio])

    @property
    def means(self) -> Mapping[str, Tensor]:
        """The mean of each part, (P, ...)."""
        return self._means

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the whole state."""
        weights = torch.tensor([self._weight, self._squared_weight], dtype=torch.float64)
        means = {f"{name}/mean": each.clone() for name, each in self._means.items()}
        return {_WEIGHTS: weights} | means | {f"{name}/squares": each.clone() for name, each in self._squares.items()}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the state that ``tensors`` returned.

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

    They are merged by the method of Chan, Golub and LeVeque: a difference of two sums of squares would lose the
    variance of a coordinate that hardly varies about a large mean.

    Args:
        groups: number of groups, G.
    """

    def __init__(self, groups: int) -> None:
        self.counts = [0] * groups
        self._mean: Tensor | None = None  # (G, P, D)
        self._squares: Tensor | None = None

    def add(self, group: int, vectors: Tensor) -> None:
        """Add n vectors of each sequence, shape (P, n, D), to a group."""
        pairs, n, width = vectors.shape
        if self._mean is None or self._squares is None:
            self._mean = vectors.new_zeros(len(self.counts), pairs, width)
            self._squares = torch.zeros_like(self._mean)
        mean, squares = self._mean[group], self._squares[group]
        # Relative to the first vector, so that a coordinate that is equal in all vectors has exactly no variance.
        added_mean = vectors[:, 0] + (vectors - vectors[:, :1]).mean(dim=1)
        if n > 1:
            squares += (vectors - added_mean.unsqueeze(1)).square_().sum(dim=1)
        before, total = self.counts[group], self.counts[group] + n
        _merge(mean, squares, added_mean.sub_(mean), share=n / total, factor=before * n / total)
        self.counts[group] = total

    def merged(self, sequence: int, groups: Sequence[int]) -> tuple[int, Tensor, Tensor]:
        """Return number, mean and unbiased variance of one sequence's vectors in some groups; (D,) each, float64."""
        assert self._mean is not None
        assert self._squares is not None
        used = [each for each in groups if self.counts[each]]
        n = sum(self.counts[each] for each in used)
        means = [self._mean[each, sequence].double() for each in used]
        mean = means[0].clone()
        # Relative to the first mean: if all means are equal, the result equals them, and exactly nothing varies.
        for each, group_mean in zip(used, means, strict=True):
            mean.add_(group_mean - means[0], alpha=self.counts[each] / n)
        squares = torch.zeros_like(mean)
        for each, group_mean in zip(used, means, strict=True):
            # Not in place: .double() returns float64 moments themselves.
            deviation = group_mean - mean
            squares += self._squares[each, sequence].double()
            squares.addcmul_(deviation, deviation, value=float(self.counts[each]))
        return n, mean, squares / (n - 1)

    def is_idle(self, columns: slice) -> bool:
        """Return whether some coordinates are 0 in all vectors."""
        assert self._mean is not None
        assert self._squares is not None
        return not (self._mean[..., columns].any() or self._squares[..., columns].any())

    def mean(self, groups: Sequence[int]) -> Tensor:
        """Return the mean of each sequence over some groups, (P, D), float64."""
        assert self._mean is not None
        n = sum(self.counts[each] for each in groups)
        total = torch.zeros(self._mean.shape[1:], dtype=torch.float64, device=self._mean.device)
        for each in groups:
            total.add_(self._mean[each].double(), alpha=self.counts[each] / n)
        return total

    def state(self) -> dict[str, Tensor]:
        """Return the arrays; there are none before the first vector."""
        if self._mean is None or self._squares is None:
            return {}
        return {"mean": self._mean, "squares": self._squares, "counts": torch.tensor(self.counts)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        if state:
            self._mean, self._squares = state["mean"], state["squares"]
            self.counts = [int(each) for each in state["counts"]]
