"""The bound against a setting with three values or more, such as the learning rate; a line for each other setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes

from dregcli.report.along import Line, axes_of, lines_along
from dregcli.report.comparison import Comparison
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import linear_ticks_at, ticks_at
from dregcli.report.groups import Group
from dregcli.report.settings import setting_name

FEWEST: Final = 3
"""Values of a setting from which on it has a figure."""

_RATIO: Final = 4.0
"""Ratio of the largest value to the smallest from which on the axis is logarithmic."""

_CAPTION: Final = "Mean over seeds; bars: ± one standard error over seeds. A line joins runs that differ in {} alone."


@dataclass(frozen=True)
class _Curve:
    """One line of the figure: what it is called, and its groups with their values, ascending."""

    member: Member
    comparison: Comparison
    points: Sequence[tuple[float, Group]]


def setting_figures(chosen: Chosen) -> list[Drawn]:
    """Draw the bound against each setting that has three numbers or more, all else equal, in one comparison."""
    groups = [member.group for member in chosen.members]
    figures = (_figure(chosen, setting, lines_along(groups, setting)) for setting in axes_of(groups))
    return [each for each in figures if each is not None]


def _figure(chosen: Chosen, setting: str, lines: Sequence[Line]) -> Drawn | None:
    curves = [curve for line in lines if (curve := _curve(chosen, setting, line)) is not None]
    if not curves:
        return None
    measure = curves[0].comparison.measure
    curves = [each for each in curves if each.comparison.measure == measure]  # one axis has one measure
    name = setting_name(setting)
    figure = new_figure(chosen.sheet)
    axes = panels(figure, 1, 1)[0][0]
    entries: dict[str, Any] = {}
    texts = [_draw(axes, each, name, entries) for each in curves]
    values = sorted({value for each in curves for value, _ in each.points})
    spread = values[0] > 0.0 and values[-1] / values[0] >= _RATIO
    (ticks_at if spread else linear_ticks_at)(axes, values, name)
    axes.set_ylabel(f"{measure.text}, nats per example (larger is better)")
    style.grid(axes)
    title = chosen.titled(f"Bound against {name}")
    caption = _CAPTION.format(name)
    lay_out(figure, chosen.sheet, title, below=Below(entries, caption))
    text = f"{measure.text} against {name}, nats per example, larger is better: {'; '.join(texts)}."
    return Drawn(f"by-{setting.replace('_', '-').replace('.', '-')}", title, text, figure, caption)


def _curve(chosen: Chosen, setting: str, line: Line) -> _Curve | None:
    if line.comparison is None:
        return None
    compared = [group for group in line.groups if group.key in line.comparison.values]
    known = [(number, group) for group in compared if (number := _number(group.experiment.get(setting))) is not None]
    if len(known) < max(FEWEST, len(compared)):
        return None
    points = sorted(known, key=lambda each: each[0])
    first = next(member for member in chosen.members if member.group.key == points[0][1].key)
    return _Curve(first, line.comparison, points)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _draw(axes: Axes, curve: _Curve, name: str, entries: dict[str, Any]) -> str:
    """Draw one line; return it in words."""
    found = [curve.comparison.of(group.key) for _, group in curve.points]
    x, y = [value for value, _ in curve.points], [each.mean for each in found]
    errors = [math.nan if each.stderr is None else each.stderr for each in found]
    look = curve.member.look
    label = _without(curve.member.label, name)
    label = curve.member.label if label in entries else label
    same: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 5.0}
    entries[label] = axes.errorbar(x, y, yerr=errors, linewidth=1.5, capsize=2.5, label=label, **same)
    best = max(range(len(y)), key=y.__getitem__)
    ends = f"from {y[0]:.2f} at {x[0]:g} to {y[-1]:.2f} at {x[-1]:g}"
    return f"{label} {ends}, the highest {y[best]:.2f} at {x[best]:g}"


def _without(label: str, name: str) -> str:
    """Return a group's label without the setting on the axis."""
    return " ".join(word for word in label.split(" ") if not word.startswith(f"{name}=")) or label
