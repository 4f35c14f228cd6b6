"""Runs grouped by experiment, with means and standard errors over seeds."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, Final

from dregcli.names import RunStatus, Split
from dregcli.report.aggregate import Aggregate, Better, aggregate, mapping, number
from dregcli.report.evaluated import Evaluated, EvaluationKey, evaluated, is_at_end
from dregcli.report.series import Metrics, seconds_to, series
from dregcli.report.tracked import Tracked, at_the_end


def _no_metrics() -> Metrics:
    return {}


@dataclass(frozen=True)
class RunRow:
    """One run as a report sees it.

    Attributes:
        path: path of the run.
        name: name of the run.
        version: version, such as ``v001``.
        group: hash of ``experiment``.
        spec: the spec as plain values.
        experiment: the part of the spec that runs of other seeds share.
        status: present status.
        summary: results at the end of training: ``step``, ``bound`` by split, ``steps_per_second``,
            and ``final_step`` if the run has patience.
        evals: attributes of the run's evaluations, the oldest first.
        metrics: metrics along training, by split and column.
        bias: attributes of the run's bias checks, the oldest first.
        variance: attributes of the run's measurements of gradient variance, the oldest first.
        created: when the run was claimed, as text that sorts by time.
        elsewhere: whether the run belongs to another store than the report's.
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
        """``NAME/v001``, or the path of a run of another store."""
        return self.path if self.elsewhere else self.key

    @property
    def key(self) -> str:
        """``NAME/v001``: the name used in figures, whose fonts lack some characters of paths."""
        return f"{self.name}/{self.version}"

    @property
    def seed(self) -> int:
        """Training seed."""
        return self.spec["seed"]

    @property
    def final_step(self) -> object:
        """Step of the weights that the final bounds are of: the last one, or the best one of a run with patience."""
        return self.summary.get("final_step", self.summary.get("step"))

    @property
    def evals_at_end(self) -> list[Mapping[str, Any]]:
        """Attributes of its evaluations at ``final_step``, the oldest first."""
        return [attrs for attrs in self.evals if is_at_end(attrs, self.final_step)]

    @property
    def split_hashes(self) -> dict[str, str]:
        """SHA-256 of each split's stored values; empty if the run did not record them."""
        return {split: str(digest) for split, digest in (mapping(self.summary.get("split_hashes")) or {}).items()}

    @cached_property
    def tracked(self) -> Tracked | None:
        """Tracked gradient statistics at the end of training; None if the run tracked nothing."""
        return at_the_end(self.metrics.get(Split.TRAIN, {}))

    @property
    def steps_per_second(self) -> float | None:
        """Steps per second of optimisation, without evaluation; None where it is not known."""
        return number(self.summary.get("steps_per_second"))

    def seconds_to(self, bound: float) -> float | None:
        """Return the seconds until the validation bound first reached this value; None if it never did."""
        return seconds_to(self.metrics, bound)

    def bound(self, split: Split) -> float | None:
        """Return the final bound, nats per example; None if the run is not completed, or was prolonged."""
        if self.status is not RunStatus.COMPLETED:
            return None
        return _of_split(self.summary.get("bound"), split)

    def examples(self, split: Split) -> int | None:
        """Return the number of examples of the final bound; None where the run did not record it."""
        bounds = mapping(self.summary.get("bounds")) or {}
        found = (mapping(bounds.get(split.value)) or {}).get("n")
        return found if isinstance(found, int) else None

    @property
    def bounds(self) -> int:
        """The number of its bounds: evaluations, and the final bounds of the splits that it did not leave out."""
        return sum(self.bound(split) is not None for split in Split) + len(self.evals)

    def before(self, split: Split) -> float | None:
        """Return the bound before the first step of a run that trained q alone, nats per example.

        It is the bound of the parent's parameters. None if the run is not completed, or has no parent.
        """
        if self.status is not RunStatus.COMPLETED:
            return None
        return _of_split(self.summary.get("bound_before"), split)


def _of_split(values: object, split: Split) -> float | None:
    """Return a split's number; None where a summary that another program wrote holds something else."""
    found = mapping(values)
    return None if found is None else number(found.get(split.value))


def bias_to_tested(result: Mapping[str, object]) -> float | None:
    """Return the bias that a kept bias check found, relative to the gradient of the tested blocks."""
    bias, share = number(result.get("relative_bias")), number(result.get("tested_share"))
    return bias / share if bias is not None and share else None


_TRACKED: Final[Mapping[str, Better]] = {"variance": "smaller", "snr": "larger"}


@dataclass(frozen=True)
class Group:
    """Runs whose specs are equal except for the seed."""

    key: str
    rows: tuple[RunRow, ...]

    @property
    def spec(self) -> Mapping[str, Any]:
        """Spec of the first run."""
        return self.rows[0].spec

    @property
    def experiment(self) -> Mapping[str, Any]:
        """The part of the spec that all runs of the group share."""
        return self.rows[0].experiment

    def seeds(self) -> list[RunRow]:
        """Return the completed runs, one per seed, ascending.

        Of repeats with one seed only one counts: the newest of those with the most bounds.
        """
        # Sort by date, because the rows are in the order in which the user named them.
        ordered = sorted(self.rows, key=lambda row: (row.bounds, row.created))
        found = {row.seed: row for row in ordered if row.status is RunStatus.COMPLETED}
        return [found[seed] for seed in sorted(found)]

    def not_counted(self) -> list[RunRow]:
        """Return the runs at seeds without any completed run: the means cover only seeds that went well."""
        done = {row.seed for row in self.seeds()}
        return [row for row in self.rows if row.seed not in done]

    def repeated(self) -> list[RunRow]:
        """Return the completed runs in whose place another run with the same seed counts."""
        counted = {row.path for row in self.seeds()}
        return [row for row in self.rows if row.status is RunStatus.COMPLETED and row.path not in counted]

    def over_seeds(self, of: Callable[[RunRow], float | None], better: Better | None) -> Aggregate | None:
        """Aggregate any number of a run over seeds; runs without this number are left out."""
        return aggregate([value for row in self.seeds() if (value := of(row)) is not None], better)

    def steps_per_second(self) -> Aggregate | None:
        """Aggregate the steps per second of optimisation, without evaluation.

        No rate counts as the best: runs are measured under unlike loads of their machines.
        """
        return self.over_seeds(lambda row: row.steps_per_second, None)

    def seconds_to(self, bound: float) -> Aggregate | None:
        """Aggregate the seconds until the validation bound first reached this value, over the seeds that did."""
        return self.over_seeds(lambda row: row.seconds_to(bound), "smaller")

    def validation_intervals(self) -> list[int]:
        """Return the numbers of steps between validations of its runs, ascending: runs of a group may differ in it.

        The time to a bound is rounded up to the next validation. A run that validates only at its end has all its
        steps in one interval.
        """
        validated = [row for row in self.seeds() if series(row.metrics, Split.VALID, "bound")]
        return sorted({int(row.spec.get("eval_every") or row.spec["steps"]) for row in validated})

    def bound(self, split: Split) -> Aggregate | None:
        """Aggregate the final bound over seeds, nats per example."""
        return self.over_seeds(lambda row: row.bound(split), "larger")

    def examples(self, split: Split) -> int | None:
        """Return the number of examples of the final bounds; None where it is not known, or not the same."""
        found = {row.examples(split) for row in self.seeds()}
        return found.pop() if len(found) == 1 else None

    def before(self, split: Split) -> Aggregate | None:
        """Aggregate the parent's bound, nats per example; None if there is no parent."""
        return self.over_seeds(lambda row: row.before(split), "larger")

    def gain(self, split: Split) -> Aggregate | None:
        """Aggregate the gain of training q alone over the parent's bound, nats per example."""
        pairs = [(row.bound(split), row.before(split)) for row in self.seeds()]
        gains = [bound - before for bound, before in pairs if bound is not None and before is not None]
        return aggregate(gains, "larger")

    def evaluations(self) -> dict[EvaluationKey, Evaluated]:
        """Aggregate evaluations over seeds.

        The newest repeat of each run counts. Evaluations with different keys are never averaged together.
        """
        found: dict[EvaluationKey, dict[int, Mapping[str, Any]]] = {}
        for row in self.seeds():
            for attrs in row.evals:
                found.setdefault(EvaluationKey.of(attrs, row.final_step), {})[row.seed] = attrs
        return {key: evaluated(list(found[key].values())) for key in sorted(found, key=EvaluationKey.place)}

    def evaluated(self, split: str, k: int, seed: int, n: int) -> Evaluated | None:
        """Return the evaluations at the end of training with these settings, over seeds; None if there are none."""
        return self.evaluations().get(EvaluationKey(split, k, seed, n, None))

    def bias(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return each run's path with the result of every pair in the run's newest bias check."""
        return [(row.path, result) for row in self.rows if row.bias for result in row.bias[-1]["results"]]

    def tracked(self) -> dict[str, dict[str, Aggregate]]:
        """Aggregate the tracked statistics at the end of training, by the estimator's word and the quantity.

        A run without a finite number for a quantity is left out of that quantity's mean. Means over windows leave out
        runs with windows of another length.
        """
        found: dict[str, dict[str, list[float]]] = {}
        alike = {id(row.tracked) for row in self.with_alike_windows()}
        for each in self._all_tracked():
            for estimator, quantities in each.values.items():
                of_estimator = found.setdefault(estimator, {})
                for quantity, value in quantities.items():
                    counts = math.isfinite(value) and (not quantity.endswith("_window") or id(each) in alike)
                    of_estimator.setdefault(quantity, []).extend([value] if counts else [])
        return {
            estimator: {
                quantity: a for quantity, values in quantities.items() if (a := aggregate(values, _better(quantity)))
            }
            for estimator, quantities in found.items()
        }

    def tracked_window(self) -> tuple[float, float] | None:
        """Return the steps per tracked window and the SNR of pure noise in such windows, as means over seeds."""
        found = [row.tracked for row in self.with_alike_windows()]
        known = [(each.steps, each.snr_floor) for each in found if each is not None]
        return (fmean(steps for steps, _ in known), fmean(floor for _, floor in known)) if known else None

    def tracked_floor(self, quantity: str) -> float | None:
        """Return the SNR of pure noise for a quantity that is an SNR, mean over seeds; None for other quantities."""
        if not quantity.endswith(("_snr", "_snr_window")):
            return None
        if quantity.endswith("_window"):
            window = self.tracked_window()
            return window[1] if window else None
        return fmean(each.moving_floor for each in self._all_tracked())

    def with_alike_windows(self) -> list[RunRow]:
        """Return the runs, one per seed, whose windows have the most common length at the end of training.

        The length is ``--log-every``, in which runs of a group may differ. The SNR of noise depends on it.
        """
        steps = [(row, row.tracked.steps) for row in self.seeds() if row.tracked is not None]
        known = [(row, round(length)) for row, length in steps if math.isfinite(length)]
        if not known:
            return []
        ((common, _),) = Counter(length for _, length in known).most_common(1)
        return [row for row, length in known if length == common]

    def _all_tracked(self) -> list[Tracked]:
        return [row.tracked for row in self.seeds() if row.tracked is not None]


def _better(quantity: str) -> Better | None:
    """Say which values of a tracked quantity are better; ``posterior_variance_window`` is a variance."""
    return next((better for name, better in _TRACKED.items() if f"_{name}" in quantity), None)


def group_rows(rows: Sequence[RunRow]) -> list[Group]:
    """Group rows by experiment, in the order in which the groups first appear."""
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return [Group(key, tuple(members)) for key, members in found.items()]
