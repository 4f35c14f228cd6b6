"""Locks of the operating system. A lock ends when its process ends, for any reason."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO


def try_lock(handle: IO[bytes]) -> bool:
    """Take the lock on an open file, if nobody holds it.

    Returns:
        Whether this handle holds the lock now; False if another handle holds it or the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_own(handle: IO[bytes]) -> None:
    """Lock a file that this process has just created, if the file system has locks.

    If the file system has no locks, other processes get no lock either, so nobody removes the file as a leftover.
    """
    with suppress(OSError):
        # May wait a moment for a writer that is just removing the file.
        fcntl.flock(handle, fcntl.LOCK_EX)


def is_at(handle: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the file at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
