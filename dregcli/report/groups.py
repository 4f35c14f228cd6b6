"""Runs grouped by what they repeat, with mean and standard error over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, Final, Literal, NamedTuple, cast

from dregcli.names import RunStatus, Split
from dregcli.report.moments import standard_error
from dregcli.report.series import Metrics, seconds_to
from dregcli.report.tracked import Tracked, at_the_end


def _no_metrics() -> Metrics:
    return {}


@dataclass(frozen=True)
class RunRow:
    """One run as a report sees it.

    Attributes:
        path: where the run lies.
        name: the run's name.
        version: ``v001``.
        group: hash of ``experiment``.
        spec: the spec as plain values.
        experiment: what it shares with runs of other seeds.
        status: as it stands.
        summary: what the finishing process left: ``step``, ``bound`` by split, ``steps_per_second``.
        evals: attributes of its evaluations, the oldest first.
        metrics: along training, by split and column.
        bias: attributes of its bias checks, the oldest first.
        variance: attributes of its measurements of gradient variance, the oldest first.
        created: when it was claimed, as text that sorts.
        elsewhere: whether it is of another store than the report's.
    """

    path: str
    name: str
    version: str
    group: str
    spec: Mapping[str, Any]
    experiment: Mapping[str, Any]
    status: RunStatus
    summary: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]] = ()
    metrics: Metrics = field(default_factory=_no_metrics, repr=False)
    bias: Sequence[Mapping[str, Any]] = ()
    variance: Sequence[Mapping[str, Any]] = ()
    created: str = ""
    elsewhere: bool = False

    @property
    def label(self) -> str:
        """``NAME/v001``; its path where it is of another store."""
        return self.path if self.elsewhere else self.key

    @property
    def key(self) -> str:
        """``NAME/v001``: what pictures call it, whose fonts have not every character of a path."""
        return f"{self.name}/{self.version}"

    @property
    def seed(self) -> int:
        """Of training."""
        return self.spec["seed"]

    @property
    def split_hashes(self) -> dict[str, str]:
        """SHA-256 of each split's stored values; empty where the run does not tell."""
        return {split: str(digest) for split, digest in (mapping(self.summary.get("split_hashes")) or {}).items()}

    @cached_property
    def tracked(self) -> Tracked | None:
        """What it tracked of estimators; None where it did not."""
        return at_the_end(self.metrics.get(Split.TRAIN, {}))

    @property
    def steps_per_second(self) -> float | None:
        """Optimisation steps alone; None where it is not known."""
        return number(self.summary.get("steps_per_second"))

    def seconds_to(self, bound: float) -> float | None:
        """Until the validation bound first was at least so high; None where it never was."""
        return seconds_to(self.metrics, bound)

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
    found = mapping(values)
    return None if found is None else number(found.get(split.value))


def mapping(value: object) -> Mapping[str, object] | None:
    """As one; None for anything else, such as what another program wrote there."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def number(value: object) -> float | None:
    """As a float; None for anything that is no finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


Better = Literal["larger", "smaller"]
"""Which way round a number is good."""

_TRACKED: Final[Mapping[str, Better]] = {"variance": "smaller", "snr": "larger"}


@dataclass(frozen=True)
class Aggregate:
    """Numbers over seeds.

    Attributes:
        mean: of them.
        stderr: its standard error; None of a single one.
        best: the largest or the smallest, as the number has it; None of what is neither good nor bad.
        n: how many.
    """

    mean: float
    stderr: float | None
    best: float | None
    n: int


@dataclass(frozen=True)
class Evaluated:
    """Evaluations over seeds.

    Attributes:
        bound: nats per example.
        ess: mean effective sample size.
        khat_share: share of examples with a k-hat above 0.7; None where K is too small for one.
        active_units: latents whose mean varies.
        curve: the bound by K, ascending.
    """

    bound: Aggregate
    ess: Aggregate | None
    khat_share: Aggregate | None
    active_units: Aggregate | None
    curve: Mapping[int, Aggregate]


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
        """The first run's."""
        return self.rows[0].spec

    @property
    def experiment(self) -> Mapping[str, Any]:
        """What they share of their specs."""
        return self.rows[0].experiment

    def seeds(self) -> list[RunRow]:
        """The completed runs, one a seed, ascending: repeats of a (spec, seed) count once, the newest."""
        # By their own dates: the rows are in the order that somebody named them in.
        ordered = sorted(self.rows, key=lambda row: row.created)
        found = {row.seed: row for row in ordered if row.status is RunStatus.COMPLETED}
        return [found[seed] for seed in sorted(found)]

    def not_counted(self) -> list[RunRow]:
        """Runs at seeds of which none is completed: a mean without them is of those that went well."""
        done = {row.seed for row in self.seeds()}
        return [row for row in self.rows if row.seed not in done]

    def repeated(self) -> list[RunRow]:
        """Completed runs of which a newer one of the same seed counts."""
        counted = {row.path for row in self.seeds()}
        return [row for row in self.rows if row.status is RunStatus.COMPLETED and row.path not in counted]

    def over_seeds(self, of: Callable[[RunRow], float | None], better: Better | None) -> Aggregate | None:
        """Of any number of a run; runs that do not have it are left out."""
        return aggregate([value for row in self.seeds() if (value := of(row)) is not None], better)

    def steps_per_second(self) -> Aggregate | None:
        """Optimisation steps alone."""
        return self.over_seeds(lambda row: row.steps_per_second, "larger")

    def seconds_to(self, bound: float) -> Aggregate | None:
        """Until the validation bound first was at least so high, over the seeds that reached it."""
        return self.over_seeds(lambda row: row.seconds_to(bound), "smaller")

    def bound(self, split: Split) -> Aggregate | None:
        """The final bound over seeds, nats per example."""
        return self.over_seeds(lambda row: row.bound(split), "larger")

    def before(self, split: Split) -> Aggregate | None:
        """The parent's bound, nats per example; None where there is no parent."""
        return self.over_seeds(lambda row: row.before(split), "larger")

    def gain(self, split: Split) -> Aggregate | None:
        """What training q alone gained over the parent, over seeds, nats per example."""
        pairs = [(row.bound(split), row.before(split)) for row in self.seeds()]
        gains = [bound - before for bound, before in pairs if bound is not None and before is not None]
        return aggregate(gains, "larger")

    def evaluations(self) -> dict[EvaluationKey, Evaluated]:
        """Evaluations over seeds.

        Of one run's repeats the newest counts; what differs in its key is never averaged with each other.
        """
        found: dict[EvaluationKey, dict[int, Mapping[str, Any]]] = {}
        for row in self.seeds():
            for attrs in row.evals:
                key = EvaluationKey(*(attrs[name] for name in EvaluationKey._fields))
                found.setdefault(key, {})[row.seed] = attrs
        return {key: _evaluated(list(of_seed.values())) for key, of_seed in sorted(found.items())}

    def bias(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The run and the verdict of every pair that its newest check looked at, run by run."""
        return [(row.path, result) for row in self.rows if row.bias for result in row.bias[-1]["results"]]

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
            estimator: {
                quantity: a for quantity, values in quantities.items() if (a := aggregate(values, _better(quantity)))
            }
            for estimator, quantities in found.items()
        }

    def tracked_window(self) -> tuple[float, float] | None:
        """Steps of the windows that were tracked, and the SNR of pure noise in them, means over seeds."""
        known = [(each.steps, each.snr_floor) for each in self._all_tracked() if math.isfinite(each.steps)]
        return (fmean(steps for steps, _ in known), fmean(floor for _, floor in known)) if known else None

    def tracked_floor(self, quantity: str) -> float | None:
        """The SNR of pure noise where a quantity is an SNR, mean over seeds; None of what is none."""
        if not quantity.endswith(("_snr", "_snr_window")):
            return None
        if quantity.endswith("_window"):
            window = self.tracked_window()
            return window[1] if window else None
        return fmean(each.moving_floor for each in self._all_tracked())

    def _all_tracked(self) -> list[Tracked]:
        return [row.tracked for row in self.seeds() if row.tracked is not None]


def _better(quantity: str) -> Better | None:
    """Of what is tracked: ``posterior_variance_window`` is a variance."""
    return next((better for name, better in _TRACKED.items() if f"_{name}" in quantity), None)


def _evaluated(evals: Sequence[Mapping[str, Any]]) -> Evaluated:
    def over(values: list[object], better: Better | None) -> Aggregate | None:
        return aggregate([known for value in values if (known := number(value)) is not None], better)

    thresholds = {attrs.get("active_threshold") for attrs in evals}
    khats = [khat for attrs in evals if (khat := mapping(attrs.get("khat"))) is not None]
    points: dict[int, list[object]] = {}
    for attrs in evals:
        for point in attrs.get("curve", ()):
            points.setdefault(point["k"], []).append(point["value"])
    curve = {k: value for k, values in sorted(points.items()) if (value := over(values, "larger"))}
    return Evaluated(
        over([attrs["value"] for attrs in evals], "larger") or Aggregate(math.nan, None, math.nan, len(evals)),
        over([attrs.get("ess") for attrs in evals], "larger"),
        over([khat.get("share_above_0.7") for khat in khats], "smaller"),
        # Counted above other thresholds they are other numbers. More of them are not better.
        over([attrs.get("active_units") for attrs in evals], None) if len(thresholds) == 1 else None,
        curve,
    )


def aggregate(values: Sequence[float], better: Better | None) -> Aggregate | None:
    """Mean, standard error and the best, if one is better than another; None of nothing."""
    if not values:
        return None
    mean = fmean(values)
    stderr = standard_error(values, mean) if len(values) > 1 else None
    best = None if better is None else (max if better == "larger" else min)(values)
    return Aggregate(mean, stderr, best, len(values))


def group_rows(rows: Sequence[RunRow]) -> list[Group]:
    """Rows by group, in the order the groups first appear."""
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return [Group(key, tuple(members)) for key, members in found.items()]
