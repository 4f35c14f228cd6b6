"""The look of figures: colours, markers, line styles and axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dregcli.report.series import Band, Values

# The colours of Okabe and Ito, which people with every kind of colour vision can distinguish.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = "osD^vP*X<>hp"
LINES: Final = ("-", "--", "-.", ":")
GREY: Final = "#777777"

POINTS: Final = 100
"""Points of a curve with its band, so few that the SVG of twelve groups is small."""

START: Final = 0.1
"""Share of training that the vertical axis may omit: its steep beginning would flatten the remaining curve."""

_MARKS: Final = 10
"""Markers on a curve."""

_SUBDIVIDED: Final = {0.9: (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), 2.5: (1.0, 2.0, 5.0), math.inf: (1.0,)}
"""Labels within each power of ten of a logarithmic axis, by the most powers of ten that the axis may span."""

_BIN: Final = 0.06
"""Smallest distance between two labels on an axis of K, as a share of its length."""


@dataclass(frozen=True)
class Look:
    """The look of a curve: it differs from others in colour, and also without colour."""

    colour: str
    marker: str
    line: str


def look(i: int) -> Look:
    """Return the look of the i-th curve; the first ``len(MARKERS)`` looks all differ, even in grey."""
    return Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])


def draw_band(axes: Axes, found: Band, look: Look, label: str, *, i: int = 0) -> Line2D:
    """Draw a mean over seeds with its interval, if there are several seeds; return the line, for a legend."""
    if found.seeds > 1:
        fill_between(axes, found.x, found.low, found.high, look, label)
    return draw_line(axes, found.x, found.mean, look, label, i=i)


def draw_line(axes: Axes, x: Values, y: Values, look: Look, label: str, *, i: int = 0) -> Line2D:
    """Draw a line with some markers.

    Args:
        axes: axes to draw on.
        x: horizontal positions, shape (n,).
        y: values, shape (n,).
        look: look of the line.
        label: label of the line.
        i: index of the curve, so that the markers of equal curves do not cover each other.
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
    """Fill the band around the line with this label."""
    axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0.0, label=f"_band {label}")


def late_limits(bands: Sequence[Band], lines: Sequence[Band] = ()) -> tuple[float, float] | None:
    """Return limits of the vertical axis that show all means after the steep beginning.

    Intervals may add at most that range again on each side, because the intervals of few seeds can be many times
    wider than the distance between the curves.

    Args:
        bands: curves drawn with their intervals.
        lines: curves drawn without intervals.
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
    """Make the horizontal axis one of steps, with whole numbers only."""
    low, high = axes.get_xlim()
    if high - low < 2.0:  # a single step
        axes.set_xlim(0.5 * (low + high) - 1.0, 0.5 * (low + high) + 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.set_xlabel("optimisation steps")


def ticks_at(axes: Axes, ks: Sequence[int]) -> None:
    """Make the horizontal axis a logarithmic one of K, with labels at these K as far as there is room."""
    axes.set_xscale("log", base=2)
    shown = list[int]()
    span = math.log(ks[-1] / ks[0]) or 1.0
    for k in reversed(ks):  # begin with the largest K, whose label matters most
        if not shown or math.log(shown[-1] / k) >= _BIN * span:
            shown.append(k)
    axes.xaxis.set_major_locator(FixedLocator(shown[::-1]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{k:,}" for k in shown[::-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("K, samples per example")


def log_scale(axes: Axes, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, with plain numbers: typeset powers would take most of a figure's time."""
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
    """Draw faint grid lines behind the data."""
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)


def at_the_end(found: Band) -> str:
    """Return the last mean of a curve and its interval, in words."""
    text = f"{_number(found.mean[-1])}"
    if found.seeds > 1:
        text += f" (95 % interval {_number(found.low[-1])} to {_number(found.high[-1])})"
    return text


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1e5 or value == 0.0 else f"{value:.2g}"
