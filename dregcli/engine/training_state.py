"""All that changes while a model trains, as named tensors and plain numbers from which a resumed run continues."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from dregcli.engine.fitting import FITTED, FittedNumbers
from dregcli.engine.learning import PREFIX, LearnedParameters
from dregcli.engine.models.base import Model
from dregcli.engine.optimisation import RAW, Updates
from dregcli.engine.tracking import TRACKED, Tracker

_PREFIXES: Final = (PREFIX, FITTED, TRACKED, RAW)
"""Beginnings of the names of tensors that lie beside the optimizer's own in a state."""


@dataclass(frozen=True)
class TrainerState:
    """Everything a resumed run needs, as named tensors and plain numbers.

    ``model`` has the weights that evaluations use. If these are an average, the weights in training are beside the
    optimizer's state.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    window: dict[str, float]

    def named(self) -> dict[str, Tensor]:
        """Return the tensors that training depends on, by the names of a message."""
        # Tracked statistics do not affect training, so they may overflow.
        own = {name: each for name, each in self.optimizer.items() if not name.startswith(TRACKED)}
        return {**self.model, **{f"the optimizer's {name}": each for name, each in own.items()}}


@dataclass
class Trained:
    """The parts of a training that hold tensors: what is trained, and all that is learned beside it.

    Attributes:
        model: the model on its device.
        updates: the optimizer, with the average of the weights if there is one.
        learned: parameters that the estimator learns.
        fitted: numbers of the objective that are fitted between steps.
        tracker: measures pairs along training; None if none is tracked.
    """

    model: Model
    updates: Updates
    learned: LearnedParameters
    fitted: FittedNumbers
    tracker: Tracker | None

    def evaluated(self) -> AbstractContextManager[None]:
        """Let the model have the weights that evaluations use; afterwards it has those in training again."""
        return self.updates.evaluated()

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Generator[None]:
        """Let the model have other weights; afterwards it has those in training again."""
        kept = self._weights()
        self.model.load_state_dict(dict(weights))
        try:
            yield
        finally:
            self.model.load_state_dict(kept)

    def state(self, step: int, window: Mapping[str, float]) -> TrainerState:
        """Return a copy of the state after a step.

        Args:
            step: number of steps taken.
            window: numbers of the steps since the last row of metrics.
        """
        with self.evaluated():
            model = self._weights()
        # A parameter whose name is one of the prefixes begins with a dot here, which no parameter's name does.
        own = self.updates.tensors()
        optimizer = {f".{name}" if name.startswith(_PREFIXES) else name: each for name, each in own.items()}
        optimizer |= self.learned.tensors() | self.fitted.tensors()
        if self.updates.averages:
            optimizer |= {RAW + name: each for name, each in self._weights().items()}
        optimizer |= self.tracker.tensors() if self.tracker else {}
        return TrainerState(step, model, optimizer, dict(window))

    def load(self, step: int, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Continue from a state.

        Raises:
            KeyError: a tensor of the optimizer's part is missing.
        """
        self.model.load_state_dict(dict(model))
        if self.updates.averages:
            self.updates.read_average()
            self.model.load_state_dict({name: optimizer[RAW + name] for name in model})
        own = {name.removeprefix("."): each for name, each in optimizer.items() if not name.startswith(_PREFIXES)}
        self.updates.load(own)
        self.learned.load(optimizer)
        self.fitted.load(optimizer, step)
        if self.tracker:
            self.tracker.load(optimizer)

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
