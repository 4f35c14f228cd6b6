"""The output of ``--watch``: runs that the program follows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from dregcli.cli.render import Terminal
from dregcli.wording import duration, with_error

if TYPE_CHECKING:
    from dregcli.app.runs.watch import Watched

_COLUMNS: Final = ("run", "status", "step", "train", "valid", "left", "steps/s", "bound by step")
_STALE: Final = 60.0
"""Seconds without an update after which the age is shown; a run writes an update every half minute."""


def follow(terminal: Terminal, frames: Iterable[list["Watched"]]) -> None:
    """Show the runs until the last frame."""
    terminal.follow(_COLUMNS, ([_row(each) for each in frame] for frame in frames))


def _row(run: "Watched") -> list[str]:
    return [
        run.label,
        run.status.value + _stale(run),
        f"{run.step:,}/{run.steps:,} ({100 * run.step // max(1, run.steps)} %)",
        with_error(run.train, None),
        with_error(run.valid, None),
        "" if run.seconds_left is None else duration(run.seconds_left),
        with_error(run.rate, None),
        run.curve,
    ]


def _stale(run: "Watched") -> str:
    """Return the age of the last update, if it is long ago."""
    running = run.seconds_left is not None
    return f", last update {duration(run.age)} ago" if running and run.age >= _STALE else ""
