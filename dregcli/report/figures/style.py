"""How figures look: colours, markers, line styles, and the axes that they share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dregcli.report.series import Band, Values

# Okabe and Ito's colours, told apart with every kind of colour vision.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = "osD^vP*X<>hp"
LINES: Final = ("-", "--", "-.", ":")
GREY: Final = "#777777"

POINTS: Final = 100
"""Of a curve with its band: of twelve groups the SVG is still small."""

START: Final = 0.1
"""Of training, that the vertical axis need not show: the steep beginning would flatten all the rest."""

_MARKS: Final = 10
"""Markers on a curve."""

_SUBDIVIDED: Final = {0.9: (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), 2.5: (1.0, 2.0, 5.0), math.inf: (1.0,)}
"""Labels within each power of ten of a logarithmic axis, by how many of these it has at most."""

_BIN: Final = 0.06
"""Least distance between two labels on an axis of K, as a share of its length."""


@dataclass(frozen=True)
class Look:
    """How one of several is told from the others: in colour, and without."""

    colour: str
    marker: str
    line: str


def look(i: int) -> Look:
    """Of the i-th; the first ``len(MARKERS)`` are all different, in grey too."""
    return Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])


def draw_band(axes: Axes, found: Band, look: Look, label: str, *, i: int = 0) -> Line2D:
    """A mean over seeds and its interval, which a single seed does not have; the line, for a legend."""
    if found.seeds > 1:
        fill_between(axes, found.x, found.low, found.high, look, label)
    return draw_line(axes, found.x, found.mean, look, label, i=i)


def draw_line(axes: Axes, x: Values, y: Values, look: Look, label: str, *, i: int = 0) -> Line2D:
    """A line with some markers.

    Args:
        axes: where.
        x: shape (n,).
        y: shape (n,).
        look: how.
        label: of the line.
        i: the how manieth of the curves, so that the markers of equal ones do not cover each other.
    """
    every = max(1, len(x) // _MARKS)
    (line,) = axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=(3 * i % every, every),
        markersize=5.0,
        linewidth=1.7,
        label=label,
    )
    return line


def fill_between(axes: Axes, x: Values, low: Values, high: Values, look: Look, label: str) -> None:
    """What is around the line with this label."""
    axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0.0, label=f"_band {label}")


def late_limits(bands: Sequence[Band], lines: Sequence[Band] = ()) -> tuple[float, float] | None:
    """What the vertical axis shows: all that is after the steep beginning, and of intervals as much again at most.

    The intervals of few seeds can be many times as wide as all curves are apart.

    Args:
        bands: curves that are drawn with their intervals.
        lines: curves that are drawn without.
    """
    means = [_late(each, each.mean) for each in (*bands, *lines)]
    if not means:
        return None
    around = [_late(each, end) for each in bands for end in (each.low, each.high)]
    middle, ends = np.concatenate(means), np.concatenate([*means, *around])
    low, high = float(middle.min()), float(middle.max())
    room = high - low if high > low else max(1.0, 0.01 * abs(high))
    low, high = max(low - room, float(np.nanmin(ends))), min(high + room, float(np.nanmax(ends)))
    margin = 0.05 * max(high - low, room)
    return low - margin, high + margin


def _late(curve: Band, values: Values) -> Values:
    return values[curve.x >= START * curve.x[-1]]


def steps_axis(axes: Axes) -> None:
    """The horizontal axis is of steps, of which there is no half."""
    low, high = axes.get_xlim()
    if high - low < 2.0:  # a single one
        axes.set_xlim(0.5 * (low + high) - 1.0, 0.5 * (low + high) + 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.set_xlabel("optimisation steps")


def ticks_at(axes: Axes, ks: Sequence[int]) -> None:
    """The horizontal axis is of K, in logarithms: labels at these, as far as there is room."""
    axes.set_xscale("log", base=2)
    shown = list[int]()
    span = math.log(ks[-1] / ks[0]) or 1.0
    for k in reversed(ks):  # the largest one is what is told
        if not shown or math.log(shown[-1] / k) >= _BIN * span:
            shown.append(k)
    axes.xaxis.set_major_locator(FixedLocator(shown[::-1]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{k:,}" for k in shown[::-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("K, samples per example")


def log_scale(axes: Axes, low: float, high: float) -> None:
    """The vertical axis in logarithms, with plain numbers: to typeset powers takes most of a figure's time."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    subs = next(subs for most, subs in _SUBDIVIDED.items() if decades <= most)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(NullLocator())


def _plain(value: float, _: int | None) -> str:
    return f"{value:g}"


def grid(axes: Axes) -> None:
    """Faint lines behind the data."""
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)


def at_the_end(found: Band) -> str:
    """The last mean of a curve and its interval, in words."""
    told = f"{_number(found.mean[-1])}"
    if found.seeds > 1:
        told += f" (95 % interval {_number(found.low[-1])} to {_number(found.high[-1])})"
    return told


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1e5 or value == 0.0 else f"{value:.2g}"
