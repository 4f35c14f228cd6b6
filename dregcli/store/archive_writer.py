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
from dregcli.filesystem import FileSystem, check_can_write, make_folders, write_errors
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
        force: also export a run with faults, without the files that cannot be read; the manifest then names both.

    Returns:
        Notes about files that have no digest or are left out, and the faults where ``force`` allows them.

    Raises:
        RunStateError: a process is writing the run, or the run was killed before anything was written.
        StoreCorrupt: a file of the run is damaged, or ``run.json``, without which no run can be used.
        UsageError: the file exists already.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    try:
        trash.check_not_live(run)
    except StoreCorrupt as error:
        hint = "restore this file from a backup, or copy the folder as it is: nothing reads a run without it"
        raise StoreCorrupt(error.what, where=error.where, hint=hint) from error
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
    left_out = [
        Finding(path, "note", "It is left out: its name cannot be exported")
        for name, path in found.items()
        if name not in files
    ]
    contents = _Contents(run, files)
    unread = contents.leave_out_unreadable(force=force)
    faults = {*archive.faults_in(run, findings), *unread}
    if {layout.METRICS_FILE, layout.PARTS_FOLDER} & {name.partition("/")[0] for name in unread}:
        faults.add(layout.PARTS_FOLDER)  # which lacks the rows that run.json has
    try:
        _write(fs, run, contents, target, sorted(faults))
    except StoreWriteError as error:
        raise StoreWriteError(error.what, where=error.where, hint=_HINT) from error
    return [*findings, *left_out, *unread.values()]


def _check_free(target: Path) -> None:
    if os.path.lexists(target):  # a link that leads nowhere counts too
        what = "This file exists already."
        raise UsageError(what, where=str(target), hint="name another file")


def _files(folder: Path) -> Iterator[Path]:
    """Yield all plain files below a folder, in order, without temporaries; and folders that cannot be read."""
    try:
        for name in layout.entries(folder):
            path = folder / name
            if path.is_symlink():
                continue
            if path.is_dir():
                yield from _files(path)
            elif path.is_file():
                yield path
    except (OSError, StoreCorrupt):
        yield folder


class _Contents:
    """The contents of the files of an archive, by their names in it; they are read twice, to hold one at a time.

    Args:
        run: the run.
        files: the files.
    """

    def __init__(self, run: Run, files: Mapping[str, Path]) -> None:
        self._files, self._ended = dict(files), _ended(run)
        self.entries: dict[str, dict[str, Any]] = {}

    def leave_out_unreadable(self, *, force: bool) -> dict[str, Finding]:
        """Read all files for the first time; return why some are left out, by name.

        Raises:
            StoreCorrupt: a file cannot be read, and ``force`` is not set.
        """
        left_out: dict[str, Finding] = {}
        for name, path in self._files.items():
            try:
                self.entries[name] = self._entry(name, path)
            except StoreCorrupt as error:
                if layout.is_gone(path):
                    raise _changed(path) from error
                if not force:
                    hint = f"{error.hint}; or export without it: --force"
                    raise StoreCorrupt(error.what, where=error.where, hint=hint) from error
                left_out[name] = Finding(path, "note", f"It is left out: {error.what}")
        return left_out

    def of(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            StoreCorrupt: it is not what it was when it was first read.
        """
        content = self._read(name)
        if not archive.is_content(content, self.entries[name]):
            raise _changed(self._files[name])
        return content

    def _entry(self, name: str, path: Path) -> dict[str, Any]:
        content = self._read(name)
        try:
            return archive.entry(content, path.stat().st_mtime_ns)
        except OSError as error:
            raise documents.corrupt(path, f"The file cannot be read: {error.strerror or error}") from error

    def _read(self, name: str) -> bytes:
        if name == layout.RUN_FILE:
            return self._ended
        if self._files[name].is_dir():
            raise documents.corrupt(self._files[name], "The folder cannot be read")
        return documents.read_bytes(self._files[name], limit=hdf5.SIZE_LIMIT)


def _unused_leases(run: Run) -> set[Path]:
    """Return leases of processes that died before ``run.json`` had them; other machines cannot know of the deaths."""
    lease, home = run.info().lease, run.path / layout.LEASES_FOLDER
    used = lease.generation if lease else 0
    names: list[str] = []
    with suppress(StoreCorrupt):  # then none of them is exported
        names = layout.entries(home)
    return {home / name for name in names if name.isdecimal() and int(name) > used}


def _changed(path: Path) -> StoreCorrupt:
    hint = "another command works on this run: export it again when that command has ended"
    return StoreCorrupt("The file changed while it was exported", where=str(path), hint=hint)


def _write(fs: FileSystem, run: Run, contents: _Contents, target: Path, faults: list[str]) -> None:
    make_folders(fs, target.absolute().parent)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with write_errors(target):
            fs.write(temporary, b"")
            _write_zip(fs, temporary, run, contents, faults)
            fs.sync(temporary)
            _check_free(target)  # again, because a rename would replace the file
            fs.rename(temporary, target)
            fs.sync(target.absolute().parent)
    except BaseException:
        with suppress(OSError):
            fs.remove(temporary)
        raise


def _write_zip(fs: FileSystem, temporary: Path, run: Run, contents: _Contents, faults: list[str]) -> None:
    sink = _Sink(fs, temporary)
    with zipfile.ZipFile(cast("Any", sink), "w", zipfile.ZIP_STORED) as opened:
        opened.writestr(zipfile.ZipInfo(archive.MANIFEST, _TIME), archive.manifest(run.key, contents.entries, faults))
        for name in contents.entries:
            opened.writestr(zipfile.ZipInfo(name, _TIME), contents.of(name))
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
