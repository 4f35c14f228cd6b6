"""The numbers of an objective that are fitted to log-weights between the steps of a training."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dregcli.engine.objectives import Objective

FITTED = "objective/"
"""Prefix of these tensors' names, which lie beside the model's tensors in an optimizer's state."""


class FittedNumbers:
    """The present numbers of a training's objective. Each fit is a function of the weights, the seed and the step.

    Args:
        objective: the objective, whose own numbers hold until the first fit.
        steps_per_epoch: steps in one pass over the data.
    """

    def __init__(self, objective: Objective, *, steps_per_epoch: int) -> None:
        self.values = objective.fitted_values
        self._names = objective.fitted_names
        self._every = objective.refitted_every(steps_per_epoch)
        self._last: int | None = None

    @property
    def exist(self) -> bool:
        """Whether the objective has numbers that are fitted."""
        return self._every is not None

    def at(self, objective: Objective) -> Objective:
        """Return an objective at the present numbers."""
        return objective.with_fitted(self.values) if self.values else objective

    def are_due(self, step: int) -> bool:
        """Whether the numbers must be fitted before a step, and are not yet."""
        return self._every is not None and step % self._every == 0 and self._last != step

    def fit(self, objective: Objective, log_w: Tensor, step: int) -> None:
        """Fit the numbers to log-weights, (K, N), before a step."""
        self.values = objective.fitted(log_w).fitted_values
        self._last = step

    def tensors(self) -> dict[str, Tensor]:
        """Return the numbers as ``objective/<name>``, float64; empty before the first fit."""
        return {FITTED + name: torch.tensor(value, dtype=torch.float64) for name, value in self.values.items()}

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Restore the numbers that ``tensors`` returned after so many steps.

        Raises:
            KeyError: a number is missing.
        """
        self._last = None
        # Before the first step there may be none: that step fits them.
        if step or any(FITTED + name in tensors for name in self._names):
            self.values = fitted_values(self._names, tensors)


def fitted_values(names: tuple[str, ...], tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the numbers that a training state holds.

    Raises:
        KeyError: a number is missing.
    """
    return {name: tensors[FITTED + name].item() for name in names}
