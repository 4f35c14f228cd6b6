"""Find runs of an experiment and a seed that a store already has, and how usable they are."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from dregcli.app.loading.named import RESUMABLE
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
"""Failures by ``kind`` that come from the numbers themselves: if the run continues, it fails in the same way."""


class Standing(StrEnum):
    """How usable a run's results are, best first."""

    DONE = "done"
    """The run is completed."""
    RUNNING = "running"
    """A process is writing the run."""
    CUT = "cut"
    """The run can continue: it was stopped or killed, or it ran out of memory or disk space."""
    BROKEN = "broken"
    """The run failed because of its own numbers, and would fail again."""


@dataclass(frozen=True)
class Repeat:
    """A run of an experiment and a seed, with its state at the time when it was read."""

    run: Run
    info: RunInfo

    @property
    def standing(self) -> Standing:
        """How usable the run's results are."""
        if self.info.status is RunStatus.COMPLETED:
            return Standing.DONE
        if self.info.status not in RESUMABLE:
            return Standing.RUNNING
        return Standing.BROKEN if self.info.status is RunStatus.FAILED and self.failed_by else Standing.CUT

    @property
    def failed_by(self) -> type[DregError] | None:
        """The class of the last failure if it would happen again; None also if the run does not record the class."""
        return SAME_AGAIN.get(str(self.info.failures[-1].get("kind"))) if self.info.failures else None

    @property
    def _rank(self) -> tuple[int, datetime]:
        return -list(Standing).index(self.standing), self.info.created

    def better_than(self, other: "Repeat | None") -> bool:
        """Whether this run is more usable than the other one, or equally usable and newer."""
        return other is None or self._rank > other._rank


def key_of(spec: RunSpec) -> Key:
    """Return the key that all repeats of a spec with its seed have in common."""
    return group_hash(as_json(spec)), spec.seed


def repeats_in(store: RunStore) -> dict[Key, Repeat]:
    """Return the most usable run of every experiment and seed, with any name; of equally usable runs the newest.

    A run is left out if its state or spec cannot be read, or if it was killed while it was claimed.

    Raises:
        StoreFormatError: the store has another format.
    """
    found: dict[Key, Repeat] = {}
    for run in store.runs():
        if each := repeat_of(run):
            key, repeat = each
            if repeat.better_than(found.get(key)):
                found[key] = repeat
    return found


def repeat_of(run: Run) -> tuple[Key, Repeat] | None:
    """Return what a run is a repeat of, and its state; None if its state or spec cannot be read or is not there."""
    try:
        info = run.info()
        spec = run.spec(info) if info.started else None
    except DregError:
        return None
    if spec is None or spec_faults(spec):
        return None
    return (group_hash(spec), spelt_out(spec)["seed"]), Repeat(run, info)
