"""Long work on a result of a run that goes on, after a stop or a kill, from where it was kept last."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.common.listener import Listener
from dregcli.errors import StoreCorrupt, StoreWriteError
from dregcli.store.results import ResultKind
from dregcli.store.run import Run


def key_of(settings: Mapping[str, Any]) -> str:
    """The name of unfinished work: the hash of all that its numbers depend on; chunks change their rounding only."""
    matter = {name: value for name, value in settings.items() if name != "k_chunk"}
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()[:16]


class HasState(Protocol):
    """Work whose state is plain numbers and arrays."""

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that a later process needs to go on."""
        ...


class Unfinished:
    """What is kept of one piece of work in its run.

    Args:
        run: where.
        kind: the folder of the result.
        settings: all that the numbers depend on: their hash finds the work again.
        listener: told of what cannot be kept or continued.
        what: the work, in a word.
    """

    def __init__(
        self, run: Run, kind: ResultKind, settings: Mapping[str, Any], listener: Listener, *, what: str
    ) -> None:
        self._run, self._key = run, key_of(settings)
        self._kind: ResultKind = kind
        self._settings = dict(settings)
        self._listener, self._what = listener, what
        self._saved = time.monotonic()

    def found(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The state that an earlier process kept, or None."""
        try:
            content = self._run.partial(self._kind, self._key)
        except StoreCorrupt as error:  # it can be measured again, and is replaced by what is
            self._listener.warn(f"the {self._what} starts over: {error.where} cannot be continued ({error.what})")
            return None
        if content is None:
            return None
        # In the order they had: sums over them must be the same to the last bit.
        return content.attrs["state"], {
            name: torch.from_numpy(content.arrays[name]) for name in content.attrs["order"]
        }

    def save(self, work: HasState) -> None:
        """Keep the state.

        Raises:
            StoreWriteError: the disk refuses.
        """
        numbers, tensors = work.state()
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        attrs = {"state": numbers, "order": list(arrays), "settings": self._settings}
        self._run.put_partial(self._kind, self._key, arrays=arrays, attrs=attrs)
        self._saved = time.monotonic()

    def save_if_due(self, work: HasState, seconds: float) -> None:
        """Save, once so many seconds have passed; where that fails the work goes on, since it needs no disk."""
        if time.monotonic() - self._saved <= seconds:
            return
        try:
            self.save(work)
        except StoreWriteError as error:
            self._saved = time.monotonic()
            self._listener.warn(f"the unfinished {self._what} cannot be kept, a stop would lose it: {error.what}")

    def stop(self, work: HasState, stop: StopRequest, *, at: str) -> None:
        """Save, and raise what ends the command.

        Raises:
            Interrupted: always.
        """
        kept, hint = "what was measured is kept", "the same command goes on from there"
        try:
            self.save(work)
        except StoreWriteError as error:
            kept = f"what was measured cannot be kept: {error.what}"
            hint = "the same command goes on from where it could be kept last, or starts over"
        raise stop.error(kept, where=f"{self._run.path}, {at}", hint=hint)

    def forget(self) -> None:
        """Once the result itself is kept."""
        self._run.drop_partial(self._kind, self._key)
