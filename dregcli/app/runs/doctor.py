"""``dreg runs doctor``: check whether a store is reliable, and say what to type if it is not."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import DregError, RunNotFound
from dregcli.filesystem import discard, write_aside
from dregcli.names import RunStatus
from dregcli.store import layout, trash
from dregcli.store.records import RunInfo
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

LITTLE_SPACE: Final = 10**9
"""Free bytes below which there is a warning: a few hundred checkpoints of a small model."""

_CLOCKS: Final = timedelta(minutes=5)
_MOST: Final = 5
_PROBE: Final = ".doctor"


class Health(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Check:
    """One check of a store.

    Attributes:
        name: what was checked.
        health: the outcome.
        what: the outcome in words.
        hint: commands to type next, one per line; empty if there is nothing to do.
    """

    name: str
    health: Health
    what: str
    hint: str = ""


def examine(*, runs_dir: Path) -> list[Check]:
    """Check a store; files that are written for the check are removed again."""
    return list(_checks(RunStore(runs_dir)))


def _checks(store: RunStore) -> Iterator[Check]:
    root = store.root
    if not root.is_dir():
        yield Check("store", Health.OK, f"there is no store in {root}/ yet", command("train", "--help"))
        return
    format_check = _format(store)
    yield format_check
    yield _writable(store)
    yield _space(root)
    if format_check.health is Health.FAULT:
        return
    infos: dict[Run, RunInfo] = {}
    unreadable: list[str] = []
    for run in store.runs():
        try:
            infos[run] = run.info()
        except RunNotFound:  # it was removed meanwhile
            continue
        except DregError as error:
            unreadable.append(f"{run.label} ({error.what})")
    yield _readable(root, infos, unreadable)
    yield _unfinished(infos)
    yield _clocks(infos)
    yield _left_over(store, [*infos])


def _format(store: RunStore) -> Check:
    try:
        layout.check_store(store.root)
    except DregError as error:
        return Check("format", Health.FAULT, error.what, error.hint or "")
    return Check("format", Health.OK, f"{layout.FORMAT_VERSION}, the format that this version of dreg writes")


def _writable(store: RunStore) -> Check:
    path = store.root / _PROBE
    try:
        write_aside(store.fs, path, b"")
        discard(store.fs, path)
    except DregError as error:
        return Check("disk", Health.FAULT, error.what, error.hint or "")
    return Check("disk", Health.OK, "files can be written, flushed to the disk, renamed and removed")


def _space(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    what = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_SPACE:
        return Check("space", Health.WARNING, what, f"empty the trash: {command('runs', 'gc', runs_dir=root)}")
    return Check("space", Health.OK, what)


def _some(labels: list[str]) -> str:
    more = f" and {len(labels) - _MOST} more" if len(labels) > _MOST else ""
    return ", ".join(labels[:_MOST]) + more


def _readable(root: Path, infos: dict[Run, RunInfo], unreadable: list[str]) -> Check:
    if unreadable:
        what = f"{len(unreadable)} of {len(infos) + len(unreadable)} runs cannot be read: {_some(unreadable)}"
        return Check(
            "runs", Health.FAULT, what, f"see every file that was altered: {command('runs', 'verify', runs_dir=root)}"
        )
    return Check("runs", Health.OK, f"{len(infos)}, all readable")


def _unfinished(infos: dict[Run, RunInfo]) -> Check:
    stopped = (RunStatus.CRASHED, RunStatus.INTERRUPTED, RunStatus.FAILED)
    waiting = [(run, info) for run, info in infos.items() if info.status in stopped]
    live = [run.label for run, info in infos.items() if info.status is RunStatus.RUNNING]
    now = f"; running: {_some(live)}" if live else ""
    if waiting:
        shown = _some([f"{run.label} ({info.status.value})" for run, info in waiting])
        # A run that was killed while it was claimed has nothing to resume.
        first, info = next((each for each in waiting if each[1].started), waiting[0])
        ways = [("train", "--resume"), ("runs", "rm")] if info.started else [("runs", "rm")]
        hint = "\n".join(command(*words, first.label, runs_dir=first.root) for words in ways)
        return Check("unfinished", Health.WARNING, f"{len(waiting)} stopped before the end: {shown}{now}", hint)
    return Check("unfinished", Health.OK, f"none{now}")


def _clocks(infos: dict[Run, RunInfo]) -> Check:
    now = datetime.now(UTC)
    ahead = [run.label for run, info in infos.items() if info.updated - now > _CLOCKS]
    if ahead:
        what = f"runs were written in the future, by this machine's clock: {_some(ahead)}"
        return Check("clock", Health.WARNING, what, "set the clocks of all machines that share this store")
    return Check("clock", Health.OK, "no run was written in the future")


def _left_over(store: RunStore, runs: list[Run]) -> Check:
    try:
        paths = trash.garbage(runs, store.root, older_than=timedelta(0), now=datetime.now(UTC))
    except DregError as error:
        return Check("leftovers", Health.FAULT, f"{error.what}: {error.where}", error.hint or "")
    if paths:
        size = sum(trash.size(path) for path in paths)
        return Check(
            "leftovers",
            Health.WARNING,
            f"{len(paths)}, {size / 1e6:.1f} MB",
            command("runs", "gc", runs_dir=store.root),
        )
    return Check("leftovers", Health.OK, "none")
