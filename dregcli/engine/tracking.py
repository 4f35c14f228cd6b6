"""Variance of several pairs' gradients along a training trajectory, measured on the samples that training uses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dregcli.columns import NETWORKS, STATISTICS, WINDOW_STEPS, TrackedColumn
from dregcli.engine.execution.batch import Named
from dregcli.engine.gradients import Step
from dregcli.engine.network_moments import NetworkMoments
from dregcli.engine.outer import OuterProducts, Stacked
from dregcli.engine.pairs import Pair
from dregcli.engine.words import short_word

TRACKED = "tracked/"
"""Prefix of these tensors' names, which lie beside the optimiser's tensors in its state."""


class Tracker:
    """Measure pairs along a trajectory. Training is the same to the last bit with and without a tracker.

    Args:
        pairs: pairs to measure, at least one.
        trained: the pair that trains, at its initial parameters; if it is in ``pairs``, it is measured at the
            parameters that it has learned. Pairs of its objective are measured at the objective of each step.
        device: device of the model.
        unreached: parameters that count as coordinates only once a step has reached them.
    """

    def __init__(
        self, pairs: Sequence[Pair], trained: Pair, device: torch.device, unreached: Sequence[str] = ()
    ) -> None:
        self._pairs = tuple(pairs)
        self._trained = trained
        self._device = device
        self._moments = {network: NetworkMoments() for network in NETWORKS}
        self._idle = {network: frozenset(unreached) for network in NETWORKS}
        thetas = list(dict.fromkeys(pair.theta for pair in pairs))
        self._thetas = [thetas.index(pair.theta) for pair in pairs]

    def add(self, step: Step, current: Pair, *, train_model: bool) -> None:
        """Measure one step.

        Args:
            step: step that was evaluated for the pair that trains.
            current: the pair that trains: the step's objective, and the parameters learned so far.
            train_model: whether theta's gradients are measured too.
        """
        pairs = tuple(current if pair == self._trained else self._now(pair, current) for pair in self._pairs)
        model, posterior = step.stacked(pairs, train_model=train_model)
        gradients: dict[str, Stacked] = {"posterior": posterior}
        if train_model:
            gradients["model"] = self._as_at_first(model, pairs)
        for network, each in gradients.items():
            if counted := self._counted(network, each):  # otherwise no parameter of this network is trained
                self._moments[network].add(counted)

    def _counted(self, network: str, gradients: Stacked) -> Stacked:
        """Return the gradients of the parameters that this or an earlier step has reached."""
        idle = self._idle[network]
        self._idle[network] = idle = idle - {
            name for name in idle & gradients.keys() if not _is_zero(gradients[name])
        }
        return {name: each for name, each in gradients.items() if name not in idle} if idle else gradients

    def _now(self, pair: Pair, current: Pair) -> Pair:
        """Return a pair at the step's objective, if its objective is the one that trains."""
        return replace(pair, objective=current.objective) if pair.objective == self._trained.objective else pair

    def _as_at_first(self, model: Named, pairs: Sequence[Pair]) -> Named:
        """Return theta's gradients with one row for each theta that was distinct at the first step.

        A step has one for each distinct theta of its own. The objective that trains may have become that of another
        pair, but the moments need the same rows at all steps.

        Args:
            model: theta's gradients of the step.
            pairs: the pairs at the step.
        """
        now = list(dict.fromkeys(pair.theta for pair in pairs))
        rows = [now.index(pairs[self._thetas.index(i)].theta) for i in range(max(self._thetas) + 1)]
        return {name: each[rows] for name, each in model.items()} if len(rows) > len(now) else model

    def row(self) -> dict[str, float]:
        """Return the statistics of every pair, by ``TrackedColumn``, and the window's steps; begin a new window.

        A pair with another objective than the trained one is named by both words.
        """
        for moments in self._moments.values():
            moments.settle()
        found: dict[str, float] = {WINDOW_STEPS: max(each.window.count for each in self._moments.values())}
        for windowed in (False, True):
            for network, moments in self._moments.items():
                kind = moments.window if windowed else moments.moving
                if kind.started:
                    found |= self._columns(network, kind.variance_and_snr(), windowed=windowed)
        for moments in self._moments.values():
            moments.begin_window()
        return found

    def _columns(self, network: str, both: Tensor, *, windowed: bool) -> dict[str, float]:
        """Return the columns of variances and ratios, (2, P), for the pairs or for their thetas."""
        values: list[list[float]] = both.tolist()  # pyright: ignore[reportUnknownVariableType]
        return {
            TrackedColumn(self._name(pair), network, statistic, windowed).name: of_pairs[
                self._thetas[i] if network == "model" else i
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
            name: each
            for network, moments in self._moments.items()
            for name, each in moments.tensors(f"{TRACKED}{network}").items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a part is missing.
        """
        for network, moments in self._moments.items():
            moments.load(tensors, f"{TRACKED}{network}", self._device)
            self._idle[network] -= moments.names


def _is_zero(gradient: Tensor | OuterProducts) -> bool:
    return isinstance(gradient, Tensor) and not gradient.any()
