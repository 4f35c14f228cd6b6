"""Contestants in processes of their own, asked in turn: times of the same minutes, and ratios within a round.

Every contestant waits in its process; every round asks each in turn for a burst of a second or so. Before a round it
waits up to ``--patience`` seconds for a quiet machine. A round in which other programs used more than ``--disturbed``
cores is taken again, three times as many rounds at most; where none is quiet, all of them count and the outcome says
so.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from tests.benchmarks.support.others import OtherWork, wait_for_quiet
from tests.benchmarks.support.workers import Worker, WorkerFailed, steps_in

RATES: Final = "rates"
"""The contestant that measures the machine's matrix products and tells what its processor is."""


@dataclass(frozen=True)
class Terms:
    """Of a race: rounds, seconds of a burst, cores that others may use, and seconds to wait for a quiet machine."""

    rounds: int
    seconds: float
    disturbed: float
    patience: float


def add_terms(parser: argparse.ArgumentParser) -> None:
    """Give a command the options of ``Terms``."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a burst")
    parser.add_argument(
        "--disturbed", type=float, default=0.2, help="cores that others may use in a round that counts"
    )
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine, each time")


def terms_of(asked: argparse.Namespace) -> Terms:
    """What was given."""
    return Terms(asked.rounds, asked.seconds, asked.disturbed, asked.patience)


@dataclass
class Measured:
    """What one contestant came to, round by round."""

    name: str
    steps_a_burst: int
    ms: list[float] = field(default_factory=list)
    bound: float | None = None
    ess: float | None = None
    peak_megabytes: float = 0.0

    def ratios(self, other: "Measured") -> list[float]:
        """How many times the other's steps/s, within each round."""
        return [theirs / own for own, theirs in zip(self.ms, other.ms, strict=True)]


@dataclass(frozen=True)
class Outcome:
    """A race's end.

    Attributes:
        found: contestants that did not fail, in the order of their start.
        rates: GFLOP/s of the machine's matrix products in the same rounds, by name.
        load: how busy other programs kept the machine.
        processor: see ``tests.benchmarks.support.processor``.
    """

    found: list[Measured]
    rates: dict[str, list[float]]
    processor: dict[str, Any]
    load: str

    def named(self, name: str) -> Measured | None:
        """A contestant, unless it failed."""
        return next((each for each in self.found if each.name == name), None)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"contestants": [asdict(each) for each in self.found], "rates": self.rates, "load": self.load}


def say(text: str) -> None:
    """Tell the progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _begin(started: Mapping[str, Worker], terms: Terms) -> tuple[list[tuple[Worker, Measured]], dict[str, Any]]:
    """The contestants that are warm, with how many steps they take in a burst; and what the processor is."""
    ready: list[Worker] = []
    processor: dict[str, Any] = {}
    for worker in started.values():  # they get ready side by side
        try:
            about = worker.ready()
        except WorkerFailed as failure:
            say(f"left out: {failure}")
            continue
        ready.append(worker)
        processor = about.get("processor", processor)
    begun: list[tuple[Worker, Measured]] = []
    for worker in ready:
        wait_for_quiet(terms.disturbed, terms.patience)
        try:
            steps = 1 if worker.name == RATES else worker.burst_of(terms.seconds)
        except WorkerFailed as failure:
            say(f"left out: {failure}")
            continue
        say(f"{worker.name}: bursts of {steps} steps")
        begun.append((worker, Measured(worker.name, steps)))
    return begun, processor


def _round(contestants: list[tuple[Worker, Measured]], rates: dict[str, list[float]], seconds: float) -> float:
    """One burst of each; the cores that others used meanwhile."""
    others = OtherWork(worker.pid for worker, _ in contestants)
    for worker, measured in contestants:
        told = worker.burst(measured.steps_a_burst)
        measured.ms.append(told.pop("ms"))
        if worker.name != RATES:
            # By the best so far: the first guess may have been made while others worked.
            measured.steps_a_burst = steps_in(seconds, min(measured.ms))
        measured.bound, measured.ess = told.pop("bound", None), told.pop("ess", None)
        for name, rate in told.items():
            rates.setdefault(name, []).append(rate)
    return others.cores() or 0.0


def compete(starts: Mapping[str, Callable[[], Worker]], terms: Terms) -> Outcome:
    """Let contestants compete, and the machine's rates beside them.

    Args:
        starts: starts the process of each.
        terms: of the race.
    """
    rates: dict[str, list[float]] = {}
    busy: list[float] = []
    started: dict[str, Worker] = {}
    try:
        started[RATES] = Worker(RATES, "tests.benchmarks.support.rates")
        for name, start in starts.items():
            started[name] = start()
        contestants, processor = _begin(started, terms)
        while sum(cores <= terms.disturbed for cores in busy) < terms.rounds and len(busy) < 3 * terms.rounds:
            wait_for_quiet(terms.disturbed, terms.patience)
            busy.append(_round(contestants, rates, terms.seconds))
            say(f"round {len(busy)}: others used {busy[-1]:.2f} cores")
        for worker, measured in contestants:
            measured.peak_megabytes = worker.end()
    finally:
        for worker in started.values():
            worker.abandon()
    found = [measured for _, measured in contestants if measured.name != RATES]
    quiet = [i for i, cores in enumerate(busy) if cores <= terms.disturbed]
    counted = quiet or list(range(len(busy)))
    for measured in found:
        measured.ms = [measured.ms[i] for i in counted]
    load = f"{len(quiet)} of {len(busy)} rounds were quiet; " + (
        "only they count"
        if quiet
        else f"all count, although others used up to {max(busy):.2f} of {os.cpu_count()} cores"
    )
    return Outcome(found, {name: [values[i] for i in counted] for name, values in rates.items()}, processor, load)


def ratio(one: Measured | None, other: Measured | None) -> float | None:
    """How many times the other's steps/s, as a median over rounds; None where one of the two failed."""
    return median(one.ratios(other)) if one and other else None
