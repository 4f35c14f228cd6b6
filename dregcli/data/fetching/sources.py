"""Checks every file of a data set, and finds the files in folders of this machine."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.data.entries import Downloadable, FileSet, SourceFile
from dregcli.data.folders import download_command
from dregcli.data.formats.unpack import unpack
from dregcli.errors import DataCorrupt, DownloadFailed, UsageError


@dataclass(frozen=True)
class Verified:
    """The content of a file that has passed its check.

    Attributes:
        content: the content as its parser returns it.
        sha256: digest of the unpacked content.
        checksum: the published checksum that the file has, in words; None where none is published.
    """

    content: Any
    sha256: str
    checksum: str | None


@dataclass(frozen=True)
class Fetched:
    """A file that passed its check.

    Attributes:
        verified: its content.
        origin: the path or address it came from.
        packed_bytes: its size there, in bytes.
    """

    verified: Verified
    origin: str
    packed_bytes: int


@dataclass(frozen=True)
class Gathered:
    """All files of a set.

    Attributes:
        file_set: the set of files.
        files: the files that were found, by their usual names.
    """

    file_set: FileSet
    files: dict[str, Fetched]


def check_file(file: SourceFile, raw: bytes, *, where: str) -> Verified:
    """Unpack, verify and parse a file.

    Args:
        file: the file that it should be.
        raw: its bytes, gzipped or plain.
        where: its path or address, for messages.

    Returns:
        Its content.

    Raises:
        DataCorrupt: the file is truncated, malformed, or not the published content.
    """
    content = unpack(raw, limit=file.limit, where=where)
    matched = next((each for each in file.checksums if each.matches(content, raw)), None)
    if matched is None and content[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
        # A network that asks for a log-in answers every request with a page.
        raise DataCorrupt(what=f"the file is a web page, not {file.name}", where=where)
    if matched is None and file.checksums:
        if file.diagnose:
            # The parser can say more exactly what is wrong.
            file.parse(content, where=where)
        published = file.checksums[0]
        raise DataCorrupt(
            what=f"the content is not the published {file.name}: its {published.digest} is "
            f"{published.of(raw if published.packed else content)}, not {published.value}",
            where=where,
        )
    shown = f"{matched.digest} {matched.value}" + (" of the .gz" if matched.packed else "") if matched else None
    return Verified(file.parse(content, where=where), hashlib.sha256(content).hexdigest(), shown)


def read_local(entry: Downloadable, source: str, data_dir: Path) -> Gathered:
    """Find and verify the files of ``entry`` in a folder, or beside one of them.

    Args:
        entry: the data set.
        source: a folder, or one of the files; a file with an unusual name is recognised by its content.
        data_dir: the data folder, for hints.

    Returns:
        The first set of files that is complete.

    Raises:
        UsageError: ``source`` does not exist, or is neither a file nor a folder.
        DownloadFailed: a file is missing or cannot be read.
        DataCorrupt: a file is truncated, altered, or not the wanted one.
    """
    try:
        found = list(_locate(entry, source, data_dir))
    # RuntimeError: the home folder of an unknown ~user.
    except (OSError, RuntimeError) as error:
        raise _unreadable(source, error) from error
    except DataCorrupt as error:
        raise _advised(entry, error) from error
    for file_set, candidates in found:
        if all(candidates.values()):
            files = {file.name: _first_good(entry, file, candidates[file.name]) for file in file_set.files}
            return Gathered(file_set, files)
    lacking = [" and ".join(name for name, paths in candidates.items() if not paths) for _, candidates in found]
    raise DownloadFailed(
        what=f"the source lacks {', or '.join(lacking)} (plain or .gz)",
        where=source,
        hint="put the missing files into that folder and repeat the command",
    )


def by_hand(entry: Downloadable, data_dir: Path) -> str:
    """Return the advice for a machine without a network, as the end of a sentence."""
    wanted = "".join(f"  {each}\n" for each in entry.addresses())
    command = download_command(entry.name, data_dir, source="FOLDER")
    return f"fetch these files into a folder by other means:\n{wanted}and import them: {command}"


def read_system(entry: Downloadable, data_dir: Path) -> Gathered | None:
    """Return the published files from a package of the operating system; None where no package has all of them."""
    for folder in entry.system_folders:
        if Path(folder).is_dir():
            try:
                return read_local(entry, folder, data_dir)
            except (DownloadFailed, DataCorrupt):
                # After a broken package the mirrors are still tried.
                continue
    return None


def _locate(entry: Downloadable, source: str, data_dir: Path) -> Iterator[tuple[FileSet, dict[str, list[Path]]]]:
    """For each set of files, yield the paths where each file may be, by the file's usual name."""
    path = Path(source).expanduser()
    given: SourceFile | None = None
    # An empty name would mean the current folder, which a user who types --source "$UNSET" does not want.
    if source and path.is_file():
        given = _named(entry, path) or _recognised(entry, path)
        folder = path.parent
    elif source and path.is_dir():
        folder = path
    else:
        command = download_command(entry.name, data_dir, source="FOLDER")
        raise UsageError(
            what="the source is not a file or folder on this machine",
            where=source,
            hint=f"with {_listed(entry)} in FOLDER: {command}",
        )
    for file_set in entry.file_sets:
        if given is None or given in file_set.files:
            yield (
                file_set,
                {file.name: [path] if file is given else _candidates(file, folder) for file in file_set.files},
            )


def read_bounded(file: SourceFile, path: Path) -> bytes:
    """Read the bytes of ``path``, if its size allows it to be ``file``.

    Raises:
        DownloadFailed: the path cannot be read.
        DataCorrupt: it is larger than ``file`` can be, packed or not.
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
    """Return the first of several copies that passes its check, for example a .gz beside a damaged plain file."""
    failures: list[DataCorrupt] = []
    for path in paths:
        try:
            raw = read_bounded(file, path)
            return Fetched(check_file(file, raw, where=str(path)), str(path.resolve()), len(raw))
        except DataCorrupt as error:
            failures.append(error)
    raise _advised(entry, failures[0]) from failures[0]


def _advised(entry: Downloadable, error: DataCorrupt) -> DataCorrupt:
    """Return the same error with advice on what to do next."""
    published = " and ".join(entry.addresses())
    return DataCorrupt(what=error.what, where=error.where, hint=f"get the published files and repeat: {published}")


def _candidates(file: SourceFile, folder: Path) -> list[Path]:
    return [folder / name for name in file.file_names() if (folder / name).is_file()]


def _named(entry: Downloadable, path: Path) -> SourceFile | None:
    """Find the published file that has the name of ``path``."""
    return next((found for each in entry.file_sets if (found := each.named(path.name))), None)


def _recognised(entry: Downloadable, path: Path) -> SourceFile:
    """Find the published file that has the content of ``path``."""
    files = [file for file_set in entry.file_sets for file in file_set.files]
    largest = max(files, key=lambda file: file.limit)
    raw = read_bounded(largest, path)
    content = unpack(raw, limit=largest.limit, where=str(path))
    for file in files:
        if any(checksum.matches(content, raw) for checksum in file.checksums):
            return file
    raise DataCorrupt(
        what=f"this is not one of the files of {entry.name}, neither by its name nor by its content",
        where=str(path),
    )


def _listed(entry: Downloadable) -> str:
    return ", or ".join(", ".join(file.name for file in file_set.files) for file_set in entry.file_sets)
