"""Runs that a store already has of an experiment and a seed, and what may be done with each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from dregcli.app.training.resuming import RESUMABLE
from dregcli.errors import Diverged, DregError, NotFinite
from dregcli.names import RunStatus
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec, as_json, group_hash, spelt_out
from dregcli.store.records import RunInfo
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

Key = tuple[str, int]
"""An experiment, by its hash, and a seed."""

SAME_AGAIN: Final = {error.__name__: error for error in (Diverged, NotFinite)}
"""Failures that come from the numbers themselves: the same run, gone on with, fails the same way. By ``kind``."""


class Standing(StrEnum):
    """What a run is to one who wants its numbers; the first is the best."""

    DONE = "done"
    AT_WORK = "at work"
    """Another process writes it, or this one."""
    CUT = "cut"
    """It can be gone on with: stopped, killed, or failed for want of memory or disk."""
    BROKEN = "broken"
    """It failed by its own numbers, and would again."""


@dataclass(frozen=True)
class Repeat:
    """A run of an experiment and a seed, as it was when it was looked at."""

    run: Run
    info: RunInfo

    @property
    def standing(self) -> Standing:
        """What it is good for."""
        if self.info.status is RunStatus.COMPLETED:
            return Standing.DONE
        if self.info.status not in RESUMABLE:
            return Standing.AT_WORK
        return Standing.BROKEN if self.info.status is RunStatus.FAILED and self.failed_by else Standing.CUT

    @property
    def failed_by(self) -> type[DregError] | None:
        """The class of its last failure where that would come again; runs of older programs do not tell."""
        return SAME_AGAIN.get(str(self.info.failures[-1].get("kind"))) if self.info.failures else None

    @property
    def _rank(self) -> tuple[int, datetime]:
        return -list(Standing).index(self.standing), self.info.created

    def better_than(self, other: "Repeat | None") -> bool:
        """Whether it stands better, or as well and is the newer one."""
        return other is None or self._rank > other._rank


def key_of(spec: RunSpec) -> Key:
    """What repeats of a spec with its seed share."""
    return group_hash(as_json(spec)), spec.seed


def repeats_in(store: RunStore) -> dict[Key, Repeat]:
    """Of every experiment and seed the run that stands best, whatever its name; of equals the newest.

    A run whose state or spec cannot be read is nobody's repeat, and neither is one killed while it was claimed.

    Raises:
        StoreFormatError: the store is of another format.
    """
    found: dict[Key, Repeat] = {}
    for run in store.runs():
        try:
            info = run.info()
            if not info.started:
                continue
            spec = run.spec(info)
        except DregError:
            continue
        if spec_faults(spec):
            continue
        key, repeat = (group_hash(spec), spelt_out(spec)["seed"]), Repeat(run, info)
        if repeat.better_than(found.get(key)):
            found[key] = repeat
    return found
