"""One file that holds a whole run, to be carried to another machine: a zip with a manifest in front.

Members are stored, not compressed: sizes are then what they say, and an archive cannot swell. Nothing of an archive
is believed before it is checked: names, sizes and digests first, and the extracted run by :mod:`dregcli.store.verify`
before it gets its name. :mod:`dregcli.store.archive_writer` writes them.
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
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_UNREADABLE: Final = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)
"""What zipfile, and what is looked for in a manifest, raise where the archive is not as it should be."""


@dataclass(frozen=True)
class Imported:
    """A run that came from an archive.

    Attributes:
        run: the new version.
        origin: what it was called where it was exported.
        same: the runs that were here already and are the same to the last byte of ``run.json``.
        faults: the files that were not as they were written when it was exported, and are not now.
    """

    run: Run
    origin: str
    same: tuple[Run, ...]
    faults: tuple[str, ...]


def entry(content: bytes, modified_ns: int) -> dict[str, Any]:
    """What a manifest says of a member.

    Args:
        content: its bytes.
        modified_ns: when it was written: the imported file keeps its date.
    """
    return {"size": len(content), "sha256": documents.sha256(content), "modified_ns": modified_ns}


def is_content(content: bytes, found: Mapping[str, Any]) -> bool:
    """Whether a member is what the manifest says."""
    return len(content) == found["size"] and documents.sha256(content) == found["sha256"]


def manifest(label: str, entries: Mapping[str, Mapping[str, Any]], faults: Sequence[str]) -> bytes:
    """The first member, which says what the others are."""
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
    """What is at fault, as a manifest names it."""
    return sorted({each.file.relative_to(run.path).as_posix() for each in findings if each.kind == "fault"})


def is_member(name: str) -> bool:
    """Whether a name can be that of a file of a run, on any system."""
    parts = name.split("/")
    return len(parts) <= _DEEPEST and all(_PART.fullmatch(part) for part in parts)


def fault_of_names(names: Iterable[str]) -> str | None:
    """Why some files cannot be one archive, or None."""
    kept: set[str] = set()
    for name in names:
        if not is_member(name):
            return f"'{name}' cannot be a file of a run"
        if (folded := name.casefold()) in kept:
            return f"'{name}' is there twice, or is so where case does not count"
        kept.add(folded)
    for name in kept:
        parts = name.split("/")
        if any("/".join(parts[:depth]) in kept for depth in range(1, len(parts))):
            return f"'{name}' lies in what is a file itself"
    return None


def import_run(store: RunStore, archive: Path, *, name: str | None = None) -> Imported:
    """Brings an exported run into a store, as a new version.

    Args:
        store: where it goes.
        archive: the file.
        name: what it is called here; as it was called where that is not given.

    Raises:
        StoreCorrupt: no such archive, or one that is not what its manifest says; nothing is left behind.
        StoreFormatError: of a newer version.
        UsageError: a name that cannot be.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    _check_is_file(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            found = _read_manifest(opened, archive)
            origin = str(found["run"])
            called = layout.check_name(name if name is not None else origin.partition("/")[0])
            layout.prepare_store(store.root, store.fs)
            _check_room(store.root, opened)
            before = store.runs()
            run, faults = _extract(store, opened, archive, found, called)
    except _UNREADABLE as error:
        raise _refused(archive, f"it cannot be read: {error}") from error
    except OSError as error:  # of reading: those of writing are told by now
        raise _refused(archive, f"it cannot be read: {error.strerror or error}") from error
    return Imported(run, origin, tuple(each for each in before if _is_same(each, run)), faults)


def _check_is_file(archive: Path) -> None:
    """Before it is opened: a pipe would keep us waiting, and a device has no end."""
    try:
        mode = archive.stat().st_mode
    except FileNotFoundError as error:
        what = "There is no such file."
        raise StoreCorrupt(
            what, where=str(archive), hint=f"name what was exported: {command('runs', 'import', 'FILE')}"
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


def _refused(archive: Path, why: str) -> StoreCorrupt:
    what = f"This is not an archive of a run that dreg exported, or it was altered: {why}"
    return StoreCorrupt(
        what, where=str(archive), hint=f"export the run again: {command('runs', 'export', 'RUN', 'FILE')}"
    )


def _read_manifest(opened: zipfile.ZipFile, archive: Path) -> dict[str, Any]:
    """The manifest, once every member's name and size is found to be harmless and as it says."""
    members = opened.infolist()
    if not members or members[0].filename != MANIFEST or len(members) > _MOST_MEMBERS:
        raise _refused(archive, "it does not begin with a manifest")
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
        raise _refused(archive, "it holds other files than its manifest says")
    return found


def _check_room(root: Path, opened: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in opened.infolist())
    with write_errors(root):
        if size > shutil.disk_usage(root).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


def _extract(
    store: RunStore, opened: zipfile.ZipFile, archive: Path, found: Mapping[str, Any], name: str
) -> tuple[Run, tuple[str, ...]]:
    """The run in its place, and the faults that it came with."""
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
        faults = _check_run(Run(temporary, fs, store.clock), archive, found["faults"])
        target = store.claim_folder(name)
        with write_errors(target):
            fs.rename(temporary, target)  # onto the empty folder that was just made
            fs.sync(target.parent)
    except BaseException:
        for path in (temporary, target):
            if path is not None and path.exists():
                with suppress(StoreWriteError, OSError):
                    discard(fs, path)
        raise
    return Run(target, fs, store.clock), faults


def _write_member(fs: FileSystem, path: Path, content: bytes, modified_ns: int) -> None:
    make_folders(fs, path.parent)
    with write_errors(path):
        fs.write(path, content)
        # Not content, and so not of the seam: a disk that refuses it shows results in another order.
        with suppress(OSError):
            os.utime(path, ns=(modified_ns, modified_ns))
        fs.sync(path)


def _check_run(run: Run, archive: Path, known_faults: Sequence[str]) -> tuple[str, ...]:
    """Refuses an extracted run that passes for one that is written, or has faults that it did not have before.

    Returns:
        Those that it had.
    """
    findings = verify_run(run)
    for finding in findings:
        if finding.kind == "fault" and finding.file.relative_to(run.path).as_posix() not in known_faults:
            raise _refused(archive, f"{finding.file.relative_to(run.path)}: {finding.what}")
    try:
        info, taken = read_info(run.path / layout.RUN_FILE), newest_lease(run.path)
    except DregError as error:
        raise _refused(archive, f"{layout.RUN_FILE}: {error.what}") from error
    # A heartbeat of the year 9999 would keep everybody from resuming or removing it.
    if info.status is RunStatus.RUNNING or (taken and info.lease and taken.generation > info.lease.generation):
        raise _refused(archive, "it says that it is being written")
    return tuple(faults_in(run, findings))
