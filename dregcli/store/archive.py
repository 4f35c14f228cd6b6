"""Reads an archive: one file that holds a whole run, for another machine; a zip file with a manifest at its start.

Members are stored without compression, so their sizes are exact and an archive cannot grow when it is unpacked.
Everything in an archive is checked before use: first names, sizes and digests, and then the extracted run, by
:mod:`dregcli.store.verify`, before it gets its name. :mod:`dregcli.store.archive_writer` writes archives.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli.commands import command
from dregcli.errors import DregError, StoreCorrupt, StoreWriteError
from dregcli.filesystem import FileSystem, discard, make_folders, write_errors
from dregcli.names import RunStatus
from dregcli.store import documents, hdf5, layout
from dregcli.store.lease import newest_lease
from dregcli.store.records import read_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import Finding, verify_run

MANIFEST: Final = "manifest.json"

_KIND: Final = "archive"
_MOST_MEMBERS: Final = 100_000
_DEEPEST: Final = 4
_DEEPEST_CODE: Final = 12
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", re.ASCII)
_UNREADABLE: Final = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)
"""The errors that zipfile and the reading of a manifest raise where an archive is not valid."""


@dataclass(frozen=True)
class Imported:
    """A run that was imported from an archive.

    Attributes:
        run: the new version; or the run that is here already, with every file of the archive.
        origin: name of the run where it was exported.
        same: runs that were here before and have exactly the same ``run.json``.
        faults: files that were damaged already when the run was exported, or could not be read and are not here.
        is_new: whether the run was imported; if not, nothing was written.
    """

    run: Run
    origin: str
    same: tuple[Run, ...]
    faults: tuple[str, ...]
    is_new: bool = True


def entry(content: bytes, modified_ns: int) -> dict[str, Any]:
    """Return the manifest's entry for a member.

    Args:
        content: bytes of the member.
        modified_ns: time at which the file was written; the imported file keeps it.
    """
    return {"size": len(content), "sha256": documents.sha256(content), "modified_ns": modified_ns}


def is_content(content: bytes, found: Mapping[str, Any]) -> bool:
    """Whether a member has the size and digest in its manifest entry."""
    return len(content) == found["size"] and documents.sha256(content) == found["sha256"]


def manifest(label: str, entries: Mapping[str, Mapping[str, Any]], faults: Sequence[str]) -> bytes:
    """Return the first member, which describes the others."""
    return documents.seal(
        {
            "encoding-type": _KIND,
            "encoding-version": "1",
            "run": label,
            "format": layout.FORMAT_VERSION,
            "faults": faults,
            "files": entries,
        }
    )


def faults_in(run: Run, findings: Iterable[Finding]) -> list[str]:
    """Return the damaged files, as a manifest names them."""
    return sorted({each.file.relative_to(run.path).as_posix() for each in findings if each.kind == "fault"})


def is_member(name: str) -> bool:
    """Whether a name can be the name of a run's file, on any system."""
    parts = name.split("/")
    has_code = parts[0] in (layout.CODE_FOLDER, layout.ROLLED_BACK_FOLDER)
    return len(parts) <= (_DEEPEST_CODE if has_code else _DEEPEST) and all(_PART.fullmatch(part) for part in parts)


def fault_of_names(names: Iterable[str]) -> str | None:
    """Return why files with these names cannot form an archive, or None."""
    kept: set[str] = set()
    for name in names:
        if not is_member(name):
            return f"'{name}' cannot be a file of a run"
        if layout.is_place(name):
            return f"'{name}' says where code lies on another machine"
        if (folded := name.casefold()) in kept:
            return f"'{name}' occurs twice, or does so on systems that ignore case"
        kept.add(folded)
    for name in kept:
        parts = name.split("/")
        if any("/".join(parts[:depth]) in kept for depth in range(1, len(parts))):
            return f"'{name}' lies inside a path that is a file itself"
    return None


def import_run(store: RunStore, archive: Path, *, name: str | None = None) -> Imported:
    """Import an exported run into a store, as a new version, unless it is here already and no other name is given.

    Args:
        store: the store.
        archive: the file.
        name: name of the run in this store, which makes a second copy of a run that is here; by default its old name.

    Raises:
        StoreCorrupt: there is no such archive, or it does not match its manifest; nothing is left behind.
        StoreFormatError: the archive has a newer version.
        UsageError: the name is not a valid name of a run.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    _check_is_file(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            found = _read_manifest(opened, archive)
            origin = str(found["run"])
            called = layout.check_name(name if name is not None else origin.partition("/")[0])
            layout.prepare_store(store.root, store.fs)
            before = store.runs()
            itself_first = sorted(before, key=lambda run: run.label != origin)
            here = (each for each in itself_first if _has_all(each, found["files"])) if name is None else iter(())
            if present := next(here, None):
                return Imported(present, origin, (present,), tuple(found["faults"]), is_new=False)
            _check_room(store.root, opened)
            run = _extract(store, opened, archive, found, called)
    except _UNREADABLE as error:
        raise _refused(archive, f"it cannot be read: {error}") from error
    except OSError as error:  # only errors of reading: errors of writing are StoreWriteError already
        raise _refused(archive, f"it cannot be read: {error.strerror or error}") from error
    return Imported(run, origin, tuple(each for each in before if _is_same(each, run)), tuple(found["faults"]))


def _check_is_file(archive: Path) -> None:
    """Check the type of a file before it is opened: a pipe would wait for ever, and a device has no end."""
    try:
        mode = archive.stat().st_mode
    except FileNotFoundError as error:
        what = "There is no such file."
        raise StoreCorrupt(
            what, where=str(archive), hint=f"name the exported file: {command('runs', 'import', 'FILE')}"
        ) from error
    except (OSError, ValueError) as error:
        raise _refused(archive, f"it cannot be read: {error}") from error
    if not stat.S_ISREG(mode):
        raise _refused(archive, "it is a folder" if stat.S_ISDIR(mode) else "it is not a plain file")


def _is_same(a: Run, b: Run) -> bool:
    paths = [run.path / layout.RUN_FILE for run in (a, b)]
    with suppress(StoreCorrupt):
        first, second = (documents.read_bytes(path, limit=documents.SIZE_LIMIT) for path in paths)
        return first == second
    return False


def _has_all(run: Run, entries: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a run has every file of an archive, with the same content. Other runs differ in ``run.json``."""
    for name in sorted(entries, key=lambda name: name != layout.RUN_FILE):
        path = run.path.joinpath(*name.split("/"))
        try:
            if path.stat().st_size != entries[name]["size"] or not is_content(path.read_bytes(), entries[name]):
                return False
        except OSError:
            return False
    return True


def _refused(archive: Path, why: str) -> StoreCorrupt:
    what = f"This is not an archive of a run that dreg exported, or it was altered: {why}"
    return StoreCorrupt(
        what, where=str(archive), hint=f"export the run again: {command('runs', 'export', 'RUN', 'FILE')}"
    )


def _read_manifest(opened: zipfile.ZipFile, archive: Path) -> dict[str, Any]:
    """Return the manifest, after checking the names and sizes of all members."""
    members = opened.infolist()
    if not members or members[0].filename != MANIFEST or len(members) > _MOST_MEMBERS:
        raise _refused(archive, "its first member is not a manifest")
    for member in members:
        mode = member.external_attr >> 16
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _refused(archive, f"'{member.filename}' is compressed")
        if member.flag_bits & 1 or member.is_dir() or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
            raise _refused(archive, f"'{member.filename}' is not a plain file")
        if member.file_size > (documents.SIZE_LIMIT if member is members[0] else hdf5.SIZE_LIMIT):
            raise _refused(archive, f"'{member.filename}' is too large")
    if sum(member.file_size for member in members) > archive.stat().st_size:
        raise _refused(archive, "its members are larger than the file")
    found = documents.unseal_bytes(opened.read(members[0]), archive)
    layout.check_encoding(found, _KIND, archive)
    layout.check_version(found.get("format"), layout.FORMAT_VERSION, archive, "format")
    names = [member.filename for member in members[1:]]
    if fault := fault_of_names(names):
        raise _refused(archive, fault)
    if set(names) != set(found["files"]):
        raise _refused(archive, "its files are not the files in its manifest")
    return found


def _check_room(root: Path, opened: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in opened.infolist())
    with write_errors(root):
        if size > shutil.disk_usage(root).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


def _extract(store: RunStore, opened: zipfile.ZipFile, archive: Path, found: Mapping[str, Any], name: str) -> Run:
    """Extract the run to its place."""
    fs = store.fs
    temporary = store.root / f".{name}.{secrets.token_hex(4)}.tmp"
    target: Path | None = None
    try:
        make_folders(fs, temporary)
        for member in opened.infolist()[1:]:
            content, said = opened.read(member), found["files"][member.filename]
            if not is_content(content, said):
                raise _refused(archive, f"'{member.filename}' does not match its digest")
            _write_member(fs, temporary.joinpath(*member.filename.split("/")), content, said["modified_ns"])
        _sync_folders(fs, temporary)
        _check_run(Run(temporary, fs, store.clock), archive, found["faults"])
        target = store.claim_folder(name)
        with write_errors(target):
            fs.rename(temporary, target)  # onto the empty folder that was just created
            fs.sync(target.parent)
    except BaseException:
        for path in (temporary, target):
            if path is not None and path.exists():
                with suppress(StoreWriteError, OSError):
                    discard(fs, path)
        raise
    return Run(target, fs, store.clock)


def _write_member(fs: FileSystem, path: Path, content: bytes, modified_ns: int) -> None:
    make_folders(fs, path.parent)
    with write_errors(path):
        fs.write(path, content)
        # The time is not content, so a refusal is ignored: exported again, the run is then only another archive.
        with suppress(OSError):
            os.utime(path, ns=(modified_ns, modified_ns))
        fs.sync(path)


def _sync_folders(fs: FileSystem, folder: Path) -> None:
    """Bring the names of all extracted files to the disk; a power cut after the rename would lose them otherwise."""
    with write_errors(folder):
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                fs.sync(path)


def _check_run(run: Run, archive: Path, known_faults: Sequence[str]) -> None:
    """Refuse an extracted run that claims to be running, or that has faults the manifest does not name."""
    for finding in verify_run(run):
        if finding.kind == "fault" and finding.file.relative_to(run.path).as_posix() not in known_faults:
            raise _refused(archive, f"{finding.file.relative_to(run.path)}: {finding.what}")
    try:
        info, taken = read_info(run.path / layout.RUN_FILE), newest_lease(run.path)
    except DregError as error:
        raise _refused(archive, f"{layout.RUN_FILE}: {error.what}") from error
    # A heartbeat in the year 9999 would prevent everybody from resuming or removing the run.
    if info.status is RunStatus.RUNNING or (taken and info.lease and taken.generation > info.lease.generation):
        raise _refused(archive, "its run is marked as being written")
