"""Exporting a run: the same run makes the same archive, byte for byte."""

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
    """Writes all files of a run into one new file.

    Args:
        fs: the seam.
        run: which; nobody writes it.
        target: the file; one that is there is left as it is.
        force: with faults too, which the manifest then names.

    Returns:
        Notes about files that nobody vouches for, or that are left out; the faults where they are allowed.

    Raises:
        RunStateError: the run is being written, or was killed before there was anything of it.
        StoreCorrupt: a file of the run is not what was written, naming it.
        UsageError: there is such a file already.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    trash.check_not_live(run)
    if not run.info().started:
        what = f"The run {run.label} was killed while it was claimed: there is nothing to export."
        raise RunStateError(what, where=str(run.path), hint="start it anew: dreg train --help")
    _check_free(target)
    check_can_write(fs, target.absolute().parent, hint=_HINT)
    findings = verify_run(run)
    for finding in findings:
        if finding.kind == "fault" and not force:
            what = f"A run is exported whole, and this one is not: {finding.what}"
            hint = f"export what there is with --force; see all that is wrong: {command('runs', 'verify', run.path)}"
            raise StoreCorrupt(what, where=str(finding.file), hint=hint)
    unused = _unused_leases(run)
    found = {
        "/".join(path.relative_to(run.path).parts): path for path in _files(run.path) if path.parent not in unused
    }
    fault = archive.fault_of_names(files := {name: path for name, path in found.items() if archive.is_member(name)})
    if fault:
        raise StoreCorrupt(fault, where=str(run.path), hint="rename what is not dreg's, then export again")
    left_out = [Finding(path, "note", "It is left out: its name cannot be exported") for path in found.values()]
    try:
        _write(fs, run, files, target, archive.faults_in(run, findings))
    except StoreWriteError as error:
        raise StoreWriteError(error.what, where=error.where, hint=_HINT) from error
    return findings + [note for note in left_out if note.file not in files.values()]


def _check_free(target: Path) -> None:
    if os.path.lexists(target):  # a link that leads nowhere counts too
        what = "There is such a file already."
        raise UsageError(what, where=str(target), hint="name another one")


def _files(folder: Path) -> Iterator[Path]:
    """All plain files below a folder, in order; no temporaries."""
    for path in sorted(folder.iterdir()):
        if is_temporary(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _unused_leases(run: Run) -> set[Path]:
    """Those of processes that died before ``run.json`` knew of them: elsewhere nobody can tell that they did."""
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
            _check_free(target)  # once more: a rename would replace it
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
    """``run.json`` as it is to be read elsewhere, where nobody can tell whether its writer lives: it does not."""
    info = run.info()
    if info.status is RunStatus.RUNNING:
        trash.check_not_live(run)
    return write_info(info)


class _Sink:
    """What zipfile writes to: a file that is appended to through the seam."""

    def __init__(self, fs: FileSystem, path: Path) -> None:
        self._fs, self._path, self._held = fs, path, bytearray()

    def write(self, content: bytes) -> int:
        """Add to the end."""
        self._held += content
        if len(self._held) >= _BUFFER:
            self.flush_all()
        return len(content)

    def flush(self) -> None:
        """Nothing: zipfile asks for it after every member."""

    def flush_all(self) -> None:
        """Bring all to the file."""
        self._fs.append(self._path, bytes(self._held))
        self._held.clear()
