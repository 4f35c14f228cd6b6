"""The figure of a published experiment: our lines, and the published numbers as stars."""

import math
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panel_grid
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.ticks import linear_ticks_at, log_scale, steps_axis, ticks_at
from dregcli.report.papers.outcome import Drawing, Line, Point
from dregcli.wording import AT_FLOOR

_LEAST: Final = 26.0
"""Width that a panel needs, in multiples of the letters' size."""

_RATIO: Final = 4.0
"""Ratio of the largest x to the smallest from which on the axis is logarithmic."""

_STAR: Final[dict[str, Any]] = {
    "marker": "*",
    "markersize": 11.0,
    "markeredgecolor": "#000000",
    "markeredgewidth": 0.7,
}

_SURE: Final = 2.0
"""Standard errors above 0 from which on a value counts as more than noise."""

_FAR: Final = 10.0
"""Ratio of the lowest number to the value of noise from which on the latter is not shown."""

_AROUND: Final = 1.5
"""Factor between the ends of a logarithmic axis and the numbers on it."""


def paper_figure(
    name: str, title: str, drawings: Sequence[Drawing], caption: str, sheet: Sheet | None = None
) -> Drawn:
    """Draw all panels.

    Args:
        name: stem of the file names.
        title: title of the figure.
        drawings: the panels, at least one.
        caption: sentences that explain the figure.
        sheet: the paper that the figure is drawn for.
    """
    sheet = sheet or Sheet()
    figure = new_figure(sheet)
    labels = dict.fromkeys(line.label for each in drawings for line in each.lines)
    looks = {label: style.look(i) for i, label in enumerate(labels)}
    entries: dict[str, Any] = {}
    texts: list[str] = []
    for axes, each in zip(panel_grid(figure, sheet, len(drawings), least=_LEAST), drawings, strict=True):
        texts += _panel(axes, each, looks, entries)
    if any(each.marks for each in drawings):
        entries["published"] = Line2D([], [], linestyle="", color="#ffffff", **_STAR)
    lay_out(figure, sheet, title, below=Below(entries, caption))
    return Drawn(name, title, f"{title}. {'; '.join(texts)}.", figure, caption)


def _panel(axes: Axes, drawing: Drawing, looks: dict[str, style.Look], entries: dict[str, Any]) -> list[str]:
    texts: list[str] = []
    for i, line in enumerate(drawing.lines):
        look = looks[line.label]
        drawn = _along(axes, line, look, i) if drawing.along else _points(axes, line, look, drawing)
        if drawn is not None:
            entries.setdefault(line.label, drawn)
        texts += [f"{drawing.title}, {line.label}: {_in_words(line.points[-1], drawing)}"] if line.points else []
    right = max((float(line.band.x[-1]) for line in drawing.lines if line.band), default=1.0)
    for mark in drawing.marks:
        x = right if mark.x is None else mark.x
        colour = looks[mark.label].colour if mark.label in looks else "#ffffff"
        axes.plot([x], [mark.y], linestyle="", color=colour, zorder=5, clip_on=False, label="_published", **_STAR)
    if drawing.floor is not None:
        axes.axhline(drawing.floor, color=style.GREY, linestyle=(0, (1, 2)), linewidth=1.5, label="_floor")
    _axes(axes, drawing)
    axes.set_title(drawing.title)
    axes.set_ylabel(drawing.y)
    style.grid(axes)
    return texts


def _in_words(point: Point, drawing: Drawing) -> str:
    return AT_FLOOR if drawing.is_noise(point) else f"{point.y.mean:.4g}"


def _axes(axes: Axes, drawing: Drawing) -> None:
    if drawing.is_log and (limits := _log_limits(drawing)):
        log_scale(axes, *limits)
    elif drawing.along:
        bands = [line.band for line in drawing.lines if line.band is not None]
        if limits := style.late_limits(bands):
            marks = [mark.y for mark in drawing.marks]
            axes.set_ylim(min(limits[0], *marks), max(limits[1], *marks)) if marks else axes.set_ylim(*limits)
    if drawing.along:
        steps_axis(axes)
        return
    values = sorted(
        {each.x for line in drawing.lines for each in _shown(line, drawing) if each.x is not None}
        | {mark.x for mark in drawing.marks if mark.x is not None}
    )
    if values:
        spread = values[0] > 0.0 and values[-1] / values[0] >= _RATIO
        (ticks_at if spread else linear_ticks_at)(axes, values, drawing.x)


def _log_limits(drawing: Drawing) -> tuple[float, float] | None:
    """Return limits that show every positive number."""
    kept = [line.points if drawing.along else _shown(line, drawing) for line in drawing.lines]
    found = [each.y.mean for points in kept for each in points]
    for line in drawing.lines:
        found += [] if line.band is None else [float(each) for each in line.band.mean]
    found += [mark.y for mark in drawing.marks]
    shown = [each for each in found if each > 0.0 and math.isfinite(each)]
    if shown and drawing.floor is not None and drawing.floor > min(shown) / _FAR:
        shown.append(drawing.floor)  # farther away, it would press the lines together, and says nothing
    return (min(shown) / _AROUND, max(shown) * _AROUND) if shown else None


def _along(axes: Axes, line: Line, look: style.Look, i: int) -> Any:  # noqa: ANN401 - matplotlib's
    return None if line.band is None else style.draw_band(axes, line.band, look, line.label, i=i)


def _shown(line: Line, drawing: Drawing) -> list[Point]:
    """Return the points that the panel can show."""
    least = 0.0 if drawing.is_log else -math.inf
    above = _SURE if drawing.is_excess else 0.0
    return [
        each for each in line.points if each.x is not None and each.y.mean - above * (each.y.stderr or 0.0) > least
    ]


def _points(axes: Axes, line: Line, look: style.Look, drawing: Drawing) -> Any:  # noqa: ANN401 - matplotlib's
    kept, is_log = _shown(line, drawing), drawing.is_log
    if not kept:
        return None
    y = [each.y.mean for each in kept]
    errors = [each.y.stderr or 0.0 for each in kept]
    below = [min(error, 0.9 * value) if is_log else error for value, error in zip(y, errors, strict=True)]
    return axes.errorbar(
        [each.x or 0.0 for each in kept],
        y,
        yerr=[below, errors],
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        markersize=5.0,
        linewidth=1.5,
        capsize=2.5,
        label=line.label,
    )
