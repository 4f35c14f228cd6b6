"""How a run went so far, beside the trainer's own state: the best validation, the time, and where it started from."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dregcli.app.training.origin import Baseline
from dregcli.store.hdf5 import Array


class Course:
    """The course of a run over all processes that have trained it; a checkpoint keeps it.

    Attributes:
        best: step and bound, nats per example, of the best validation.
        worse: validations since the best one.
        steps: steps that this process has taken.
        seconds: time of these steps, without evaluations.
        baseline: the parent's results, if the run has a parent and they have been measured.
    """

    def __init__(self) -> None:
        self.best: tuple[int, float] | None = None
        self.worse = 0
        self.steps = 0
        self.seconds = 0.0
        self.baseline: Baseline | None = None
        self._seconds_before = 0.0

    @property
    def all_seconds(self) -> float:
        """Time of the steps in all processes, without evaluations."""
        return self._seconds_before + self.seconds

    @property
    def rate(self) -> float | None:
        """Steps per second in this process; None before the first step."""
        return self.steps / self.seconds if self.seconds else None

    def step_taken(self, seconds: float) -> None:
        """Count a step and its time."""
        self.steps += 1
        self.seconds += seconds

    def validated(self, step: int, bound: float) -> bool:
        """Count a validation, and return whether it is the best so far."""
        is_best = self.best is None or bound > self.best[1]
        if is_best:
            self.best = (step, bound)
        self.worse = 0 if is_best else self.worse + 1
        return is_best

    def kept(self) -> dict[str, Any]:
        """Return the part of a checkpoint's state that ``continue_from`` reads."""
        found: dict[str, Any] = {"best": self.best, "seconds": self.all_seconds}
        return found | ({"baseline": asdict(self.baseline)} if self.baseline else {})

    def continue_from(
        self, step: int, state: Mapping[str, Any], valid: Mapping[str, Array], *, has_best: bool
    ) -> None:
        """Continue the course of earlier processes.

        Args:
            step: step of the checkpoint.
            state: the checkpoint's state.
            valid: the run's rows of validation.
            has_best: whether the checkpoint of the best validation is there and whole. If it is not, the best is this
                step, or the next validation's.
        """
        self.best = tuple(state["best"]) if state["best"] and has_best else None
        # A run that was ended early is evaluated after its last checkpoint was written.
        if valid and valid["step"][-1] == step and (self.best is None or valid["bound"][-1] > self.best[1]):
            self.best = step, float(valid["bound"][-1])
        if self.best is not None and valid:
            self.worse = sum(1 for each in valid["step"] if self.best[0] < each <= step)
        self._seconds_before = state["seconds"]
        self.baseline = Baseline(**state["baseline"]) if "baseline" in state else None
