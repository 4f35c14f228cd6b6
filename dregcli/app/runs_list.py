"""``dreg runs list``: the runs of a store in one look, from one small file of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from dregcli.errors import DregError, UsageError
from dregcli.names import RunStatus, Split, nearest
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_OWN: Final = ("created", "updated", "name", "status", "step", "seconds")


@dataclass(frozen=True)
class ListedRun:
    """What a list shows of a run.

    Attributes:
        run: which.
        status: as read; a dead writer's run is crashed.
        spec: as stored; empty of one that was killed while it was claimed.
        summary: what its last process left.
        last: its last row of metrics, by split.
        tags: those that hold.
    """

    run: Run
    status: RunStatus
    created: datetime
    updated: datetime
    spec: Mapping[str, Any]
    summary: Mapping[str, Any]
    last: Mapping[str, Mapping[str, float]]
    tags: tuple[str, ...]

    @property
    def step(self) -> int | None:
        """The last step that is known of."""
        known = [int(row["step"]) for row in self.last.values()]
        if isinstance(done := self.summary.get("step"), int):
            known.append(done)
        return max(known, default=None)

    def bound(self, split: str) -> float | None:
        """The bound of a split, nats per example: the final one, else the last one measured while it trained."""
        final = self.summary.get("bound", {}).get(split)
        return final if final is not None else self.last.get(split, {}).get("bound")

    def values(self) -> dict[str, float | str]:
        """All that a list can be sorted by."""
        found: dict[str, float | str] = {
            "created": self.created.timestamp(),
            "updated": self.updated.timestamp(),
            "name": self.run.label,
            "status": self.status.value,
        }
        if self.step is not None:
            found["step"] = self.step
        if isinstance(seconds := self.summary.get("seconds"), int | float):
            found["seconds"] = seconds
        for split in Split:
            if (bound := self.bound(split)) is not None:
                found[split.value] = bound
        for split, row in self.last.items():
            found |= {f"{split}.{column}": value for column, value in row.items()}
        return found


@dataclass(frozen=True)
class Wanted:
    """Which runs, and in what order.

    Attributes:
        names: of runs, or versions; all where there are none.
        dataset, objective, estimator: of the spec; an estimator may be a pair.
        statuses: any of these.
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


@dataclass(frozen=True)
class RunList:
    """What was found, in order.

    Attributes:
        rows: the runs.
        of: how many there are in the store.
        unreadable: runs that cannot be read, with the error.
    """

    rows: list[ListedRun]
    of: int
    unreadable: list[tuple[Run, DregError]]


def list_runs(wanted: Wanted, *, runs_dir: Path) -> RunList:
    """The runs of a store that are wanted.

    Raises:
        UsageError: a column that no run has, or a status that is none.
        RunNotFound: no such name.
        StoreFormatError: the store is of another format.
    """
    _check_statuses(wanted.statuses)
    store = RunStore(runs_dir)
    runs = [run for name in wanted.names for run in store.resolve(name)] if wanted.names else store.runs()
    rows: list[ListedRun] = []
    unreadable: list[tuple[Run, DregError]] = []
    for run in dict.fromkeys(runs):
        try:
            rows.append(read_listed(run))
        except DregError as error:
            unreadable.append((run, error))
    found = _sorted([row for row in rows if _is_wanted(row, wanted)], rows, wanted)
    return RunList(found[: wanted.limit], len(rows) + len(unreadable), unreadable)


def read_listed(run: Run) -> ListedRun:
    """What a list shows of one run."""
    info = run.info()
    spec = run.spec(info) if info.started else {}
    tags = run.labels().tags
    return ListedRun(run, info.status, info.created, info.updated, spec, info.summary, info.last, tags)


def _check_statuses(statuses: Iterable[str]) -> None:
    known = [status.value for status in RunStatus]
    if wrong := [status for status in statuses if status not in known]:
        what = f"There is no status {', '.join(map(repr, wrong))}."
        raise UsageError(what, where="status", hint=f"use one of {', '.join(known)}")


def _is_wanted(row: ListedRun, wanted: Wanted) -> bool:
    spec = row.spec
    objective, _, estimator = (wanted.estimator or "").rpartition("/")
    asked = [
        (wanted.dataset, spec.get("dataset")),
        (wanted.objective, spec.get("objective")),
        (objective, spec.get("objective")),
        (estimator, spec.get("estimator")),
    ]
    return (
        all(_is_word(word, str(actual)) for word, actual in asked if word)
        and (not wanted.statuses or row.status in wanted.statuses)
        and set(wanted.tags) <= set(row.tags)
    )


def _is_word(asked: str, actual: str) -> bool:
    """Whether a word is the one asked for: as spelt out, or by its name alone with any parameters."""
    return asked in (actual, actual.partition(":")[0])


def _sorted(rows: list[ListedRun], known: list[ListedRun], wanted: Wanted) -> list[ListedRun]:
    column = wanted.sort or "created"
    values = {row.run: row.values().get(column) for row in rows}
    if column not in _OWN and all(value is None for value in values.values()):
        columns = sorted({name for row in known for name in row.values()} | set(_OWN))
        near = nearest(column, columns)
        meant = f" Did you mean '{near}'?" if near else ""
        if column not in columns:
            what = f"No run here has a column '{column}'.{meant}"
            raise UsageError(what, where="sort", hint=f"use one of {', '.join(columns)}")
    # Those without a value come last, whichever way round.
    having = [row for row in rows if _orders(values[row.run])]
    having.sort(key=lambda row: values[row.run], reverse=wanted.reverse)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return having + [row for row in rows if not _orders(values[row.run])]


def _orders(value: float | str | None) -> bool:
    """Whether there is a value, and it is not NaN."""
    return value is not None and value == value
