"""``dreg runs rm`` and ``gc``: to the trash, back from it, and what is to go for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from dregcli.commands import command
from dregcli.errors import DregError, RunStateError, UsageError
from dregcli.store import trash
from dregcli.store.references import removed_place
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_MOST_DAYS: Final = 36_500


@dataclass(frozen=True)
class RunRemoval:
    """A run that is to be removed.

    Attributes:
        run: which.
        status: as read, or that it cannot be.
        nbytes: the room it takes.
        children: runs that start from it, as their specs say.
    """

    run: Run
    status: str
    nbytes: int
    children: tuple[str, ...]


def plan_run_removal(references: Sequence[str], *, runs_dir: Path) -> list[RunRemoval]:
    """What would be removed; a name means all its versions. Nothing is touched.

    Raises:
        RunNotFound: no such run.
        RunStateError: one is being written.
    """
    runs = RunStore(runs_dir).resolve_all(references)
    parents = {root: _parents(RunStore(root)) for root in dict.fromkeys(run.root for run in runs)}
    return [_removal(run, parents[run.root].get(run.key, [])) for run in runs]


def _removal(run: Run, children: Sequence[str]) -> RunRemoval:
    try:
        trash.check_not_live(run)
        status = run.status().value
    except RunStateError:
        raise
    except DregError:
        status = "unreadable"
    return RunRemoval(run, status, trash.size(run.path), tuple(children))


def _parents(store: RunStore) -> dict[str, list[str]]:
    """The runs that start from each run."""
    found: dict[str, list[str]] = {}
    for run in store.runs():
        try:
            parent = run.spec().get("parent")
        except DregError:
            continue
        if isinstance(parent, dict):
            found.setdefault(str(cast("dict[str, Any]", parent).get("run")), []).append(run.label)
    return found


def remove_runs(removals: Sequence[RunRemoval]) -> list[Path]:
    """Move runs to the trash; where each is now.

    Raises:
        StoreWriteError: the disk refuses; those before are in the trash.
    """
    return [trash.remove(removal.run.fs, removal.run) for removal in removals]


def restore_runs(references: Sequence[str], *, runs_dir: Path) -> list[Path]:
    """Move runs, named as NAME/v001 or by the paths where they were, back from the trash.

    Raises:
        RunNotFound: one is not there.
        RunStateError: a run is where it was.
        StoreWriteError: the disk refuses.
    """
    fs = RunStore(runs_dir).fs
    places = [removed_place(runs_dir, reference) for reference in references]
    return [trash.restore(fs, each.root, each.key) for each in places]


@dataclass(frozen=True)
class Garbage:
    """What can go for good, and the room it takes."""

    paths: list[Path]
    nbytes: int


def find_garbage(*, runs_dir: Path, older_than_days: float) -> Garbage:
    """What is in the trash for so many days, and what killed writers left behind.

    Raises:
        UsageError: no such number of days.
        StoreFormatError: the store is of another format.
    """
    if not 0 <= older_than_days <= _MOST_DAYS:  # nan neither
        what = f"{older_than_days} is not a number of days that something can lie there."
        raise UsageError(what, where="older-than", hint=command("runs", "gc", "--older-than", "7"))
    store = RunStore(runs_dir)
    older_than = timedelta(days=older_than_days)
    paths = trash.garbage(store.runs(), store.root, older_than=older_than, now=datetime.now(UTC))
    return Garbage(paths, sum(trash.size(path) for path in paths))


def empty_garbage(found: Garbage, *, runs_dir: Path) -> None:
    """Remove it for good.

    Raises:
        StoreWriteError: the disk refuses.
    """
    trash.empty(RunStore(runs_dir).fs, found.paths)
