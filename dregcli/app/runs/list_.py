"""``dreg runs list``: list the runs of a store; only small files of each run are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from dregcli.app.runs.words import check_estimator, check_objective, not_known, stands_for
from dregcli.errors import DregError
from dregcli.names import DatasetName, RunStatus, Split
from dregcli.specs.run import spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

UNREADABLE: Final = "unreadable"
"""The status that a list shows for a run whose state or spec cannot be read; the store has no such status."""

_OWN: Final = ("created", "updated", "name", "status", "step", "seconds")


@dataclass(frozen=True)
class ListedRun:
    """The part of a run that a list shows.

    Attributes:
        run: the run.
        status: status of the run; a run with a dead writer is crashed.
        created: time when the run was claimed, UTC.
        updated: time when its state was last written, UTC.
        spec: the stored spec; empty if the run was killed while it was claimed.
        summary: results by the last process that ended the run; another process may have continued the run since.
        last: the last row of metrics of each split.
        tags: tags of the run.
        damage: why its tags cannot be read; None if they can.
    """

    run: Run
    status: RunStatus
    created: datetime
    updated: datetime
    spec: Mapping[str, Any]
    summary: Mapping[str, Any]
    last: Mapping[str, Mapping[str, float]]
    tags: tuple[str, ...]
    damage: DregError | None = None

    @property
    def ended(self) -> bool:
        """Whether the summary is by the run's last process: a killed or running process has written none."""
        return self.status not in (RunStatus.RUNNING, RunStatus.CRASHED)

    @property
    def step(self) -> int | None:
        """The last known step; None if no step is known."""
        known = [_number(row.get("step")) for row in self.last.values()]
        known.append(_number(self.summary.get("step")) if self.ended else None)
        return max((int(step) for step in known if step is not None and step == step), default=None)

    @property
    def seconds(self) -> float | None:
        """The training time in seconds, as far as it is known."""
        final = _number(self.summary.get("seconds")) if self.ended else None
        return final if final is not None else self._last("train", "seconds")

    def final_bound(self, split: str) -> float | None:
        """Return a split's final bound, nats per example; None if the run has not ended, or left the split out."""
        final = self.summary.get("bound") if self.ended else None
        return _number(cast("dict[str, Any]", final).get(split)) if isinstance(final, dict) else None

    def bound(self, split: str) -> float | None:
        """Return a split's bound, nats per example: the final one or, without it, the last one from training."""
        value = self.final_bound(split)
        return value if value is not None else self._last(split, "bound")

    def values(self) -> dict[str, float | str]:
        """Return all values by which a list can be sorted."""
        found: dict[str, float | str | None] = {
            "created": self.created.timestamp(),
            "updated": self.updated.timestamp(),
            "name": f"{self.run.name}/{self.run.version:09d}",
            "status": self.status.value,
            "step": self.step,
            "seconds": self.seconds,
        }
        for split in Split:
            found[split.value] = found[f"{split.value}.bound"] = self.bound(split)
        for split, row in self.last.items():
            found |= {f"{split}.{column}": _number(value) for column, value in row.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _last(self, split: str, column: str) -> float | None:
        return _number(self.last.get(split, {}).get(column))


def _number(value: object) -> float | None:
    """Return a number unchanged; None for any other value, which another program may have written."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Wanted:
    """Which runs to list, and in what order.

    Attributes:
        names: names or versions of runs; empty means all runs.
        dataset: data set in the spec.
        objective: objective in the spec; without parameters it matches any parameters.
        estimator: estimator in the spec, matched in the same way; it may be a pair.
        statuses: allowed statuses, also ``unreadable``; empty means any.
        tags: tags that a run must have, all of them.
        sort: the column to sort by; None means the time of creation.
        reverse: whether the largest comes first.
        limit: largest number of runs.
    """

    names: Sequence[str] = ()
    dataset: str | None = None
    objective: str | None = None
    estimator: str | None = None
    statuses: Sequence[str] = ()
    tags: Sequence[str] = ()
    sort: str | None = None
    reverse: bool = False
    limit: int | None = None

    @property
    def judges_content(self) -> bool:
        """Whether a condition depends on the content of a run, so that an unreadable run cannot match."""
        return bool(self.dataset or self.objective or self.estimator or self.tags)


@dataclass(frozen=True)
class UnreadableRun:
    """A run that cannot be read, with the reason."""

    run: Run
    error: DregError


@dataclass(frozen=True)
class RunList:
    """The list of runs that match.

    Attributes:
        rows: the runs, in order.
        damaged: unreadable runs that may match; they are listed after ``rows``.
        of: number of runs in the store.
        unreadable: all unreadable runs, also those that do not match.
    """

    rows: list[ListedRun]
    damaged: list[UnreadableRun]
    of: int
    unreadable: list[UnreadableRun]


def list_runs(wanted: Wanted, *, runs_dir: Path) -> RunList:
    """Return the runs of a store that match.

    Raises:
        UsageError: no run has the column, or a word is unknown.
        RunNotFound: no such name.
        StoreFormatError: the store has another format.
    """
    _check_words(wanted)
    rows: list[ListedRun] = []
    unreadable: list[UnreadableRun] = []
    for run in RunStore(runs_dir).resolve_all(wanted.names):
        try:
            rows.append(read_listed(run))
        except DregError as error:
            if run.path.is_dir():  # otherwise it was removed meanwhile
                unreadable.append(UnreadableRun(run, error))
    _check_dataset(wanted, rows)
    found = _sorted([row for row in rows if _is_wanted(row, wanted)], rows, wanted)
    is_asked = not wanted.judges_content and (not wanted.statuses or UNREADABLE in wanted.statuses)
    damaged = unreadable if is_asked else []
    if wanted.limit is not None:
        damaged = damaged[: max(wanted.limit - len(found), 0)]
    return RunList(found[: wanted.limit], damaged, len(rows) + len(unreadable), unreadable)


def read_listed(run: Run) -> ListedRun:
    """Read the part of one run that a list shows. If its labels are damaged, it has no tags, and ``damage`` says why.

    Raises:
        StoreCorrupt: the run's state or spec was altered.
        StoreFormatError: the run has a newer format.
        RunNotFound: the run was removed meanwhile.
    """
    info = run.info()
    spec = spelt_out(run.spec(info)) if info.started else {}
    tags, damage = (), None
    try:
        tags = run.labels().tags
    except DregError as error:
        damage = error
    return ListedRun(run, info.status, info.created, info.updated, spec, info.summary, info.last, tags, damage)


def _check_words(wanted: Wanted) -> None:
    known = [*RunStatus, UNREADABLE]
    for status in wanted.statuses:
        if status not in known:
            what = f"There is no status '{status}'."
            raise not_known(what, "status", status, known)
    if wanted.objective:
        check_objective(wanted.objective)
    if wanted.estimator:
        check_estimator(wanted.estimator)


def _check_dataset(wanted: Wanted, rows: list[ListedRun]) -> None:
    there = dict.fromkeys(str(row.spec["dataset"]) for row in rows if "dataset" in row.spec)
    if wanted.dataset and wanted.dataset not in (*there, *DatasetName):
        what = f"No run in this store uses a data set '{wanted.dataset}'."
        raise not_known(what, "dataset", wanted.dataset, [*there] or [*DatasetName])


def _is_wanted(row: ListedRun, wanted: Wanted) -> bool:
    spec = row.spec
    objective, _, estimator = (wanted.estimator or "").rpartition("/")
    asked = [(wanted.objective, "objective"), (objective, "objective"), (estimator, "estimator")]
    return (
        (not wanted.dataset or wanted.dataset == spec.get("dataset"))
        and all(stands_for(word, str(spec.get(field))) for word, field in asked if word)
        and (not wanted.statuses or row.status in wanted.statuses)
        and set(wanted.tags) <= set(row.tags)
    )


def _sorted(rows: list[ListedRun], known: list[ListedRun], wanted: Wanted) -> list[ListedRun]:
    column = wanted.sort or "created"
    if known and column not in _OWN:
        columns = sorted({name for row in known for name in row.values()} | {*_OWN, *Split})
        if column not in columns:
            what = f"No run in this store has a column '{column}'."
            raise not_known(what, "sort", column, columns)
    keyed = [(row.values().get(column), row) for row in rows]
    # Runs without a value come last in either order; NaN counts as no value.
    having = [(value, row) for value, row in keyed if value is not None and value == value]
    having.sort(key=lambda each: cast("Any", each[0]), reverse=wanted.reverse)
    return [row for _, row in having] + [row for value, row in keyed if value is None or value != value]
