"""What happens in a run, as small objects: ``dregcli.train`` yields them, and the command line passes over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dregcli.app.training.result import TrainResult


@dataclass(frozen=True)
class Progress:
    """The run reached a step; about twice a second.

    Attributes:
        step: steps that are done.
        steps: all steps of the run.
        steps_per_second: speed of this process, without evaluations.
    """

    step: int
    steps: int
    steps_per_second: float


@dataclass(frozen=True)
class Metrics:
    """A row of training metrics was logged: means since the row before.

    Attributes:
        step: the step of the row.
        values: values by column, such as ``bound``, nats per example.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Validation:
    """The model was evaluated on the validation split.

    Attributes:
        step: the step of the model.
        bound: the mean bound, nats per example.
        stderr: standard error of ``bound`` over examples, nats; NaN for a single example.
        is_best: whether it is the best bound so far.
    """

    step: int
    bound: float
    stderr: float
    is_best: bool


@dataclass(frozen=True)
class CheckpointWritten:
    """A checkpoint was written.

    Attributes:
        step: the step of the checkpoint.
        is_best: whether it is the best one so far.
    """

    step: int
    is_best: bool


@dataclass(frozen=True)
class Done:
    """The run is completed; this is the last event.

    Attributes:
        result: the run, its spec, and what ``dreg train --json`` prints.
    """

    result: TrainResult = field(repr=False)


Event = Progress | Metrics | Validation | CheckpointWritten | Done
