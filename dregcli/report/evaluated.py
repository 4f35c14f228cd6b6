"""Evaluations of the runs of a group, over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dregcli.report.aggregate import Aggregate, Better, aggregate, mapping, number
from dregcli.report.layers import OfLayer, layers_of


def is_at_end(attrs: Mapping[str, Any], final_step: object) -> bool:
    """Say whether an evaluation is of the weights that its run's final bounds are of."""
    return attrs["checkpoint"] == final_step


class EvaluationKey(NamedTuple):
    """The settings that evaluations must share to be averaged over seeds.

    Attributes:
        split: the split.
        k: samples per example.
        seed: evaluation seed.
        n: number of examples.
        checkpoint: step of the weights; None for the weights at the end of training. Their step may differ between
            seeds, because runs with patience keep the best weights.
    """

    split: str
    k: int
    seed: int
    n: int
    checkpoint: int | None

    @classmethod
    def of(cls, attrs: Mapping[str, Any], final_step: object) -> "EvaluationKey":
        """Return the key of one evaluation of a run whose final bounds are at ``final_step``."""
        step = None if is_at_end(attrs, final_step) else attrs["checkpoint"]
        return cls(attrs["split"], attrs["k"], attrs["seed"], attrs["n"], step)

    def place(self) -> tuple[str, int, int, float, int]:
        """Return what evaluations are sorted by; the end of training comes after all other checkpoints."""
        step = math.inf if self.checkpoint is None else float(self.checkpoint)
        return self.split, self.k, self.seed, step, self.n


@dataclass(frozen=True)
class Evaluated:
    """Evaluations over seeds.

    Attributes:
        bound: evaluated bound, nats per example.
        ess: mean effective sample size.
        khat: median k-hat over examples; None where K is too small for k-hat, or where a median is infinite.
        khat_share: share of examples with a k-hat above 0.7; None where K is too small for k-hat.
        active_units: number of latents whose mean varies over examples.
        curve: bound by K, ascending in K.
        layers: KL and active units of each layer, by name, the layer nearest to x first; empty for a model with one.
        steps: steps of the evaluated weights, ascending; more than one only at the end of runs with patience.
    """

    bound: Aggregate
    ess: Aggregate | None
    khat: Aggregate | None
    khat_share: Aggregate | None
    active_units: Aggregate | None
    curve: Mapping[int, Aggregate]
    layers: Mapping[str, OfLayer]
    steps: tuple[int, ...]

    @property
    def step(self) -> int | None:
        """Step of the evaluated weights; None if it differs between seeds."""
        return self.steps[0] if len(self.steps) == 1 else None

    @property
    def step_in_words(self) -> str:
        """The step, or the first and the last one: ``100`` or ``50 to 100``."""
        return " to ".join(str(step) for step in dict.fromkeys((self.steps[0], self.steps[-1])))


def evaluated(evals: Sequence[Mapping[str, Any]]) -> Evaluated:
    """Aggregate evaluations with one key.

    Args:
        evals: attributes of one evaluation or more, one for each seed.
    """

    def over(values: list[object], better: Better | None) -> Aggregate | None:
        return aggregate([known for value in values if (known := number(value)) is not None], better)

    # All numbers are over the same seeds: those whose bound is a number.
    evals = [attrs for attrs in evals if number(attrs["value"]) is not None] or evals
    thresholds = {attrs.get("active_threshold") for attrs in evals}
    khats = [khat for attrs in evals if (khat := mapping(attrs.get("khat"))) is not None]
    medians = [number(khat.get("median")) for khat in khats]
    points: dict[int, list[object]] = {}
    for attrs in evals:
        for point in attrs.get("curve", ()):
            points.setdefault(point["k"], []).append(point["value"])
    curve = {k: value for k, values in sorted(points.items()) if (value := over(values, "larger"))}
    return Evaluated(
        over([attrs["value"] for attrs in evals], "larger") or Aggregate(math.nan, None, math.nan, len(evals)),
        over([attrs.get("ess") for attrs in evals], "larger"),
        # To leave out an infinite k-hat would leave out the worst seed.
        over([*medians], "smaller") if None not in medians else None,
        over([khat.get("share_above_0.7") for khat in khats], "smaller"),
        # Counts above different thresholds cannot be averaged. More active units are not better.
        over([attrs.get("active_units") for attrs in evals], None) if len(thresholds) == 1 else None,
        curve,
        layers_of(evals, counts=len(thresholds) == 1),
        tuple(sorted({attrs["checkpoint"] for attrs in evals})),
    )
