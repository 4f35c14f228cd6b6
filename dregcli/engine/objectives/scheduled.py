"""Objectives whose parameters change from step to step of a training."""

from dataclasses import dataclass, replace
from typing import Any, cast

from dregcli.engine.objectives.base import Objective
from dregcli.words import ParameterSchedule


@dataclass(frozen=True)
class ScheduledObjective:
    """An objective as a function of the step, so that a training keeps nothing of it in its state.

    Attributes:
        start: the objective of the first step.
        schedules: schedule of each parameter that changes, by name, in alphabetical order; empty for an objective
            that stays the same.
    """

    start: Objective
    schedules: tuple[tuple[str, ParameterSchedule], ...] = ()

    @property
    def steps(self) -> int:
        """Number of the step from which the objective stays the same; 0 if it never changes."""
        return max((each.steps for _, each in self.schedules), default=0)

    def shortened(self, share: float) -> "ScheduledObjective":
        """Return the objective that changes in this share of the steps, at least one."""
        shorter = tuple(
            (name, replace(each, steps=max(1, round(share * each.steps)))) for name, each in self.schedules
        )
        return ScheduledObjective(self.start, shorter)

    def at(self, step: int) -> Objective:
        """Return the objective of a step (from 0)."""
        values = self._values(step)
        return replace(cast("Any", self.start), **values) if values else self.start

    def shown(self, step: int) -> dict[str, float]:
        """Return the value in a step (from 0) of each parameter that changes, as ``<objective>.<parameter>``."""
        return {f"{self.start.name}.{name}": value for name, value in self._values(step).items()}

    def _values(self, step: int) -> dict[str, float]:
        return {name: each.at(step) for name, each in self.schedules}

    def stages(self) -> list[Objective]:
        """Return the objective at the start, half-way, and at the end of its change; each once.

        A statement about the objective that holds at all of them holds in every step: parameters move in one
        direction, and a special value, such as one at which the objective is linear, is an end of its range.
        """
        return list(dict.fromkeys(self.at(step) for step in (0, self.steps // 2, self.steps)))
