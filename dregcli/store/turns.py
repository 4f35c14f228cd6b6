"""Lets processes that share a store take turns at work that must not be done twice at once."""

from collections.abc import Generator
from contextlib import contextmanager

from dregcli.filesystem import folder_locked
from dregcli.store import layout
from dregcli.store.runs import RunStore


@contextmanager
def turn(store: RunStore) -> Generator[None]:
    """Wait until no other process is inside this block, for example to look for a run and claim it if it is missing.

    Some network disks have no locks; there nobody waits. Two processes may then do the same work twice, but nothing
    worse happens, because runs are still claimed and taken over exclusively.

    Raises:
        StoreFormatError: the store has another format.
        StoreWriteError: there is no store, and none can be created.
    """
    layout.prepare_store(store.root, store.fs)
    with folder_locked(store.root):
        yield
