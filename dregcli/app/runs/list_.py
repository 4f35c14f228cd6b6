"""``dreg runs list``: the runs of a store in one look, from one small file of each."""

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
"""What a list calls a run whose state or spec cannot be read; no run has it as its status."""

_OWN: Final = ("created", "updated", "name", "status", "step", "seconds")


@dataclass(frozen=True)
class ListedRun:
    """What a list shows of a run.

    Attributes:
        run: which.
        status: as read; a dead writer's run is crashed.
        created: when it was claimed, UTC.
        updated: when its state was last written, UTC.
        spec: as stored; empty of one that was killed while it was claimed.
        summary: what the process left that last ended it; a later one may be at it.
        last: its last row of metrics, by split.
        tags: those that hold.
        damage: why its tags cannot be read, where they cannot.
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
        """Whether the summary is of its last process: one that was killed, or still runs, has left none."""
        return self.status not in (RunStatus.RUNNING, RunStatus.CRASHED)

    @property
    def step(self) -> int | None:
        """The last step that is known of."""
        known = [_number(row.get("step")) for row in self.last.values()]
        known.append(_number(self.summary.get("step")) if self.ended else None)
        return max((int(step) for step in known if step is not None and step == step), default=None)

    @property
    def seconds(self) -> float | None:
        """How long it was trained, as far as is known."""
        final = _number(self.summary.get("seconds")) if self.ended else None
        return final if final is not None else self._last("train", "seconds")

    def bound(self, split: str) -> float | None:
        """The bound of a split, nats per example: the final one, else the last one measured while it trained."""
        final = self.summary.get("bound") if self.ended else None
        value = _number(cast("dict[str, Any]", final).get(split)) if isinstance(final, dict) else None
        return value if value is not None else self._last(split, "bound")

    def values(self) -> dict[str, float | str]:
        """All that a list can be sorted by."""
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
    """A number as one; None for anything else, such as what another program wrote there."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Wanted:
    """Which runs, and in what order.

    Attributes:
        names: of runs, or versions; all where there are none.
        dataset: of the spec.
        objective: of the spec; without parameters any.
        estimator: the same; may be a pair.
        statuses: any of these; ``unreadable`` too.
        tags: all of these.
        sort: a column; by time of creation where there is none.
        reverse: the largest first.
        limit: so many at most.
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
        """Whether it asks for what only a run that can be read can tell."""
        return bool(self.dataset or self.objective or self.estimator or self.tags)


@dataclass(frozen=True)
class UnreadableRun:
    """A run of which nothing is known, and why."""

    run: Run
    error: DregError


@dataclass(frozen=True)
class RunList:
    """What was found.

    Attributes:
        rows: the runs, in order.
        damaged: those that follow them: wanted, as far as can be known, but not to be read.
        of: how many there are in the store.
        unreadable: all that cannot be read, wanted or not.
    """

    rows: list[ListedRun]
    damaged: list[UnreadableRun]
    of: int
    unreadable: list[UnreadableRun]


def list_runs(wanted: Wanted, *, runs_dir: Path) -> RunList:
    """The runs of a store that are wanted.

    Raises:
        UsageError: a column that no run has, or a word that names nothing.
        RunNotFound: no such name.
        StoreFormatError: the store is of another format.
    """
    _check_words(wanted)
    rows: list[ListedRun] = []
    unreadable: list[UnreadableRun] = []
    for run in RunStore(runs_dir).resolve_all(wanted.names):
        try:
            rows.append(read_listed(run))
        except DregError as error:
            if run.path.is_dir():  # else it was removed meanwhile
                unreadable.append(UnreadableRun(run, error))
    _check_dataset(wanted, rows)
    found = _sorted([row for row in rows if _is_wanted(row, wanted)], rows, wanted)
    is_asked = not wanted.judges_content and (not wanted.statuses or UNREADABLE in wanted.statuses)
    damaged = unreadable if is_asked else []
    if wanted.limit is not None:
        damaged = damaged[: max(wanted.limit - len(found), 0)]
    return RunList(found[: wanted.limit], damaged, len(rows) + len(unreadable), unreadable)


def read_listed(run: Run) -> ListedRun:
    """What a list shows of one run. Damaged labels hide no run: it then has no tags, and says why.

    Raises:
        StoreCorrupt: its state or spec is altered.
        StoreFormatError: of a newer version.
        RunNotFound: it was removed meanwhile.
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
        what = f"No run here is of a data set '{wanted.dataset}'."
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
            what = f"No run here has a column '{column}'."
            raise not_known(what, "sort", column, columns)
    keyed = [(row.values().get(column), row) for row in rows]
    # Those without a value come last, whichever way round; one that is not a number is none.
    having = [(value, row) for value, row in keyed if value is not None and value == value]
    having.sort(key=lambda each: cast("Any", each[0]), reverse=wanted.reverse)
    return [row for _, row in having] + [row for value, row in keyed if value is None or value != value]
