"""Ticks whose labels do not overlap, and whose numbers all have one form."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import (
    AutoLocator,
    FixedFormatter,
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

_SUBDIVIDED: Final = {0.9: (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), 2.5: (1.0, 2.0, 5.0), math.inf: (1.0,)}
"""Labels within each power of ten of a logarithmic axis, by the most powers of ten that the axis may span."""

_MOST: Final = 6
"""Most labels of an axis of steps or seconds."""

_GAP: Final = 0.6
"""Least space between two labels, in multiples of their height."""

_PLAIN: Final = (1e-3, 1e5)
"""The range in which all labels of a logarithmic axis must be to be plain numbers."""

_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class _AtK(FixedLocator):
    """Ticks at some K."""

    def __init__(self, ks: Sequence[float]) -> None:
        super().__init__(ks)
        self.ks = [*ks]


class LogNumbers(Formatter):
    """Labels of a logarithmic axis: all of them plain numbers, or all of them with powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of one number."""
        low, high = sorted(abs(float(each)) for each in self.axis.get_view_interval())  # pyright: ignore
        if _PLAIN[0] <= 1.0001 * low and high <= _PLAIN[1]:
            return f"{x:,.10g}"
        return powers_of_ten(x)


def powers_of_ten(x: float) -> str:
    """Return a positive number with a power of ten: 10⁻³, or 2·10⁻³."""
    power = math.floor(math.log10(x) + 1e-9)
    factor = f"{x / 10.0**power:.3g}"
    return ("" if factor == "1" else f"{factor}·") + f"10{str(power).translate(_RAISED)}"


def steps_axis(axes: Axes) -> None:
    """Make the horizontal axis one of steps, with whole numbers only."""
    low, high = axes.get_xlim()
    if high - low < 2.0:  # a single step
        axes.set_xlim(0.5 * (low + high) - 1.0, 0.5 * (low + high) + 1.0)
    whole_axis(axes, "optimisation steps")


def whole_axis(axes: Axes, label: str) -> None:
    """Make the horizontal axis one of whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(_MOST, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_whole))
    axes.set_xlabel(label)


def _whole(x: float, _: int | None) -> str:
    return f"{x:,.0f}"


def number_axis(axes: Axes, label: str) -> None:
    """Make the horizontal axis one of numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(_MOST, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(label)


def ticks_at(axes: Axes, ks: Sequence[float], label: str = "K, samples per example") -> None:
    """Make the horizontal axis a logarithmic one of K, with labels at these K as far as there is room."""
    axes.set_xscale("log", base=2)
    linear_ticks_at(axes, ks, label)


def linear_ticks_at(axes: Axes, ks: Sequence[float], label: str) -> None:
    """Give the horizontal axis labels at these numbers as far as there is room."""
    _fixed(axes, ks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def _fixed(axes: Axes, ks: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(_AtK(ks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{k:,.10g}" for k in ks]))


def log_scale(axes: Axes, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, without typeset powers, which would take most of a figure's time."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    subs = next(subs for most, subs in _SUBDIVIDED.items() if decades <= most)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(LogNumbers())
    axes.yaxis.set_minor_locator(NullLocator())


def settle(axes: Axes) -> None:
    """Fix the number of the vertical axis' ticks, which would change with every small change of its length."""
    locator = axes.yaxis.get_major_locator()
    if isinstance(locator, AutoLocator):
        locator.set_params(nbins=min(max(2, axes.yaxis.get_tick_space()), 8))


def thin_out(axes: Axes, renderer: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Leave out labels of the horizontal axis until no two of them overlap."""
    locator: Any = axes.xaxis.get_major_locator()
    if isinstance(locator, _AtK):
        ks = locator.ks
        kept = list[int]()
        boxes = _boxes(axes, renderer)
        for i in reversed(range(len(ks))):  # begin with the largest K, whose label matters most
            if not kept or (len(boxes) == len(ks) and not _close(boxes[i], boxes[kept[-1]])):
                kept.append(i)
        if len(boxes) == len(ks) and len(kept) < len(ks):
            _fixed(axes, [ks[i] for i in reversed(kept)])
    elif isinstance(locator, MaxNLocator):
        for most in range(_MOST, 1, -1):
            locator.set_params(nbins=most)
            boxes = _boxes(axes, renderer)
            if not any(_close(a, b) for a, b in pairwise(boxes)):
                return


def _boxes(axes: Any, renderer: Any) -> list[Any]:  # noqa: ANN401 - matplotlib's
    low, high = sorted(axes.get_xlim())
    # As get_tightbbox does: nothing public returns the ticks that are drawn.
    return [
        tick.label1.get_window_extent(renderer)
        for tick in axes.xaxis._update_ticks()
        if low <= tick.get_loc() <= high
    ]


def _close(a: Any, b: Any) -> bool:  # noqa: ANN401 - boxes of matplotlib
    return bool(a.padded(0.5 * _GAP * a.height).overlaps(b.padded(0.5 * _GAP * a.height)))
