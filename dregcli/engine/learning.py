"""An estimator's own parameters, changed during training by the Adam that changes the model's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dregcli.engine.optimisation import Adam
from dregcli.engine.pairs import Pair

PREFIX = "estimator/"
"""What the names of these tensors begin with, beside the model's in an optimiser's state."""

_VALUE = "value"


class LearnedParameters:
    """The values of what a pair's estimator learns, and the pair at these values.

    The pair is replaced, never changed: who holds it holds the values of one moment. The values are float64 on the
    CPU whatever the model is, since a step needs them as plain numbers.

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
        """The values by name; empty where the estimator learns nothing."""
        return {name: parameter.item() for name, parameter in self._parameters.items()}

    def update(self, slopes: Mapping[str, float]) -> None:
        """Take one step down the slopes: d (mean squared gradient of phi) / d parameter, by name."""
        if self._optimizer is None:
            return
        self._optimizer.step({name: torch.tensor(slope, dtype=torch.float64) for name, slope in slopes.items()})
        self.pair = _at(self.pair, self.values())

    def tensors(self) -> dict[str, Tensor]:
        """Values and Adam's state, copied, as ``estimator/<name>/value`` and so on."""
        if self._optimizer is None:
            return {}
        found = {f"{name}/{_VALUE}": parameter.detach().clone() for name, parameter in self._parameters.items()}
        found |= self._optimizer.tensors()
        return {PREFIX + name: tensor for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave; others of the mapping are left alone.

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
    """A pair at the values that a training state keeps.

    Args:
        pair: objective and estimator, as the run's spec has them.
        tensors: the optimiser's part of the state.

    Raises:
        KeyError: a value is missing.
    """
    return _at(pair, {name: tensors[f"{PREFIX}{name}/{_VALUE}"].item() for name in pair.estimator.learned})


def _at(pair: Pair, values: Mapping[str, float]) -> Pair:
    """The pair with other values of its estimator's parameters. An estimator is a frozen dataclass by contract."""
    return replace(pair, estimator=replace(cast("Any", pair.estimator), **values)) if values else pair
