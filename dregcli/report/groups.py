"""Runs grouped by what they repeat, with mean and standard error over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple, cast

from dregcli.names import RunStatus, Split
from dregcli.report.tracked import Tracked


@dataclass(frozen=True)
class RunRow:
    """One run as a report sees it.

    Attributes:
        path: where the run lies.
        name: the run's name.
        version: ``v001``.
        group: hash of the resolved spec without the seed.
        spec: the spec as plain values.
        status: as it stands.
        summary: what the finishing process left: ``step``, ``bound`` by split, ``steps_per_second``.
        evals: attributes of its evaluations.
        tracked: what it tracked of estimators; None where it did not.
    """

    path: str
    name: str
    version: str
    group: str
    spec: Mapping[str, Any]
    status: RunStatus
    summary: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]]
    tracked: Tracked | None = None

    def bound(self, split: Split) -> float | None:
        """The final bound, nats per example; None of a run that is not completed, or no longer (prolonged)."""
        if self.status is not RunStatus.COMPLETED:
            return None
        return _of_split(self.summary.get("bound"), split)

    def before(self, split: Split) -> float | None:
        """Of a completed run that trained q alone: the bound before its first step, of its parent's parameters."""
        if self.status is not RunStatus.COMPLETED:
            return None
        return _of_split(self.summary.get("bound_before"), split)


def _of_split(values: object, split: Split) -> float | None:
    """A number by split; None where a summary that dreg did not write holds something else."""
    value = cast("Mapping[str, object]", values).get(split.value) if isinstance(values, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Aggregate:
    """Mean over seeds with its standard error, None for a single one."""

    mean: float
    stderr: float | None
    n: int


class EvaluationKey(NamedTuple):
    """What evaluations must share to be averaged over seeds; ``n`` is the number of examples."""

    split: str
    k: int
    seed: int
    checkpoint: int
    n: int


@dataclass(frozen=True)
class Group:
    """Runs of one spec, seeds apart."""

    key: str
    rows: tuple[RunRow, ...]

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec they share; its seed is the first run's."""
        return self.rows[0].spec

    def seeds(self) -> list[RunRow]:
        """The completed runs, one a seed: repeats of a (spec, seed) count once, the newest."""
        return list({row.spec["seed"]: row for row in self.rows if row.status is RunStatus.COMPLETED}.values())

    def bound(self, split: Split) -> Aggregate | None:
        """The final bound over seeds, nats per example."""
        return aggregate([value for row in self.seeds() if (value := row.bound(split)) is not None])

    def before(self, split: Split) -> Aggregate | None:
        """The parent's bound, nats per example; None where there is no parent."""
        return aggregate([value for row in self.seeds() if (value := row.before(split)) is not None])

    def gain(self, split: Split) -> Aggregate | None:
        """What training q alone gained over the parent, over seeds, nats per example."""
        pairs = [(row.bound(split), row.before(split)) for row in self.seeds()]
        return aggregate([bound - before for bound, before in pairs if bound is not None and before is not None])

    def evaluations(self) -> dict[EvaluationKey, Aggregate]:
        """Evaluated bounds over seeds.

        Of one run's repeats the newest counts; what differs in its key is never averaged with each other.
        """
        values: dict[EvaluationKey, dict[int, float]] = {}
        for row in self.seeds():
            for attrs in row.evals:
                key = EvaluationKey(*(attrs[field] for field in EvaluationKey._fields))
                values.setdefault(key, {})[row.spec["seed"]] = attrs["value"]
        found = {key: aggregate(list(of_seed.values())) for key, of_seed in sorted(values.items())}
        return {key: value for key, value in found.items() if value is not None}

    def tracked(self) -> dict[str, dict[str, Aggregate]]:
        """What was tracked at the end of training, over seeds, by estimator's word and quantity.

        A quantity that a run does not have, or has no number of, is left out of the mean.
        """
        found: dict[str, dict[str, list[float]]] = {}
        for each in self._all_tracked():
            for estimator, quantities in each.values.items():
                of_estimator = found.setdefault(estimator, {})
                for quantity, value in quantities.items():
                    of_estimator.setdefault(quantity, []).extend([value] if math.isfinite(value) else [])
        return {
            estimator: {quantity: a for quantity, values in quantities.items() if (a := aggregate(values))}
            for estimator, quantities in found.items()
        }

    def tracked_window(self) -> tuple[float, float] | None:
        """Steps of the windows that were tracked, and the SNR of pure noise in them, means over seeds."""
        known = [(each.steps, each.snr_floor) for each in self._all_tracked() if math.isfinite(each.steps)]
        return (fmean(steps for steps, _ in known), fmean(floor for _, floor in known)) if known else None

    def _all_tracked(self) -> list[Tracked]:
        return [row.tracked for row in self.seeds() if row.tracked is not None]


def aggregate(values: Sequence[float]) -> Aggregate | None:
    """Mean and standard error; None of nothing."""
    if not values:
        return None
    stderr = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Aggregate(fmean(values), stderr, len(values))


def group_rows(rows: Sequence[RunRow]) -> list[Group]:
    """Rows by group, in the order the groups first appear."""
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return [Group(key, tuple(members)) for key, members in found.items()]
