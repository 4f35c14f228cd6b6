"""The one place of this layer that writes: aside, fsync-ed, renamed, failures told as what, where and next."""

import errno
import os
import re
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dregcli.errors import StoreWriteError


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn an operating system's refusal to write ``path`` into an error the user can act on.

    Raises:
        StoreWriteError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        advice = "choose another folder with --data-dir FOLDER or DREG_DATA_DIR"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            advice = f"free some space, or {advice}"
        raise StoreWriteError(
            what=f"cannot write to the data folder: {error.strerror or error}", where=str(path), hint=advice
        ) from error


@contextmanager
def written_aside(path: Path) -> Generator[tuple[IO[bytes], Path]]:
    """Write ``path`` so that it is whole or absent, whatever happens on the way.

    The block writes to a file beside it and may read that back by its path after a flush; leaving the block
    without an error syncs it to the disk and renames it. Any error removes what was written and leaves an
    older ``path`` as it was. Of several writers at once each has a file of its own, and the last to end wins. What a
    killed writer left is removed by the next one of the same name.

    Yields:
        The open file and its path.

    Raises:
        StoreWriteError: the file system refuses.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_asides(path)
        out, part = _own_aside(path)
        try:
            with out:
                yield out, part
                out.flush()
                os.fsync(out.fileno())
                if sys.platform == "win32":
                    # It renames no open file.
                    out.close()
                # Elsewhere before the lock goes, or another writer might take the file for a dead one's.
                part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def remove_dead_asides(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it; what a living one writes is locked, and stays."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.part")
    with suppress(OSError):
        for part in [each for each in path.parent.iterdir() if ours.fullmatch(each.name)]:
            with suppress(OSError), part.open("r+b") as left:
                if try_lock(left):
                    if sys.platform == "win32":
                        left.close()
                    part.unlink()


def try_lock(handle: IO[bytes]) -> bool:
    """Take the operating system's lock on a file, which ends with the handle or the process, however it ends.

    Returns:
        Whether it is ours. It is not where another handle has it, or where the file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # One byte far beyond the content: there such a lock keeps others from reading what it covers.
            at = handle.tell()
            handle.seek(1 << 40)
            try:
                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                handle.seek(at)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(handle: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one that lies at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _own_aside(path: Path) -> tuple[IO[bytes], Path]:
    """A new file beside ``path``, locked where locks are to be had, and its path."""
    while True:
        # A process id would not do: threads share it, and containers on one volume count theirs alike. Opened by
        # its name and not by tempfile, whose files nobody else may read.
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        out = part.open("x+b")
        # Another writer may take it for a dead one's before it is locked.
        _lock_own(out)
        if is_at(out, part):
            return out, part
        out.close()


def _lock_own(handle: IO[bytes]) -> None:
    """Lock a file of our own, where locks are to be had."""
    if sys.platform == "win32":
        try_lock(handle)
        return
    import fcntl

    # Where the file system has none, nobody else gets one either, and so nobody removes the file.
    with suppress(OSError):
        # Waits for a writer that is just removing it, which is over in a moment.
        fcntl.flock(handle, fcntl.LOCK_EX)


def _sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut, where the platform can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
