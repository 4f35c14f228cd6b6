"""The bound against a setting with three values or more, such as the learning rate; a line for each other setting."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from matplotlib.axes import Axes

from dregcli.report.along import Line, axes_of, lines_along
from dregcli.report.comparison import Comparison
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import MOST
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.ticks import linear_ticks_at, ticks_at
from dregcli.report.groups import Group
from dregcli.report.labels import labels
from dregcli.report.settings import setting_name, shown_name
from dregcli.wording import counted

FEWEST: Final = 3
"""Values of a setting from which on it has a figure."""

_RATIO: Final = 4.0
"""Ratio of the largest value to the smallest from which on the axis is logarithmic."""

_CAPTION: Final = "Mean over seeds; bars: ± one standard error over seeds. A line joins runs that differ in {} alone."


@dataclass(frozen=True)
class _Curve:
    """One line of the figure: its groups with their values of the setting, ascending."""

    comparison: Comparison
    points: Sequence[tuple[float, Group]]

    @property
    def highest(self) -> float:
        """The highest mean of its groups."""
        return max(self.comparison.of(group.key).mean for _, group in self.points)


def setting_figures(groups: Sequence[Group], names: Mapping[str, str], sheet: Sheet) -> list[Drawn]:
    """Draw the bound against each setting with three numbers or more, with a line for each combination of the others.

    Args:
        groups: all groups of a section; a figure has a line of many groups, so that it needs no choice of them.
        names: short name of each group, by key.
        sheet: the paper that the figures are drawn for.
    """
    settings = [name for name in axes_of(groups) if len(_numbers(groups, name)) >= FEWEST]
    figures = (_figure(setting, lines_along(groups, setting), names, sheet) for setting in settings)
    return [each for each in figures if each is not None]


def _numbers(groups: Sequence[Group], setting: str) -> set[float]:
    return {number for group in groups if (number := _number(group.experiment.get(setting))) is not None}


def _figure(setting: str, lines: Sequence[Line], names: Mapping[str, str], sheet: Sheet) -> Drawn | None:
    every = [curve for line in lines if (curve := _curve(setting, line)) is not None]
    if not every:
        return None
    ((measure, _),) = Counter(each.comparison.measure for each in every).most_common(1)
    alike = [each for each in every if each.comparison.measure == measure]  # one axis has one measure
    order = sorted(range(len(alike)), key=lambda i: -alike[i].highest)
    curves = [alike[i] for i in sorted(order[:MOST])]
    found, legend = _labels(setting, curves, names)
    name = setting_name(setting)
    figure = new_figure(sheet)
    axes = panels(figure, 1, 1)[0][0]
    entries: dict[str, Any] = {}
    texts = [_draw(axes, each, label, i, entries) for i, (each, label) in enumerate(zip(curves, found, strict=True))]
    values = sorted({value for each in curves for value, _ in each.points})
    spread = values[0] > 0.0 and values[-1] / values[0] >= _RATIO
    (ticks_at if spread else linear_ticks_at)(axes, values, name)
    axes.set_ylabel(f"{measure.text}, nats per example (larger is better)")
    style.grid(axes)
    part = f" (the highest {len(curves)} of {len(alike)} lines)" if len(curves) < len(alike) else ""
    title = sheet.titled(f"Bound against {name}{part}")
    unlike = counted(len(every) - len(alike), "line")
    others = [f"Not drawn: {unlike} of another split, K or number of examples."] if len(alike) < len(every) else []
    caption = " ".join([_CAPTION.format(name), *others, *legend])
    lay_out(figure, sheet, title, below=Below(entries, caption))
    text = f"{measure.text} against {name}, nats per example, larger is better: {'; '.join(texts)}."
    return Drawn(f"by-{setting.replace('_', '-').replace('.', '-')}", title, text, figure, caption)


def _curve(setting: str, line: Line) -> _Curve | None:
    if line.comparison is None:
        return None
    compared = [group for group in line.groups if group.key in line.comparison.values]
    known = [(number, group) for group in compared if (number := _number(group.experiment.get(setting))) is not None]
    if len(known) < max(FEWEST, len(compared)):
        return None
    return _Curve(line.comparison, sorted(known, key=lambda each: each[0]))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _labels(
    setting: str, curves: Sequence[_Curve], names: Mapping[str, str]
) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return the names of lines, all different, and sentences that explain them.

    A line has the name of its groups without the setting on the axis. If its groups have no such name in common, as
    where a letter takes the place of all settings, or if two lines had the same, all lines get names as groups get
    them that lack this setting.
    """
    found = [{_without(names[group.key], setting) for _, group in each.points} for each in curves]
    if all(len(each) == 1 for each in found) and len(set[str].union(*found)) == len(found):
        return [each.pop() for each in found], ()
    firsts = [_lacking(setting, each.points[0][1]) for each in curves]
    named = labels(firsts)
    return [named.by_key[each.key] for each in firsts], (
        "The names are those of lines, not of groups.",
        *named.legend,
    )


def _without(label: str, setting: str) -> str:
    """Return a group's label without this setting, by its long or its short name."""
    words = tuple(f"{shown_name(setting, is_short=is_short)}=" for is_short in (False, True))
    return " ".join(word for word in label.split(" ") if not word.startswith(words)) or label


def _lacking(setting: str, group: Group) -> Group:
    row = group.rows[0]
    others = {name: value for name, value in row.experiment.items() if name != setting}
    return replace(group, rows=(replace(row, experiment=others),))


def _draw(axes: Axes, curve: _Curve, label: str, i: int, entries: dict[str, Any]) -> str:
    """Draw the i-th line; return it in words."""
    found = [curve.comparison.of(group.key) for _, group in curve.points]
    x, y = [value for value, _ in curve.points], [each.mean for each in found]
    errors = [math.nan if each.stderr is None else each.stderr for each in found]
    look = style.look(i)
    same: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 5.0}
    entries[label] = axes.errorbar(x, y, yerr=errors, linewidth=1.5, capsize=2.5, label=label, **same)
    best = max(range(len(y)), key=y.__getitem__)
    ends = f"from {y[0]:.2f} at {x[0]:g} to {y[-1]:.2f} at {x[-1]:g}"
    return f"{label} {ends}, the highest {y[best]:.2f} at {x[best]:g}"
