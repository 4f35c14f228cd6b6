"""Find the run of an experiment and a seed, or claim it, so that no two processes that share a study train it."""

import time
from dataclasses import dataclass
from typing import Final

from dregcli.app.studies.repeats import Key, Repeat, repeat_of, repeats_in
from dregcli.errors import StoreWriteError
from dregcli.store import claims
from dregcli.store.claims import Claim, Entry
from dregcli.store.layout import RUN_FILE, SPEC_FILE
from dregcli.store.lease import is_alive
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

PAUSE_SECONDS: Final = 0.2
"""Time between two looks at a change that the disk has and this host does not see yet."""

PATIENCE_SECONDS: Final = 180.0
"""Longest time for which a host is expected not to see a change of a network disk; usual are 3 to 60 seconds."""


@dataclass(frozen=True)
class Held:
    """A run that another process is about to make.

    Args:
        maker: that process in words.
    """

    maker: str


def find_or_claim(store: RunStore, key: Key) -> Repeat | Held | Claim:
    """Return the most usable run of an experiment and seed; if there is none, claim it, so that only we make it.

    Raises:
        StoreCorrupt: the newest entry of the claim is altered.
        StoreFormatError: the store has another format.
        StoreWriteError: the disk refuses, or does not show the changes of other processes.
    """
    if found := repeats_in(store).get(key):
        return found
    began = store.clock.monotonic()
    while store.clock.monotonic() - began < PATIENCE_SECONDS:
        entry = claims.newest(store.root, _subject(key))
        try:
            if found := _found(store, key, entry):
                return found
            return claims.take(store.fs, store.root, _subject(key), entry, store.clock)
        except FileExistsError:  # the disk has more than this host sees
            time.sleep(PAUSE_SECONDS)
    folder = claims.folder_of(store.root, _subject(key))
    what = f"This disk has not shown the changes of other processes for {PATIENCE_SECONDS:.0f} s."
    hint = "look whether this host sees new files there that other hosts write; then run the same command again"
    raise StoreWriteError(what, where=str(folder), hint=hint)


def being_made(store: RunStore, key: Key) -> Held | None:
    """Return who is about to make a run; None if nobody is.

    Raises:
        StoreCorrupt: the newest entry of the claim is altered.
    """
    return _held(store, claims.newest(store.root, _subject(key)))


def _found(store: RunStore, key: Key, entry: Entry | None) -> Repeat | Held | None:
    """Return what an entry of a claim says about a run; None if it leaves the run to anybody.

    A run that cannot be read or has become another experiment, because it was prolonged, is no repeat any more.

    Raises:
        FileExistsError: the disk has the run, but this host does not see it yet.
    """
    if held := _held(store, entry):
        return held
    if entry is None or entry.maker is None:
        return None
    if entry.run is None:
        # The dead process may have made the run after the last look, and have died before it could name it.
        return repeats_in(store).get(key)
    run = Run(store.root / entry.run, store.fs, store.clock)
    # A run is named after these were written: if one is not seen, it was removed, or this host sees an older state.
    if any(claims.is_gone(store.fs, path) for path in (run.path, run.path / RUN_FILE, run.path / SPEC_FILE)):
        return None
    found = repeat_of(run)
    return found[1] if found and found[0] == key else None


def _held(store: RunStore, entry: Entry | None) -> Held | None:
    if entry is None or entry.maker is None or entry.run is not None:
        return None
    return Held(entry.maker.holder) if is_alive(entry.maker, store.clock.now()) else None


def _subject(key: Key) -> str:
    experiment, seed = key
    return f"{experiment}-{seed}"
