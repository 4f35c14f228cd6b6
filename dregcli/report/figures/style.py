"""The look of figures: colours, markers and line styles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dregcli.names import Network
from dregcli.report.series import Band, Values

# The colours of Okabe and Ito, which people with every kind of colour vision can distinguish.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = "osD^vP*X<>hp"
LINES: Final = ("-", "--", "-.", ":")
GREY: Final = "#777777"

DECODER_COLOURS: Final = ("#000000", "#8C564B", "#6A51A3")
"""Colours of the decoder's curves, none of which a curve of the encoder has."""

PRIOR_COLOURS: Final = ("#882255", "#999933", "#332288")
"""Colours of the prior's curves, none of which another curve has."""

POINTS: Final = 100
"""Points of a curve with its band, so few that the SVG of twelve groups is small."""

START: Final = 0.1
"""Share of training that the vertical axis may omit: its steep beginning would flatten the remaining curve."""

_MARKS: Final = 10
"""Markers on a curve."""


@dataclass(frozen=True)
class Look:
    """The look of a curve: it differs from others in colour, and also without colour."""

    colour: str
    marker: str
    line: str


def look(i: int) -> Look:
    """Return the look of the i-th curve; the first ``len(MARKERS)`` looks all differ, even in grey."""
    return Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])


def network_look(network: Network, i: int) -> Look:
    """Return the look of a network's i-th curve, which no curve of another network has."""
    # Black, the last of the colours, is the decoder's.
    of = {Network.ENCODER: COLOURS[:-1], Network.DECODER: DECODER_COLOURS, Network.PRIOR: PRIOR_COLOURS}
    colours = of[network]
    line = LINES[(i + (network is not Network.ENCODER)) % len(LINES)]
    return Look(colours[i % len(colours)], MARKERS[i % len(MARKERS)], line)


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
    # Curves that almost coincide are both seen if the later one is thinner.
    thinner = 0.15 * (i % 5)
    (line,) = axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=(3 * i % every, every),
        markersize=5.6 - 2.0 * thinner,
        linewidth=1.9 - thinner,
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
