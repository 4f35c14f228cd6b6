"""``log.txt``: the one file that is appended to, and how it is known to have been altered all the same.

``run.json`` says after each line how long the log is and what its SHA-256 is. A kill between the two leaves a line
more than that, which nothing speaks for.
"""

from pathlib import Path

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, move
from dregcli.store import documents, layout
from dregcli.store.records import LogSeal, RunInfo


def seal(folder: Path) -> LogSeal:
    """What ``run.json`` says of the log as it is now.

    Raises:
        StoreCorrupt: it is missing or much too large.
    """
    content = documents.read_bytes(folder / layout.LOG_FILE, limit=documents.SIZE_LIMIT)
    return LogSeal(len(content), documents.sha256(content))


def unsealed(folder: Path, info: RunInfo) -> int:
    """How many bytes of the log nothing speaks for: those after what ``run.json`` knows.

    Raises:
        StoreCorrupt: what ``run.json`` knows of it has been altered, or is missing.
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


def begin_anew_where_altered(fs: FileSystem, folder: Path, info: RunInfo) -> None:
    """Puts an altered log aside, so that the next line does not vouch for it.

    Raises:
        StoreWriteError: the disk refuses.
    """
    try:
        unsealed(folder, info)
    except StoreCorrupt:
        path = folder / layout.LOG_FILE
        if path.exists():
            move(fs, path, layout.put_aside(fs, folder, "log") / path.name)
