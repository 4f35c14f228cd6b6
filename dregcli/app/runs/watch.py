"""Follow runs while they train, only by reading, so that watching does not disturb them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from dregcli.app.runs.list_ import ListedRun, read_listed
from dregcli.errors import DregError, RunNotFound
from dregcli.names import RunStatus, Split
from dregcli.report.sparklines import sparkline
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

GRACE: Final = 10.0
"""Seconds without any running run after which watching ends."""


@dataclass(frozen=True)
class Watched:
    """The current state of one run.

    Attributes:
        path: folder of the run.
        label: label of the run, such as ``NAME/v001``.
        status: status of the run; a run with a dead writer is crashed.
        step: last known step.
        steps: number of steps that the run will have.
        train: bound of the last training row, nats per example.
        valid: bound of the last validation, nats per example.
        rate: optimisation steps per second, over its whole training.
        seconds_left: remaining optimisation time in seconds at this rate; evaluations take additional time.
        age: seconds since the run last wrote its state; a run writes it at least every half minute.
        curve: its bound by step, as one line of text.
    """

    path: Path
    label: str
    status: RunStatus
    step: int
    steps: int
    train: float | None
    valid: float | None
    rate: float | None
    seconds_left: float | None
    age: float
    curve: str


def watch(
    references: Sequence[str],
    *,
    runs_dir: Path,
    interval: float,
    wait: Callable[[float], None] = time.sleep,
    more: Callable[[], bool] = lambda: False,
) -> Iterator[list[Watched]]:
    """Yield the states of runs repeatedly, until none of them has been running for ``GRACE`` seconds.

    Runs that begin meanwhile are included: the runs of a study follow each other with pauses, and a new run must
    first be claimed. Without references, all running runs are included, and they stay included after they end.

    Args:
        references: names or versions; an empty sequence means all running runs.
        runs_dir: the store.
        interval: seconds between two reads.
        wait: sleeps for a number of seconds.
        more: whether more runs are still to begin, so that watching goes on without any running run.

    Raises:
        RunNotFound: no such run.
        StoreFormatError: the store has another format.
    """
    store = RunStore(runs_dir)
    curves: dict[Path, tuple[datetime, str]] = {}
    seen: set[Path] = set()
    first, idle = True, 0.0
    while True:
        runs = _resolved(store, references, first=first) if references else store.runs()
        first = False
        listed = [each for run in dict.fromkeys(runs) if (each := _listed(run)) is not None]
        seen |= {each.run.path for each in listed if references or each.status is RunStatus.RUNNING}
        shown = [each for each in listed if each.run.path in seen]
        yield [_watched(each, _curve(each, curves)) for each in shown]
        idle = 0.0 if any(each.status is RunStatus.RUNNING for each in shown) else idle + interval
        if idle >= GRACE:
            if not more():
                return
            idle = 0.0
        wait(interval)


def _resolved(store: RunStore, references: Sequence[str], *, first: bool) -> list[Run]:
    """Return the runs that references name, without runs that were removed meanwhile.

    Raises:
        RunNotFound: no such run, at the first read.
    """
    found: list[Run] = []
    for each in references:
        try:
            found += store.resolve(each)
        except RunNotFound:
            if first:
                raise
    return found


def _listed(run: Run) -> ListedRun | None:
    """Read a run; None if it is being claimed, was removed meanwhile, or is damaged (`dreg runs list` says why)."""
    try:
        found = read_listed(run)
    except DregError:
        return None
    return found if "steps" in found.spec else None


def _curve(listed: ListedRun, known: dict[Path, tuple[datetime, str]]) -> str:
    """Return a run's curve, read again only if the run has written its state since."""
    path = listed.run.path
    if path not in known or known[path][0] != listed.updated:
        try:
            known[path] = (listed.updated, sparkline(listed.run.all_metrics()))
        except DregError:
            known[path] = (listed.updated, "")
    return known[path][1]


def _watched(listed: ListedRun, curve: str) -> Watched:
    step, steps = listed.step or 0, int(listed.spec["steps"])
    row = listed.last.get(Split.TRAIN, {})
    seconds, at = row.get("seconds"), row.get("step")
    rate = at / seconds if seconds and at else None
    running = listed.status is RunStatus.RUNNING
    return Watched(
        path=listed.run.path,
        label=listed.run.label,
        status=listed.status,
        step=step,
        steps=steps,
        train=row.get("bound"),
        valid=listed.last.get(Split.VALID, {}).get("bound"),
        rate=rate,
        seconds_left=(steps - step) / rate if rate and running else None,
        age=max(0.0, (listed.run.clock.now() - listed.updated).total_seconds()),
        curve=curve,
    )
