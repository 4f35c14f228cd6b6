"""Variance of several pairs' gradients along a training trajectory, measured on the samples that training uses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dregcli.columns import DECAY, NETWORKS, STATISTICS, WINDOW_STEPS, TrackedColumn
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.moments import RunningMoments
from dregcli.engine.pairs import Pair
from dregcli.engine.words import short_word

TRACKED = "tracked/"
"""Prefix of these tensors' names, which lie beside the optimiser's tensors in its state."""

_OF_WINDOW = "-window"


class Tracker:
    """Measure pairs along a trajectory. Training is the same to the last bit with and without a tracker.

    Args:
        pairs: pairs to measure, at least one.
        trained: the pair that trains, at its initial parameters; if it is in ``pairs``, it is measured at the
            parameters that it has learned. Pairs of its objective are measured at the objective of each step.
        device: device of the model.
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
            step: step that was evaluated for the pair that trains.
            current: the pair that trains: the step's objective, and the parameters learned so far.
            train_model: whether theta's gradients are measured too.
        """
        pairs = tuple(current if pair == self._trained else self._now(pair, current) for pair in self._pairs)
        model, posterior = step.each(pairs, train_model=train_model)
        gradients = {"posterior": posterior, "model": model} if train_model else {"posterior": posterior}
        for network, each in gradients.items():
            if not each:  # no parameter of this network is trained
                continue
            self._moments[network].add(each)
            self._windows[network].add(each)

    def _now(self, pair: Pair, current: Pair) -> Pair:
        """Return a pair at the step's objective, if its objective is the one that trains."""
        return replace(pair, objective=current.objective) if pair.objective == self._trained.objective else pair

    def row(self) -> dict[str, float]:
        """Return the statistics of every pair, by ``TrackedColumn``, and the window's steps; begin a new window.

        A pair with another objective than the trained one is named by both words.
        """
        found: dict[str, float] = {WINDOW_STEPS: max(each.count for each in self._windows.values())}
        for windowed, of_networks in ((False, self._moments), (True, self._windows)):
            for network, moments in of_networks.items():
                if moments.started:
                    found |= self._columns(network, moments.variance_and_snr(), windowed=windowed)
        self._windows = {network: RunningMoments(1.0) for network in NETWORKS}
        return found

    def _columns(self, network: str, both: Tensor, *, windowed: bool) -> dict[str, float]:
        """Return the columns of variances and ratios, (2, P), for the pairs or for their objectives."""
        values: list[list[float]] = both.tolist()  # pyright: ignore[reportUnknownVariableType]
        return {
            TrackedColumn(self._name(pair), network, statistic, windowed).name: of_pairs[
                self._objectives[i] if network == "model" else i
            ]
            for i, pair in enumerate(self._pairs)
            for statistic, of_pairs in zip(STATISTICS, values, strict=True)
        }

    def _name(self, pair: Pair) -> str:
        """Return the shortest clear name, without a slash, which has a meaning in files."""
        estimator = short_word(pair.estimator)
        return estimator if pair.objective == self._trained.objective else f"{short_word(pair.objective)}-{estimator}"

    def tensors(self) -> Named:
        """Return a copy of the whole state, as ``tracked/...``."""
        return {
            f"{TRACKED}{part}/{name}": each
            for part, moments in self._parts().items()
            for name, each in moments.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a part is missing.
        """
        self._windows = {network: RunningMoments(1.0) for network in NETWORKS}
        for part, moments in self._parts().items():
            prefix = f"{TRACKED}{part}/"
            own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            moments.load(own, self._device)

    def _parts(self) -> dict[str, RunningMoments]:
        """Return all moments, by the prefix of their tensors' names."""
        return self._moments | {network + _OF_WINDOW: moments for network, moments in self._windows.items()}
