"""One file that holds a whole run, to be carried to another machine: a zip with a manifest in front.

Members are stored, not compressed: sizes are then what they say, and an archive cannot swell. Nothing of an archive
is believed before it is checked: names, sizes and digests first, and the extracted run by :mod:`dregcli.store.verify`
before it gets its name.
"""

import re
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from dregcli.errors import StoreCorrupt, StoreWriteError, UsageError
from dregcli.store import documents, hdf5, layout, trash
from dregcli.store.filesystem import FileSystem, discard, is_temporary, make_folders, write_errors
from dregcli.store.records import read_info, write_info
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import Finding, verify_run

_KIND: Final = "archive"
_MANIFEST: Final = "manifest.json"
_MOST_MEMBERS: Final = 100_000
_DEEPEST: Final = 4
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_BUFFER: Final = 2**20


@dataclass(frozen=True)
class Imported:
    """A run that came from an archive.

    Attributes:
        run: the new version.
        origin: what it was called where it was exported.
    """

    run: Run
    origin: str


def export_run(fs: FileSystem, run: Run, target: Path) -> list[Finding]:
    """Writes all files of a run into one new file.

    Args:
        fs: the seam.
        run: which; nobody writes it.
        target: the file; one that is there is left as it is.

    Returns:
        Notes about files that nobody vouches for.

    Raises:
        StoreFormatError: the store is of an older format.
        RunStateError: the run is being written.
        StoreCorrupt: a file of the run is not what was written, naming it.
        UsageError: there is such a file already.
        StoreWriteError: the disk refuses; nothing is left behind.
    """
    layout.check_writable(run.path.parent.parent)  # of an older format some files have no digest yet
    trash.check_not_live(run)
    findings = verify_run(run)
    for finding in findings:
        if finding.kind == "fault":
            what = f"A run is exported whole, and this one is not: {finding.what}"
            hint = f"see all that is wrong: dreg runs verify {run.label}"
            raise StoreCorrupt(what, where=str(finding.file), hint=hint)
    _check_free(target)
    files = {"/".join(path.relative_to(run.path).parts): path for path in _files(run.path)}
    files = {name: path for name, path in files.items() if _is_member(name)}
    changed = {layout.RUN_FILE: _ended(run)}
    make_folders(fs, target.absolute().parent)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with write_errors(target):
            fs.write(temporary, b"")
            _write_zip(fs, temporary, run, files, changed)
            fs.sync(temporary)
            _check_free(target)  # once more: a rename would replace it
            fs.rename(temporary, target)
            fs.sync(target.absolute().parent)
    except BaseException:
        with suppress(OSError):
            fs.remove(temporary)
        raise
    return findings


def _check_free(target: Path) -> None:
    if target.exists():
        what = "There is such a file already."
        raise UsageError(what, where=str(target), hint="name another one")


def _ended(run: Run) -> bytes:
    """``run.json`` as it is to be read elsewhere, where nobody can tell whether its writer lives: it does not."""
    info = read_info(run.path / layout.RUN_FILE)
    return write_info(replace(info, status=run.status()))


def _files(folder: Path) -> Iterator[Path]:
    """All plain files below a folder, in order; no temporaries."""
    for path in sorted(folder.iterdir()):
        if is_temporary(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _content(path: Path) -> bytes:
    return documents.read_bytes(path, limit=hdf5.SIZE_LIMIT)


def _write_zip(
    fs: FileSystem, temporary: Path, run: Run, files: Mapping[str, Path], changed: Mapping[str, bytes]
) -> None:
    entries: dict[str, dict[str, Any]] = {}
    for name, path in files.items():
        content = changed.get(name) or _content(path)
        entries[name] = {"size": len(content), "sha256": documents.sha256(content)}
    manifest = {
        "encoding-type": _KIND,
        "encoding-version": "1",
        "run": run.label,
        "format": layout.FORMAT_VERSION,
        "files": entries,
    }
    sink = _Sink(fs, temporary)
    with zipfile.ZipFile(cast("Any", sink), "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_MANIFEST, _TIME), documents.seal(manifest))
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), changed.get(name) or _content(path))
    sink.flush_all()


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
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest = _read_manifest(opened, archive)
            origin = str(manifest["run"])
            called = layout.check_name(name if name is not None else origin.partition("/")[0])
            layout.prepare_store(store.root, store.fs)
            return Imported(_extract(store, opened, archive, manifest, called), origin)
    except FileNotFoundError as error:
        what = "There is no such file."
        raise StoreCorrupt(what, where=str(archive), hint="dreg runs import FILE") from error
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise _refused(archive, f"it cannot be read: {error}") from error
    except IsADirectoryError as error:
        raise _refused(archive, "it is a folder") from error


def _refused(archive: Path, why: str) -> StoreCorrupt:
    what = f"This is not an archive of a run that dreg exported, or it was altered: {why}"
    return StoreCorrupt(what, where=str(archive), hint="export the run again: dreg runs export RUN FILE")


def _read_manifest(opened: zipfile.ZipFile, archive: Path) -> dict[str, Any]:
    """The manifest, once every member's name and size is found to be harmless and as it says."""
    members = opened.infolist()
    if not members or members[0].filename != _MANIFEST or len(members) > _MOST_MEMBERS:
        raise _refused(archive, "it does not begin with a manifest")
    for member in members:
        mode = member.external_attr >> 16
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _refused(archive, f"'{member.filename}' is compressed")
        if member.flag_bits & 1 or member.is_dir() or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
            raise _refused(archive, f"'{member.filename}' is not a plain file")
    if sum(member.file_size for member in members) > archive.stat().st_size:
        raise _refused(archive, "its members are larger than the file")
    if members[0].file_size > documents.SIZE_LIMIT:
        raise _refused(archive, "its manifest is too large")
    manifest = documents.unseal_bytes(opened.read(members[0]), archive)
    layout.check_encoding(manifest, _KIND, archive)
    layout.check_version(manifest.get("format"), layout.FORMAT_VERSION, archive, "format", layout.OLDEST_FORMAT)
    names = [member.filename for member in members[1:]]
    if wrong := [each for each in names if not _is_member(each)]:
        raise _refused(archive, f"'{wrong[0]}' cannot be a file of a run")
    if len({each.casefold() for each in names}) != len(names) or set(names) != set(manifest["files"]):
        raise _refused(archive, "it holds other files than its manifest says")
    return manifest


def _is_member(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= _DEEPEST and all(_PART.fullmatch(part) for part in parts)


def _extract(store: RunStore, opened: zipfile.ZipFile, archive: Path, manifest: Mapping[str, Any], name: str) -> Run:
    fs = store.fs
    temporary = store.root / f".{name}.{secrets.token_hex(4)}.tmp"
    target: Path | None = None
    try:
        make_folders(fs, temporary)
        for member in opened.infolist()[1:]:
            content, entry = opened.read(member), manifest["files"][member.filename]
            if len(content) != entry["size"] or documents.sha256(content) != entry["sha256"]:
                raise _refused(archive, f"'{member.filename}' does not match its digest")
            path = temporary.joinpath(*member.filename.split("/"))
            make_folders(fs, path.parent)
            with write_errors(path):
                fs.write(path, content)
                fs.sync(path)
        run = Run(temporary, fs, store.clock)
        for finding in verify_run(run):
            if finding.kind == "fault":
                raise _refused(archive, f"{finding.file.relative_to(temporary)}: {finding.what}")
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
    return Run(target, fs, store.clock)
