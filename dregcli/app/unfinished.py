"""Long work on a run that goes on where it was when the same is asked again: kept now and then, and on a signal."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from dregcli.app.interrupts import StopRequest
from dregcli.app.listener import Listener
from dregcli.errors import StoreCorrupt, StoreWriteError
from dregcli.store.hdf5 import Array, Content
from dregcli.store.results import ResultKind
from dregcli.store.run import Run

SAVE_SECONDS = 30.0
"""What a kill may cost."""

State = tuple[Mapping[str, Array], Mapping[str, Any]]
"""Arrays and plain values to go on from."""


def settings_key(settings: Mapping[str, Any]) -> str:
    """The name of unfinished work: the hash of all that its numbers depend on."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class Unfinished:
    """The kept part of one piece of work.

    Args:
        run: that it is of.
        kind: of the result that it will be.
        settings: all that its numbers depend on.
        listener: told of what cannot be kept or read.
    """

    def __init__(self, run: Run, kind: ResultKind, settings: Mapping[str, Any], listener: Listener) -> None:
        self._run, self._listener = run, listener
        self._kind: ResultKind = kind
        self._settings = dict(settings)
        self._key = settings_key(settings)
        self._saved = time.monotonic()

    def load(self) -> Content | None:
        """What was kept, or None; what cannot be read is told, and will be replaced."""
        try:
            return self._run.partial(self._kind, self._key)
        except StoreCorrupt as error:
            self._listener.warn(f"the work starts over: {error.where} cannot be continued ({error.what})")
            return None

    def save_now_and_then(self, state: Callable[[], State]) -> None:
        """Keep a state where it is time to; where that fails the work goes on, since it needs no disk."""
        if time.monotonic() - self._saved <= SAVE_SECONDS:
            return
        try:
            self._save(state())
        except StoreWriteError as error:
            self._saved = time.monotonic()
            self._listener.warn(f"unfinished work cannot be kept, a stop would lose it: {error.what}")

    def _save(self, state: State) -> None:
        arrays, values = state
        attrs = {"state": dict(values), "settings": self._settings}
        self._run.put_partial(self._kind, self._key, arrays=arrays, attrs=attrs)
        self._saved = time.monotonic()

    def stop(self, stop: StopRequest, state: State, where: str) -> None:
        """Keep a state and end the command as the signal asked.

        Raises:
            Interrupted: always.
        """
        kept, hint = "what was done is kept", "the same command goes on from there"
        try:
            self._save(state)
        except StoreWriteError as error:
            kept = f"what was done cannot be kept: {error.what}"
            hint = "the same command goes on from where it could be kept last, or starts over"
        raise stop.error(kept, where=f"{self._run.path}, {where}", hint=hint)

    def drop(self) -> None:
        """Forget it, once the result itself is kept."""
        self._run.drop_partial(self._kind, self._key)
