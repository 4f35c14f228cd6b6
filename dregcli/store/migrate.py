"""Making a store of an older format one that this program writes: nothing is lost, and the old files are kept.

Format 2 has, beyond format 1, the last rows of metrics and a seal of the log in ``run.json``, and a digest beside
each figure. Of files that had no digest it vouches for what they are now: nobody can tell what they were before.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dregcli.errors import DregError, RunStateError
from dregcli.filesystem import FileSystem, make_folders, write_aside
from dregcli.names import RunStatus
from dregcli.store import documents, hdf5, layout, log, metrics, results
from dregcli.store.records import RunInfo, read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

BACKUPS_FOLDER: Final = ".backups"

_FIGURES_FOLDER: Final = "figures"


@dataclass(frozen=True)
class Migration:
    """What was done.

    Attributes:
        before: the store's format before.
        migrated: runs whose files were changed.
        unreadable: runs that were left as they are, each with the reason.
        backup: where the old files are; None where nothing was to be done.
    """

    before: int
    migrated: tuple[Run, ...]
    unreadable: tuple[str, ...]
    backup: Path | None


def migrate(store: RunStore) -> Migration:
    """Brings a store to the newest format. A kill at any point leaves a store that is read and can be migrated again.

    Raises:
        RunStateError: a run is being written.
        StoreFormatError: the store is of a newer format.
        StoreWriteError: the disk refuses.
    """
    before = layout.store_format(store.root)
    if before == layout.FORMAT_VERSION:
        return Migration(before, (), (), None)
    runs = store.runs()
    unreadable: list[str] = []
    infos = {run: info for run in runs if (info := _readable(run, unreadable))}
    for run, info in infos.items():
        if info.status is RunStatus.RUNNING and run.status() is RunStatus.RUNNING:
            what = f"The run {run.label} is being written by {info.lease.holder if info.lease else 'a process'}."
            raise RunStateError(what, where=str(run.path), hint="wait for it or stop it, then migrate again")
    backup = store.root / BACKUPS_FOLDER / f"format-{before}"
    migrated: list[Run] = []
    for run, info in infos.items():
        if info.version == 1:
            _migrate_run(store.fs, run, info, backup / run.name / run.path.name)
            migrated.append(run)
    _keep(store.fs, store.root / layout.STORE_FILE, backup)
    # Last: until then the store is what it was, with some files that are newer already.
    write_aside(store.fs, store.root / layout.STORE_FILE, layout.store_content(layout.FORMAT_VERSION))
    return Migration(before, tuple(migrated), tuple(unreadable), backup)


def _readable(run: Run, unreadable: list[str]) -> RunInfo | None:
    """A run's state as it was written; None of one that was killed while it was claimed, or is corrupt."""
    path = run.path / layout.RUN_FILE
    if not path.exists():
        return None
    try:
        return read_info(path)
    except DregError as error:
        unreadable.append(f"{run.label}: {error.what}")
        return None


def _migrate_run(fs: FileSystem, run: Run, info: RunInfo, backup: Path) -> None:
    figures = run.path / _FIGURES_FOLDER
    for name in layout.entries(figures):
        path = figures / name
        if path.is_file() and not name.endswith(results.DIGEST_SUFFIX) and not results.digest_path(path).exists():
            content = documents.read_bytes(path, limit=hdf5.SIZE_LIMIT)
            write_aside(fs, results.digest_path(path), results.digest_line(path, content))
    _keep(fs, run.path / layout.RUN_FILE, backup)
    seal = log.seal(run.path) if (run.path / layout.LOG_FILE).exists() else None
    write_aside(fs, run.path / layout.RUN_FILE, write_info(replace(info, last=_last_rows(run), log=seal)))


def _last_rows(run: Run) -> dict[str, dict[str, float]]:
    try:
        return metrics.last_rows(metrics.read(run.path))
    except DregError:
        return {}  # corrupt metrics stay corrupt: `dreg runs verify` names the file


def _keep(fs: FileSystem, path: Path, backup: Path) -> None:
    """Copies a file into the backup, unless an earlier migration that was killed has done so."""
    make_folders(fs, backup)
    if not (backup / path.name).exists():
        write_aside(fs, backup / path.name, documents.read_bytes(path, limit=documents.SIZE_LIMIT))
