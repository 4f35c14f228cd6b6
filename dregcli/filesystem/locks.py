"""Locks of the operating system: they end with the process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def try_lock(handle: IO[bytes]) -> bool:
    """Take the lock on an open file, if nobody has it.

    Returns:
        Whether it is ours. It is not where another handle has it, or where the file system knows no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_own(handle: IO[bytes]) -> None:
    """Lock a file that this process has just made, where the file system knows locks.

    Where it knows none, nobody else gets a lock either, and so nobody takes the file for a dead writer's.
    """
    with suppress(OSError):
        # Waits for a writer that is just removing the file, which is over in a moment.
        fcntl.flock(handle, fcntl.LOCK_EX)


def is_at(handle: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one that lies at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def folder_locked(folder: Path) -> Generator[None]:
    """Wait until no other process is inside a block like this one for the same folder. Nothing is written.

    Some network file systems lock no folders; there nobody waits.

    Raises:
        OSError: the folder cannot be opened.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
