"""Follow runs while they train: by reading alone, so that nothing of it reaches them."""

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
"""Seconds without a running run after which there is nothing more to follow."""


@dataclass(frozen=True)
class Watched:
    """One run as it stands.

    Attributes:
        path: its folder.
        label: ``NAME/v001``.
        status: of it; a writer that died is shown as crashed.
        step: the last one that is known of.
        steps: that it is to have.
        train: bound of the last training row, nats per example.
        valid: of the last validation.
        rate: optimisation steps a second, over its whole training.
        seconds_left: of optimisation at that rate; evaluations come on top.
        age: seconds since it last told anything; runs do at least every half minute.
        curve: its bound by step, in one line of text.
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
) -> Iterator[list[Watched]]:
    """The runs again and again, until none of them has been running for ``GRACE`` seconds.

    Runs that begin meanwhile are among them: those of a study follow each other with pauses, and one that was just
    started has first to be claimed. Without references they are those that are running, and stay when they end.

    Args:
        references: names or versions; none means all that run.
        runs_dir: the store.
        interval: seconds between two looks.
        wait: lets them pass.

    Raises:
        RunNotFound: no such run.
        StoreFormatError: the store is of another format.
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
            return
        wait(interval)


def _resolved(store: RunStore, references: Sequence[str], *, first: bool) -> list[Run]:
    """The runs of names; of those that were there, but are gone meanwhile, none.

    Raises:
        RunNotFound: at the first look, no such run.
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
    """None of a run that is just being claimed, was removed meanwhile, or is damaged: `dreg runs list` tells why."""
    try:
        found = read_listed(run)
    except DregError:
        return None
    return found if "steps" in found.spec else None


def _curve(listed: ListedRun, known: dict[Path, tuple[datetime, str]]) -> str:
    """Read anew only where the run has told something since."""
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
