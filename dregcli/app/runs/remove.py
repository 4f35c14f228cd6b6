"""``dreg runs rm`` and ``gc``: move runs to the trash and back, and delete old trash for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from dregcli.commands import command
from dregcli.errors import DregError, RunNotFound, RunStateError, UsageError
from dregcli.store import trash
from dregcli.store.references import removed_place
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_MOST_DAYS: Final = 36_500


@dataclass(frozen=True)
class RunRemoval:
    """A run that will be removed.

    Attributes:
        run: the run.
        status: status of the run, or ``unreadable``.
        nbytes: size of the run in bytes.
        children: runs that start from this run, according to their specs.
    """

    run: Run
    status: str
    nbytes: int
    children: tuple[str, ...]


def plan_run_removal(references: Sequence[str], *, runs_dir: Path) -> list[RunRemoval]:
    """Return what would be removed, without removing anything; a name means all its versions.

    Raises:
        RunNotFound: no such run.
        RunStateError: a process is writing one of the runs.
    """
    runs = RunStore(runs_dir).resolve_all(references)
    parents = {root: _parents(RunStore(root)) for root in dict.fromkeys(run.root for run in runs)}
    return [_removal(run, parents[run.root].get(run.key, [])) for run in runs]


def _removal(run: Run, children: Sequence[str]) -> RunRemoval:
    return RunRemoval(run, _status(run), trash.size(run.path), tuple(children))


def _status(run: Run) -> str:
    """Return the status of a run that no process is writing, or ``unreadable``.

    Raises:
        RunStateError: a process is writing the run.
        RunNotFound: the run was removed meanwhile.
    """
    try:
        trash.check_not_live(run)
        return run.status().value
    except (RunStateError, RunNotFound):
        raise
    except DregError:
        return "unreadable"


def _parents(store: RunStore) -> dict[str, list[str]]:
    """Return the runs that start from each run, by the key of the parent."""
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
    """Move runs to the trash, and return their new paths.

    Raises:
        RunStateError: a process has resumed one of the runs meanwhile; none was moved.
        RunNotFound: a process has removed one of them meanwhile; none was moved.
        StoreWriteError: a run cannot be moved; the runs before it are in the trash.
    """
    for removal in removals:  # again, because the user may have taken long to agree
        _status(removal.run)
    return [trash.remove(removal.run.fs, removal.run) for removal in removals]


def restore_runs(references: Sequence[str], *, runs_dir: Path) -> list[Path]:
    """Move runs, named as NAME/v001 or by the paths where they were, back from the trash.

    Raises:
        RunNotFound: a run is not in the trash.
        RunStateError: there is a run in its old place.
        StoreWriteError: a run cannot be moved.
    """
    fs = RunStore(runs_dir).fs
    places = [removed_place(runs_dir, reference) for reference in references]
    return [trash.restore(fs, each.root, each.key) for each in places]


@dataclass(frozen=True)
class Garbage:
    """Files and folders that can be deleted for good, and their size in bytes."""

    paths: list[Path]
    nbytes: int


def find_garbage(*, runs_dir: Path, older_than_days: float) -> Garbage:
    """Find trash that is older than a number of days, and files that killed writers left behind.

    Raises:
        UsageError: the number of days is not valid.
        StoreFormatError: the store has another format.
    """
    if not 0 <= older_than_days <= _MOST_DAYS:  # refuses nan, too
        what = f"{older_than_days} is not a number of days from 0 to {_MOST_DAYS:,}."
        raise UsageError(what, where="older-than", hint=command("runs", "gc", "--older-than", "7"))
    store = RunStore(runs_dir)
    older_than = timedelta(days=older_than_days)
    paths = trash.garbage(store.runs(), store.root, older_than=older_than, now=datetime.now(UTC))
    return Garbage(paths, sum(trash.size(path) for path in paths))


def empty_garbage(found: Garbage, *, runs_dir: Path) -> None:
    """Delete garbage for good.

    Raises:
        StoreWriteError: a file cannot be deleted.
    """
    trash.empty(RunStore(runs_dir).fs, found.paths)
