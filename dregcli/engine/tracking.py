"""How much the gradients of several pairs vary along a training trajectory, on the samples it trains on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dregcli.columns import DECAY, NETWORKS, STATISTICS, WINDOW_STEPS, TrackedColumn
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.moments import RunningMoments
from dregcli.engine.pairs import Pair
from dregcli.engine.words import short_word

TRACKED = "tracked/"
"""What the names of these tensors begin with, beside the optimiser's in its state."""

_OF_WINDOW = "-window"


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
        self._moments = {network: RunningMoments(DECAY) for network in NETWORKS}
        self._windows = {network: RunningMoments(1.0) for network in NETWORKS}
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
        self._windows = {network: RunningMoments(1.0) for network in NETWORKS}
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
        self._windows = {network: RunningMoments(1.0) for network in NETWORKS}
        for part, moments in self._parts().items():
            prefix = f"{TRACKED}{part}/"
            own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            moments.load(own, self._device)

    def _parts(self) -> dict[str, RunningMoments]:
        """All moments, by what their tensors' names begin with."""
        return self._moments | {network + _OF_WINDOW: moments for network, moments in self._windows.items()}
