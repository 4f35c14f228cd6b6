"""Save long computations of a result of a run, so that after a stop or a kill they continue from the last save."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.common.listener import Listener
from dregcli.errors import StoreCorrupt, StoreWriteError
from dregcli.store.results import ResultKind
from dregcli.store.run import Run


def key_of(settings: Mapping[str, Any]) -> str:
    """Return the name of unfinished work: the hash of all settings that its numbers depend on.

    ``k_chunk`` is left out, because it changes the numbers only by rounding.
    """
    matter = {name: value for name, value in settings.items() if name != "k_chunk"}
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()[:16]


class HasState(Protocol):
    """Work whose state is plain numbers and arrays."""

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return everything that a later process needs to continue."""
        ...


class Unfinished:
    """The saved state of one unfinished computation, kept in its run.

    Args:
        run: the run that keeps the state.
        kind: the folder of the result.
        settings: all settings that the numbers depend on; their hash finds the state again.
        listener: receives a warning if the state cannot be saved or continued.
        what: the work, in one word.
    """

    def __init__(
        self, run: Run, kind: ResultKind, settings: Mapping[str, Any], listener: Listener, *, what: str
    ) -> None:
        self._run, self._key = run, key_of(settings)
        self._kind: ResultKind = kind
        self._settings = dict(settings)
        self._listener, self._what = listener, what
        self._saved = time.monotonic()

    @property
    def key(self) -> str:
        """The name of the work; see ``key_of``."""
        return self._key

    def found(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return the state that an earlier process saved, or None."""
        try:
            content = self._run.partial(self._kind, self._key)
        except StoreCorrupt as error:  # the work can be done again, and its new state replaces the damaged one
            self._listener.warn(f"the {self._what} starts over: {error.where} cannot be continued ({error.what})")
            return None
        if content is None:
            return None
        # Keep the order of the arrays: sums over them must be the same to the last bit.
        return content.attrs["state"], {
            name: torch.from_numpy(content.arrays[name]) for name in content.attrs["order"]
        }

    def save(self, work: HasState) -> None:
        """Save the state.

        Raises:
            StoreWriteError: the state cannot be written.
        """
        numbers, tensors = work.state()
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        attrs = {"state": numbers, "order": list(arrays), "settings": self._settings}
        self._run.put_partial(self._kind, self._key, arrays=arrays, attrs=attrs)
        self._saved = time.monotonic()

    def save_if_due(self, work: HasState, seconds: float, *, first: Callable[[], None] = lambda: None) -> None:
        """Save if the last save is more than ``seconds`` ago.

        If the state cannot be written, the work continues, because it needs no disk.

        Args:
            work: the work.
            seconds: age of the last save.
            first: saves what the state refers to, before the state itself.
        """
        if time.monotonic() - self._saved <= seconds:
            return
        try:
            first()
            self.save(work)
        except StoreWriteError as error:
            self._saved = time.monotonic()
            self._listener.warn(f"the unfinished {self._what} cannot be saved; a stop would lose it: {error.what}")

    def stop(self, work: HasState, stop: StopRequest, *, at: str) -> None:
        """Save the state, and raise the error that ends the command.

        Raises:
            Interrupted: always.
        """
        kept, hint = "the work so far is saved", "run the same command again to continue from there"
        try:
            self.save(work)
        except StoreWriteError as error:
            kept = f"the work so far cannot be saved: {error.what}"
            hint = "the same command continues from the last save, or starts over if there is none"
        raise stop.error(kept, where=f"{self._run.path}, {at}", hint=hint)

    def forget(self) -> None:
        """Remove the saved state, once the result itself is in the run."""
        self._run.drop_partial(self._kind, self._key)
