"""``log.txt``: the one file that dreg appends to; changes to it are still detected.

After each line, ``run.json`` records the length and the SHA-256 of the log. A kill between the two writes leaves one
more line, which no digest covers.
"""

from pathlib import Path

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, move
from dregcli.store import documents, layout
from dregcli.store.records import LogSeal, RunInfo


def seal(folder: Path) -> LogSeal:
    """Return the length and digest of the log as it is now, for ``run.json``.

    Raises:
        StoreCorrupt: the log is missing or much too large.
    """
    content = documents.read_bytes(folder / layout.LOG_FILE, limit=documents.SIZE_LIMIT)
    return LogSeal(len(content), documents.sha256(content))


def unsealed(folder: Path, info: RunInfo) -> int:
    """Return the number of bytes at the end of the log that the digest in ``run.json`` does not cover.

    Raises:
        StoreCorrupt: the part that the digest covers has been altered, or is missing.
    """
    path = folder / layout.LOG_FILE
    if info.log is None and not path.exists():
        return 0
    content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
    known = info.log or LogSeal(0, documents.sha256(b""))
    if len(content) < known.size:
        raise documents.corrupt(path, f"The file is truncated: {len(content):,} bytes of {known.size:,}")
    if documents.sha256(content[: known.size]) != known.sha256:
        raise documents.corrupt(path, "The file does not match the digest in run.json")
    return len(content) - known.size


def extended_seal(folder: Path, info: RunInfo) -> LogSeal | None:
    """Return the seal for the end of a run, which also covers a line that a kill or a full disk kept from its seal.

    The seal of an altered log stays as it is, so that the change can still be found.
    """
    try:
        return seal(folder) if unsealed(folder, info) else info.log
    except StoreCorrupt:
        return info.log


def begin_anew_where_altered(fs: FileSystem, folder: Path, info: RunInfo) -> None:
    """Put an altered log aside, because the digest after the next line would hide the change.

    Raises:
        StoreWriteError: the disk refuses.
    """
    try:
        unsealed(folder, info)
    except StoreCorrupt:
        path = folder / layout.LOG_FILE
        if path.exists():
            move(fs, path, layout.put_aside(fs, folder, "log") / path.name)
