"""The files of a data set from a folder of this machine, and the check that every file passes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dregcli.data.entries import Downloadable, SourceFile
from dregcli.data.unpack import unpack
from dregcli.errors import DataCorrupt, DownloadFailed, UsageError


@dataclass(frozen=True)
class Fetched:
    """A file that passed its check.

    Attributes:
        array: what it holds.
        origin: the path or address it came from.
        packed_bytes: its size as it lay there.
    """

    array: NDArray[np.uint8]
    origin: str
    packed_bytes: int


def check_file(file: SourceFile, raw: bytes, *, where: str) -> NDArray[np.uint8]:
    """Unpack, parse and verify a file.

    The parser comes before the checksum because it knows more exactly what is wrong.

    Args:
        file: what it should be.
        raw: what it is, gzipped or plain.
        where: its path or address, for messages.

    Returns:
        The array it holds.

    Raises:
        DataCorrupt: it is truncated, malformed, or not the published content.
    """
    content = unpack(raw, limit=file.size, where=where)
    array = file.parse(content, where=where)
    digest = _md5(content)
    if digest != file.md5:
        raise DataCorrupt(
            what=f"the unpacked content is not the published {file.name}: its MD5 is {digest}, not {file.md5}",
            where=where,
        )
    return array


def read_local(entry: Downloadable, source: str) -> dict[str, Fetched]:
    """Find and verify the files of ``entry`` in a folder, or beside one of them.

    Args:
        entry: the data set.
        source: a folder, or one of the files; a file of an unusual name is recognised by its content.

    Returns:
        What was found, by the files' usual names.

    Raises:
        UsageError: ``source`` does not exist or is neither file nor folder.
        DownloadFailed: a file is not there or cannot be read.
        DataCorrupt: a file is there, but truncated, altered or another one.
    """
    try:
        candidates = _locate(entry, source)
    # RuntimeError: the home folder of ~somebody that does not exist.
    except (OSError, RuntimeError) as error:
        raise _unreadable(source, error) from error
    except DataCorrupt as error:
        raise _advised(entry, error) from error
    missing = [name for name, paths in candidates.items() if not paths]
    if missing:
        raise DownloadFailed(
            what=f"the source lacks {' and '.join(missing)} (plain or .gz)",
            where=source,
            hint="put the missing file into that folder and repeat the command",
        )
    return {file.name: _first_good(entry, file, candidates[file.name]) for file in entry.files}


def _locate(entry: Downloadable, source: str) -> dict[str, list[Path]]:
    """Where each file of ``entry`` may lie, by its usual name."""
    path = Path(source).expanduser()
    given: dict[str, Path] = {}
    # An empty name would mean the current folder, which nobody who types --source "$UNSET" wants.
    if source and path.is_file():
        file = _named(entry, path) or _recognised(entry, path)
        given[file.name] = path
        folder = path.parent
    elif source and path.is_dir():
        folder = path
    else:
        raise UsageError(
            what="the source is not a file or folder of this machine",
            where=source,
            hint=f"dreg download {entry.name} --source FOLDER, where FOLDER holds {_listed(entry)}",
        )
    return {
        file.name: [given[file.name]] if file.name in given else _candidates(file, folder) for file in entry.files
    }


def read_bounded(file: SourceFile, path: Path) -> bytes:
    """The bytes of ``path``, if it can be ``file``.

    Raises:
        DownloadFailed: it cannot be read.
        DataCorrupt: it is larger than the file can be, packed or not.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(file.packed_limit + 1)
    except OSError as error:
        raise _unreadable(str(path), error) from error
    if len(raw) > file.packed_limit:
        raise DataCorrupt(what=f"it is larger than {file.name} can be", where=str(path))
    return raw


def _unreadable(where: str, error: Exception) -> DownloadFailed:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return DownloadFailed(
        what=f"the source cannot be read: {reason}",
        where=where,
        hint="make it readable, or name another one with --source",
    )


def _first_good(entry: Downloadable, file: SourceFile, paths: list[Path]) -> Fetched:
    """The first of several copies that passes; a plain file may lie damaged beside its whole archive."""
    failures: list[DataCorrupt] = []
    for path in paths:
        try:
            raw = read_bounded(file, path)
            return Fetched(check_file(file, raw, where=str(path)), str(path.resolve()), len(raw))
        except DataCorrupt as error:
            failures.append(error)
    raise _advised(entry, failures[0]) from failures[0]


def _advised(entry: Downloadable, error: DataCorrupt) -> DataCorrupt:
    """The same error with what to do next."""
    published = " and ".join(f"{entry.mirrors[0]}{file.name}.gz" for file in entry.files)
    return DataCorrupt(what=error.what, where=error.where, hint=f"get the published files and repeat: {published}")


def _candidates(file: SourceFile, folder: Path) -> list[Path]:
    return [folder / name for name in file.file_names() if (folder / name).is_file()]


def _named(entry: Downloadable, path: Path) -> SourceFile | None:
    """The file that ``path`` is by its name."""
    return next((file for file in entry.files if path.name in set(file.file_names())), None)


def _recognised(entry: Downloadable, path: Path) -> SourceFile:
    """The file that ``path`` is by its content."""
    largest = max(entry.files, key=lambda file: file.size)
    content = unpack(read_bounded(largest, path), limit=largest.size, where=str(path))
    digest = _md5(content)
    for file in entry.files:
        if file.md5 == digest:
            return file
    raise DataCorrupt(
        what=f"this is none of the files of {entry.name}, neither by name nor by content",
        where=str(path),
    )


def _listed(entry: Downloadable) -> str:
    return ", ".join(file.name for file in entry.files)


def _md5(content: bytes) -> str:
    # MD5 is what the publishers give; the flag lets it run where policy forbids MD5 for security.
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
