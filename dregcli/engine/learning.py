"""An estimator's own parameters, learned during training by Adam with the model's settings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dregcli.engine.fitting import fitted_values
from dregcli.engine.optimisation import Adam
from dregcli.engine.pairs import Pair

PREFIX = "estimator/"
"""Prefix of these tensors' names, which lie beside the model's tensors in an optimiser's state."""

_VALUE = "value"


class LearnedParameters:
    """The parameters that a pair's estimator learns, and the pair at their present values.

    The pair is replaced, never changed: a reference to it keeps the values of one moment. The values are float64 on
    the CPU for every model, since a step needs them as plain numbers.

    Args:
        pair: objective and estimator; learning starts at the estimator's values.
        lr: Adam's learning rate.
    """

    def __init__(self, pair: Pair, *, lr: float) -> None:
        self.pair = pair
        values = {name: getattr(pair.estimator, name) for name in pair.estimator.learned}
        self._parameters = {
            name: nn.Parameter(torch.tensor(value, dtype=torch.float64)) for name, value in values.items()
        }
        self._optimizer = Adam(self._parameters, lr=lr) if values else None

    def values(self) -> dict[str, float]:
        """Return the values by name; empty if the estimator learns nothing."""
        return {name: parameter.item() for name, parameter in self._parameters.items()}

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that come next."""
        if self._optimizer is not None:
            self._optimizer.set_rate(lr)

    def update(self, slopes: Mapping[str, float]) -> None:
        """Take one step down the slopes, d (mean squared gradient of phi) / d parameter, by name."""
        if self._optimizer is None:
            return
        self._optimizer.step({name: torch.tensor(slope, dtype=torch.float64) for name, slope in slopes.items()})
        self.pair = _at(self.pair, self.values())

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the values and of Adam's state, as ``estimator/<name>/value`` and so on."""
        if self._optimizer is None:
            return {}
        found = {f"{name}/{_VALUE}": parameter.detach().clone() for name, parameter in self._parameters.items()}
        found |= self._optimizer.tensors()
        return {PREFIX + name: tensor for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that ``tensors`` returned; other entries of the mapping are ignored.

        Raises:
            KeyError: a tensor is missing.
        """
        if self._optimizer is None:
            return
        own = {name.removeprefix(PREFIX): each for name, each in tensors.items() if name.startswith(PREFIX)}
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(own.pop(f"{name}/{_VALUE}"))
        self._optimizer.load(own)
        self.pair = _at(self.pair, self.values())


def learned_pair(pair: Pair, tensors: Mapping[str, Tensor]) -> Pair:
    """Return a pair at the values that a training state holds: what its estimator learned, and its objective's fit.

    Args:
        pair: objective and estimator from the run's spec.
        tensors: the optimiser's part of the state.

    Raises:
        KeyError: a value is missing.
    """
    objective = pair.objective
    if names := objective.fitted_names:
        pair = replace(pair, objective=objective.with_fitted(fitted_values(names, tensors)))
    return _at(pair, {name: tensors[f"{PREFIX}{name}/{_VALUE}"].item() for name in pair.estimator.learned})


def _at(pair: Pair, values: Mapping[str, float]) -> Pair:
    """Return the pair with other estimator parameters. An estimator is a frozen dataclass by contract."""
    return replace(pair, estimator=replace(cast("Any", pair.estimator), **values)) if values else pair
