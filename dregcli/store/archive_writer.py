"""Exports a run; the same run always gives the same archive, byte for byte."""

import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from dregcli.commands import command
from dregcli.errors import RunStateError, StoreCorrupt, StoreWriteError, UsageError
from dregcli.filesystem import FileSystem, check_can_write, is_temporary, make_folders, write_errors
from dregcli.names import RunStatus
from dregcli.store import archive, documents, hdf5, layout, trash
from dregcli.store.records import write_info
from dregcli.store.run import Run
from dregcli.store.verify import Finding, verify_run

_TIME: Final = (1980, 1, 1, 0, 0, 0)
_BUFFER: Final = 2**20
_HINT: Final = "name a FILE in a folder that you can write and that has room for it"


def export_run(fs: FileSystem, run: Run, target: Path, *, force: bool = False) -> list[Finding]:
    """Write all files of a run into one new file.

    Args:
        fs: the seam.
        run: the run; no process may be writing it.
        target: the file; an existing file is never replaced.
        force: also export a run with faults; the manifest then names them.

    Returns:
        Notes about files that have no digest or are left out, and the faults where ``force`` allows them.

    Raises:
        RunStateError: a process is writing the run, or the run was killed before anything was written.
        StoreCorrupt: a file of the run is damaged; the error names it.
        UsageError: the file exists already.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    trash.check_not_live(run)
    if not run.info().started:
        what = f"The run {run.label} was killed while it was claimed: there is nothing to export."
        raise RunStateError(what, where=str(run.path), hint="start it again: dreg train --help")
    _check_free(target)
    check_can_write(fs, target.absolute().parent, hint=_HINT)
    findings = verify_run(run)
    for finding in findings:
        if finding.kind == "fault" and not force:
            what = f"This run is damaged, so it is not exported: {finding.what}"
            hint = f"export it all the same with --force; see all faults: {command('runs', 'verify', run.path)}"
            raise StoreCorrupt(what, where=str(finding.file), hint=hint)
    unused = _unused_leases(run)
    found = {
        "/".join(path.relative_to(run.path).parts): path
        for path in _files(run.path)
        if path.parent not in unused and not layout.is_place(path.name)
    }
    fault = archive.fault_of_names(files := {name: path for name, path in found.items() if archive.is_member(name)})
    if fault:
        hint = "rename the files that dreg did not write, then export again"
        raise StoreCorrupt(fault, where=str(run.path), hint=hint)
    left_out = [Finding(path, "note", "It is left out: its name cannot be exported") for path in found.values()]
    try:
        _write(fs, run, files, target, archive.faults_in(run, findings))
    except StoreWriteError as error:
        raise StoreWriteError(error.what, where=error.where, hint=_HINT) from error
    return findings + [note for note in left_out if note.file not in files.values()]


def _check_free(target: Path) -> None:
    if os.path.lexists(target):  # a link that leads nowhere counts too
        what = "This file exists already."
        raise UsageError(what, where=str(target), hint="name another file")


def _files(folder: Path) -> Iterator[Path]:
    """Yield all plain files below a folder, in order, without temporaries."""
    for path in sorted(folder.iterdir()):
        if is_temporary(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _unused_leases(run: Run) -> set[Path]:
    """Return leases of processes that died before ``run.json`` had them; other machines cannot know of the deaths."""
    lease, home = run.info().lease, run.path / layout.LEASES_FOLDER
    used = lease.generation if lease else 0
    return {home / name for name in layout.entries(home) if name.isdecimal() and int(name) > used}


def _write(fs: FileSystem, run: Run, files: Mapping[str, Path], target: Path, faults: list[str]) -> None:
    make_folders(fs, target.absolute().parent)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with write_errors(target):
            fs.write(temporary, b"")
            _write_zip(fs, temporary, run, files, faults)
            fs.sync(temporary)
            _check_free(target)  # again, because a rename would replace the file
            fs.rename(temporary, target)
            fs.sync(target.absolute().parent)
    except BaseException:
        with suppress(OSError):
            fs.remove(temporary)
        raise


def _write_zip(fs: FileSystem, temporary: Path, run: Run, files: Mapping[str, Path], faults: list[str]) -> None:
    ended = _ended(run)

    def content_of(name: str) -> bytes:
        return ended if name == layout.RUN_FILE else documents.read_bytes(files[name], limit=hdf5.SIZE_LIMIT)

    entries = {name: archive.entry(content_of(name), path.stat().st_mtime_ns) for name, path in files.items()}
    sink = _Sink(fs, temporary)
    with zipfile.ZipFile(cast("Any", sink), "w", zipfile.ZIP_STORED) as opened:
        opened.writestr(zipfile.ZipInfo(archive.MANIFEST, _TIME), archive.manifest(run.key, entries, faults))
        for name in files:
            content = content_of(name)
            if not archive.is_content(content, entries[name]):
                raise documents.corrupt(files[name], "The file changed while it was exported")
            opened.writestr(zipfile.ZipInfo(name, _TIME), content)
    sink.flush_all()


def _ended(run: Run) -> bytes:
    """Return ``run.json`` for another machine: a run without a living writer is marked as crashed."""
    info = run.info()
    if info.status is RunStatus.RUNNING:
        trash.check_not_live(run)
    return write_info(info)


class _Sink:
    """A file for zipfile to write to; it is appended to through the seam."""

    def __init__(self, fs: FileSystem, path: Path) -> None:
        self._fs, self._path, self._held = fs, path, bytearray()

    def write(self, content: bytes) -> int:
        """Add bytes to the end."""
        self._held += content
        if len(self._held) >= _BUFFER:
            self.flush_all()
        return len(content)

    def flush(self) -> None:
        """Do nothing: zipfile calls this after every member."""

    def flush_all(self) -> None:
        """Write all held bytes to the file."""
        self._fs.append(self._path, bytes(self._held))
        self._held.clear()
