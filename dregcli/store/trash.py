"""Removes runs in a way that can be undone: a run moves to ``.trash/``, which only ``dreg runs gc`` empties.

The number of a removed version is never used again, so that old references never mean another run: the marker
``NAME/v003.removed`` stays.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import DregError, RunNotFound, RunStateError, StoreCorrupt
from dregcli.filesystem import FileSystem, discard, is_temporary, make_folders, move, write_errors
from dregcli.store import layout
from dregcli.store.lease import if_gone, newest_readable_lease
from dregcli.store.run import Run

TRASH_FOLDER: Final = ".trash"
LEFT_BEHIND: Final = timedelta(hours=1)
"""Younger temporaries are not removed: another process may be writing one now, e.g. a result of a finished run."""

_ENTRY: Final = re.compile(r"(.+)--(v[0-9]+)--([0-9]+)")


@dataclass(frozen=True)
class Removed:
    """A run in the trash.

    Attributes:
        label: its name and version, ``NAME/v003``.
        path: its present path.
        time: time of its removal, UTC.
    """

    label: str
    path: Path
    time: datetime


def check_not_live(run: Run) -> None:
    """Refuse a run that a process is writing.

    Raises:
        RunStateError: a process is writing the run; the error names it.
        StoreCorrupt: ``run.json`` is altered, so the writer is unknown.
    """
    taken = newest_readable_lease(run.path)  # if it is damaged, run.json decides
    if holder := run.info().holder(taken, run.clock.now()):
        what = f"The run {run.label} is being written by {holder.holder}."
        raise RunStateError(
            what, where=str(run.path), hint=f"stop that process first: Ctrl-C keeps a checkpoint{if_gone(holder)}"
        )


def remove(fs: FileSystem, run: Run) -> Path:
    """Move a run to the trash.

    Returns:
        Its new path.

    Raises:
        StoreWriteError: the disk refuses; the run was not moved.
    """
    marker = layout.removed_marker(run.path)
    with write_errors(marker), suppress(FileExistsError):
        fs.write(marker, b"")
        fs.sync(marker.parent)
    home = run.path.parent.parent / TRASH_FOLDER
    make_folders(fs, home)
    number = 1 + max((int(found[3]) for name in layout.entries(home) if (found := _ENTRY.fullmatch(name))), default=0)
    target = home / f"{run.name}--{run.path.name}--{number}"
    move(fs, run.path, target)
    return target


def removed(root: Path) -> list[Removed]:
    """Return the runs in the trash, oldest first."""
    home = root / TRASH_FOLDER
    found = [(match, home / name) for name in layout.entries(home) if (match := _ENTRY.fullmatch(name))]
    found.sort(key=lambda each: int(each[0][3]))
    entries: list[Removed] = []
    for match, path in found:
        with suppress(FileNotFoundError):  # emptied meanwhile
            # A rename does not change the times of files, but it changes the status time of the folder.
            time = datetime.fromtimestamp(path.lstat().st_ctime, UTC)
            entries.append(Removed(f"{match[1]}/{match[2]}", path, time))
    return entries


def restore(fs: FileSystem, root: Path, label: str) -> Path:
    """Move a run back from the trash; if one version was removed several times, the newest removal.

    Raises:
        RunNotFound: the run is not in the trash.
        RunStateError: another run has its place.
        StoreWriteError: the disk refuses.
    """
    entries = [entry for entry in removed(root) if entry.label == label]
    if not entries:
        known = ", ".join(dict.fromkeys(entry.label for entry in removed(root))) or "nothing"
        what = f"There is no '{label}' in the trash."
        hint = f"the trash holds {known}; name one as NAME/v001"
        raise RunNotFound(what, where=str(root / TRASH_FOLDER), hint=hint)
    target = root / label
    if target.exists() and not layout.is_run(target):
        what = f"A folder is in the place of {label}, and it is not a run."
        raise RunStateError(what, where=str(target), hint="move that folder away, then restore the run again")
    if target.exists():
        what = f"There is a run {label} already."
        raise RunStateError(
            what, where=str(target), hint=f"remove that one first: {command('runs', 'rm', label, runs_dir=root)}"
        )
    make_folders(fs, target.parent)
    move(fs, entries[-1].path, target)
    return target


def garbage(runs: list[Run], root: Path, *, older_than: timedelta, now: datetime) -> list[Path]:
    """Return the files and folders that can be removed for good: the trash, and temporaries of killed writers.

    Args:
        runs: all runs of the store.
        root: folder of the store.
        older_than: least time that a run must have been in the trash.
        now: the time, UTC.
    """
    found = [entry.path for entry in removed(root) if now - entry.time >= older_than]
    claims = [root / layout.CLAIMS_FOLDER / name for name in layout.entries(root / layout.CLAIMS_FOLDER)]
    folders = [root, root / TRASH_FOLDER, *claims, *(run.path.parent for run in runs)]
    for run in runs:
        if _is_abandoned(run):
            folders += _folders(run.path)
    for folder in dict.fromkeys(folders):
        temporaries = [folder / name for name in layout.names_in(folder) if is_temporary(name)]
        found += [path for path in temporaries if now - _changed(path) >= LEFT_BEHIND]
    return found


def _is_abandoned(run: Run) -> bool:
    try:
        check_not_live(run)
    except RunStateError:
        return False
    except DregError:
        pass  # damaged: its writer may still run, but temporaries that are old enough can be removed all the same
    return True


def _folders(folder: Path) -> list[Path]:
    """Return a folder and all folders below it, without temporaries and links."""
    inner = [path for name in layout.entries(folder) if _is_folder(path := folder / name)]
    return [folder, *(found for path in inner for found in _folders(path))]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink()
    except OSError:  # it lies in a folder that this user may list, but not enter
        return False


def _changed(path: Path) -> datetime:
    """Return the time of the last change in a file or folder; a folder may be older than the files inside it."""
    times = [_changed(path / name) for name in layout.names_in(path)] if _is_folder(path) else []
    with suppress(OSError):
        times.append(datetime.fromtimestamp(path.lstat().st_mtime, UTC))
    return max(times, default=datetime.now(UTC))


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder.

    Links, and files and folders that are gone or cannot be read, count as 0.
    """
    with suppress(OSError, StoreCorrupt):
        if _is_folder(path):
            return sum(size(path / name) for name in layout.names_in(path))
        return 0 if path.is_symlink() else path.stat().st_size
    return 0


def empty(fs: FileSystem, paths: list[Path]) -> None:
    """Remove files and folders for good.

    Raises:
        StoreWriteError: the disk refuses.
    """
    for path in paths:
        if path.exists() or path.is_symlink():
            discard(fs, path)
