"""How much the gradients of several pairs vary along a training trajectory, on the samples it trains on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dregcli.columns import DECAY, NETWORKS, STATISTICS, WINDOW_STEPS, TrackedColumn
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.pairs import Pair
from dregcli.engine.snr import signal_to_noise
from dregcli.engine.words import short_word

TRACKED = "tracked/"
"""What the names of these tensors begin with, beside the optimiser's in its state."""

_WEIGHTS = "weights"
_OF_WINDOW = "-window"

_BLOCK = 2**16
"""Coordinates that are worked on at once. What several passes read and write is then in the cache after the first."""


class Moments:
    """Weighted means and variances of P sequences of vectors, coordinate by coordinate.

    The last vector counts 1, the one before it ``decay``, and so on; with a decay of 1 they are the plain mean and
    variance. Deviations are from the running mean (West's recurrence): a difference of two averages would lose the
    variance of a coordinate that hardly varies. The variance is unbiased for independent vectors: of weights w the
    sum of squares is divided by sum w - sum w^2 / sum w, of n that count the same by n - 1.

    Args:
        decay: in (0, 1].
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._weight = 0.0
        self._squared_weight = 0.0
        self._means: Named = {}
        self._squares: Named = {}

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
                deviation = new[block] - mean[block]
                mean[block].add_(deviation, alpha=share)
                if self._decay != 1.0:
                    squares[block].mul_(self._decay)
                squares[block].addcmul_(deviation, deviation, value=1.0 - share)

    def variance_and_snr(self) -> Tensor:
        """Means over coordinates of the variance, and ``signal_to_noise``, (2, P), float64.

        Before the second vector all is NaN.
        """
        rest = self._weight - self._squared_weight / self._weight
        count = sum(each[0].numel() for each in self._means.values())
        # By name: parts that were loaded may come in another order, in which the sum may be another in its last bit.
        parts: list[tuple[Tensor, Tensor]] = []
        for name, squares in sorted(self._squares.items()):
            variance = squares.flatten(1) / rest if rest else torch.full_like(squares.flatten(1), torch.nan)
            parts.append((self._means[name].flatten(1), variance))
        total = torch.zeros((), dtype=torch.float64)
        for _, variance in parts:
            total = total + variance.sum(dim=1, dtype=torch.float64).cpu()
        return torch.stack([total / count, signal_to_noise(parts)])

    def tensors(self) -> Named:
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


class Tracker:
    """Measures pairs along a trajectory. Training is the same to the last bit with and without it.

    Args:
        pairs: what is measured, at least one.
        trained: the pair that trains, as its learning starts; where it is among them, it is measured as it learns.
        device: the model's.
    """

    def __init__(self, pairs: Sequence[Pair], trained: Pair, device: torch.device) -> None:
        self._pairs = tuple(pairs)
        self._trained = trained
        self._device = device
        self._moments = {network: Moments(DECAY) for network in NETWORKS}
        self._windows = {network: Moments(1.0) for network in NETWORKS}
        objectives = list(dict.fromkeys(pair.objective for pair in pairs))
        self._objectives = [objectives.index(pair.objective) for pair in pairs]

    def add(self, step: Step, current: Pair, *, train_model: bool) -> None:
        """Measure one step.

        Args:
            step: evaluated for the pair that trains.
            current: that pair with what it has learned so far.
            train_model: whether theta's gradients are measured, too.
        """
        pairs = tuple(current if pair == self._trained else pair for pair in self._pairs)
        model, posterior = step.each(pairs, train_model=train_model)
        gradients = {"posterior": posterior, "model": model} if train_model else {"posterior": posterior}
        for network, each in gradients.items():
            self._moments[network].add(each)
            self._windows[network].add(each)

    def row(self) -> dict[str, float]:
        """What is known of every pair, by ``TrackedColumn``, and the window's steps; a new window begins.

        Of another objective than the one that trains, an estimator's word is its pair's.
        """
        found: dict[str, float] = {WINDOW_STEPS: self._windows["posterior"].count}
        for windowed, of_networks in ((False, self._moments), (True, self._windows)):
            for network, moments in of_networks.items():
                if moments.started:
                    found |= self._columns(network, moments.variance_and_snr(), windowed=windowed)
        self._windows = {network: Moments(1.0) for network in NETWORKS}
        return found

    def _columns(self, network: str, both: Tensor, *, windowed: bool) -> dict[str, float]:
        """Columns of variances and ratios, (2, P), of the pairs or of their objectives."""
        values: list[list[float]] = both.tolist()  # pyright: ignore[reportUnknownVariableType]
        return {
            TrackedColumn(self._name(pair), network, statistic, windowed).name: of_pairs[
                self._objectives[i] if network == "model" else i
            ]
            for i, pair in enumerate(self._pairs)
            for statistic, of_pairs in zip(STATISTICS, values, strict=True)
        }

    def _name(self, pair: Pair) -> str:
        """As short as it can be; no slash, which has a meaning in files."""
        estimator = short_word(pair.estimator)
        return estimator if pair.objective == self._trained.objective else f"{short_word(pair.objective)}-{estimator}"

    def tensors(self) -> Named:
        """Everything, copied, as ``tracked/...``."""
        return {
            f"{TRACKED}{part}/{name}": each
            for part, moments in self._parts().items()
            for name, each in moments.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave; others of the mapping are left alone.

        Raises:
            KeyError: a part is missing.
        """
        self._windows = {network: Moments(1.0) for network in NETWORKS}
        for part, moments in self._parts().items():
            prefix = f"{TRACKED}{part}/"
            own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            moments.load(own, self._device)

    def _parts(self) -> dict[str, Moments]:
        """All moments, by what their tensors' names begin with."""
        return self._moments | {network + _OF_WINDOW: moments for network, moments in self._windows.items()}
