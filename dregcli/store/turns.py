"""Processes that share a store take turns at what must not be done twice at once."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress

from dregcli.store import layout
from dregcli.store.runs import RunStore


@contextmanager
def turn(store: RunStore) -> Generator[None]:
    """Waits until no other process is inside; made for looking whether a run is there and claiming it if not.

    The operating system's lock on the store's folder, which ends with the process however it ends, and writes
    nothing. Where there is none (some network disks) nobody waits: two may then do the same work twice, and no
    more, since runs are claimed and taken over exclusively all the same.

    Raises:
        StoreFormatError: the store is of another format.
        StoreWriteError: there is no store, and none can be made.
    """
    layout.prepare_store(store.root, store.fs)
    folder = os.open(store.root, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
