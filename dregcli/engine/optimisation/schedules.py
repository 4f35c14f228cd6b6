"""Schedules of the learning rate: a factor for each step, from words such as ``cosine:end=0.1``."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dregcli.errors import Fault, SpecError
from dregcli.names import ScheduleName
from dregcli.words import Value, read_word

STAGES: Final = 8
"""Stages of Burda's schedule."""

_DEFAULTS: Final[Mapping[ScheduleName, Mapping[str, Value]]] = {
    ScheduleName.CONSTANT: {},
    ScheduleName.COSINE: {"end": 0.0},
    ScheduleName.STEP: {"every": 1000, "factor": 0.5},
    ScheduleName.BURDA: {"stages": STAGES},
}


def stage_factor(stage: int) -> float:
    """Return the rate of a stage of Burda's schedule (from 0), relative to the first stage.

    Stage i of 1 to 8 has the rate 1e-4 * round(10^(1 - (i - 1) / 7), 1) (Burda, Grosse and Salakhutdinov, 2016).
    """
    return round(10.0 ** (1.0 - stage / (STAGES - 1)), 1) / 10.0


def stage_passes(stages: int) -> int:
    """Return the passes over the data of the first stages of Burda's schedule: 1 + 3 + 9 + ... ."""
    return (3**stages - 1) // 2


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes over the steps of a run.

    Attributes:
        name: kind of the schedule.
        values: its parameters, all of them.
    """

    name: ScheduleName = ScheduleName.CONSTANT
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def word(self) -> str:
        """The word with the parameters that differ from their defaults; parsing it gives an equal object."""
        shown = [f"{key}={value!r}" for key, value in self.values.items() if value != _DEFAULTS[self.name][key]]
        return f"{self.name}:{','.join(shown)}" if shown else self.name.value

    @property
    def depends_on_length(self) -> bool:
        """Whether the rate of a step depends on the number of steps of the run."""
        return self.name in (ScheduleName.COSINE, ScheduleName.BURDA)

    def factor(self, *, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """Return the function that gives the factor of a step (from 0).

        Args:
            steps: all steps of the run.
            steps_per_epoch: steps of one pass over the data.
        """
        value = {key: float(each) for key, each in self.values.items()}
        match self.name:
            case ScheduleName.CONSTANT:
                return lambda step: 1.0
            case ScheduleName.COSINE:
                end = value["end"]
                return lambda step: end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            case ScheduleName.STEP:
                every, factor = int(value["every"]), value["factor"]
                return lambda step: factor ** (step // every)
            case ScheduleName.BURDA:
                ends = [stage_passes(i) for i in range(1, STAGES)]
                return lambda step: stage_factor(sum(step // steps_per_epoch >= each for each in ends))

    @property
    def passes(self) -> int | None:
        """Passes over the data that the schedule demands of a run; None if a run may have any length."""
        return stage_passes(int(self.values["stages"])) if self.name is ScheduleName.BURDA else None

    def shortened(self, share: float) -> "Schedule":
        """Return the schedule of a run that has this share of the steps; with stages, those that fit into it.

        Args:
            share: more than 0 and at most 1.
        """
        match self.name:
            case ScheduleName.STEP:
                shorter = {"every": max(1, round(share * int(self.values["every"])))}
            case ScheduleName.BURDA:
                most = share * stage_passes(int(self.values["stages"]))
                shorter = {"stages": max((n for n in range(1, STAGES + 1) if stage_passes(n) <= most), default=1)}
            case _:
                shorter = {}
        return Schedule(self.name, {**self.values, **shorter})

    def faults(self, *, steps: int, steps_per_epoch: int | None) -> list[Fault]:
        """Return the faults of a schedule for a run of this length.

        Args:
            steps: all steps of the run.
            steps_per_epoch: steps of one pass over the data; None if they are not known.
        """
        if self.name is not ScheduleName.BURDA or steps_per_epoch is None:
            return []
        stages = int(self.values["stages"])
        passes = stage_passes(stages)
        if steps == passes * steps_per_epoch:
            return []
        other = max((n for n in range(1, STAGES + 1) if stage_passes(n) * steps_per_epoch <= steps), default=1)
        message = (
            f"{stages} stages are {passes:,} passes over the data, which are {passes * steps_per_epoch:,} steps, "
            f"got {steps:,}: give --steps {passes * steps_per_epoch}"
        )
        if other != stages:
            message += (
                f", or other stages such as burda:stages={other} --steps {stage_passes(other) * steps_per_epoch}"
            )
        return [Fault("lr-schedule", f"{message}.")]


def parse_schedule(word: str) -> Schedule:
    """Return the schedule that a word names.

    Raises:
        SpecError: the name is unknown (the error gives the nearest one), or a parameter has a fault.
    """

    def kinds(name: str) -> dict[str, type]:
        return {key: type(value) for key, value in _DEFAULTS[ScheduleName(name)].items()}

    name, values = read_word("lr-schedule", word, ScheduleName, kinds)
    found = Schedule(ScheduleName(name), {**_DEFAULTS[ScheduleName(name)], **values})
    checks: dict[str, tuple[Callable[[float], bool], str]] = {
        "end": (lambda value: 0.0 <= value <= 1.0, "from 0 to 1"),
        "every": (lambda value: value >= 1, "at least 1"),
        "factor": (lambda value: 0.0 < value <= 1.0, "greater than 0 and at most 1"),
        "stages": (lambda value: 1 <= value <= STAGES, f"from 1 to {STAGES}"),
    }
    faults = [
        Fault("lr-schedule", f"parameter '{key}' of '{name}' must be {checks[key][1]}, got {value}.")
        for key, value in found.values.items()
        if not checks[key][0](float(value))
    ]
    if faults:
        raise SpecError(faults)
    return found


def warm_up_factor(step: int, warmup_steps: int) -> float:
    """Return the factor of a step (from 0) while the rate rises in equal parts; 1 from the last of these steps on."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
