"""Final bounds by group: a dot for every seed, lines that join equal seeds, and means on shaded intervals."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from dregcli.report.comparison import Comparison, Measure, measured
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.letters import wrapped
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import number_axis
from dregcli.report.series import Band

_HALF: Final = 0.32
"""Half of the height of a group's interval and mean, in rows."""

_NAMES: Final = 0.34
"""Largest part of the figure's width for the groups' names."""

BySeed = Mapping[int, float]


def final_figure(chosen: Chosen, comparisons: Sequence[Comparison]) -> Drawn | None:
    """Draw the bounds of the first comparison, or of the only group; None if there are none.

    Each group is a row, the highest mean on top.
    """
    found = _first(chosen, comparisons)
    if found is None:
        return None
    measure, values, equal = found
    rows = sorted(
        ((member, values[member.group.key]) for member in chosen.members if member.group.key in values),
        key=lambda row: -fmean(row[1].values()),
    )
    title = chosen.titled("Bounds by seed")
    sheet = chosen.sheet
    figure = new_figure(sheet)
    axes = panels(figure, 1, 1)[0][0]
    _join(axes, [of_seeds for _, of_seeds in rows])
    texts = [_row(axes, at, member, of_seeds) for at, (member, of_seeds) in enumerate(rows)]
    names = [wrapped(member.label, _NAMES * sheet.width, sheet.small, bold=True) for member, _ in rows]
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), names)
    for label, (member, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if member.group.key in equal else "normal")
    axes.set_xlim(*_limits([of_seeds for _, of_seeds in rows]))
    number_axis(axes, f"{measure.text}, nats per example (larger is better)")
    for at in range(1, len(rows)):
        axes.axhline(at - 0.5, color=style.GREY, linewidth=0.5, alpha=0.4, zorder=1.0)
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    caption = "Dots: seeds; grey lines join the same seed. Upright line: the mean."
    if any(len(of_seeds) > 1 for _, of_seeds in rows):
        caption += " Shaded: its 95\u00a0% interval (Student's\u00a0t), cut at the frame if it is very wide."
    if equal:
        caption += " Bold: the best group, and groups that the paired test has not found lower."
    if others := len(chosen.members) - len(rows):
        caption += f" {others} group{'s have' if others > 1 else ' has'} no such bound."
    lines = max(name.count("\n") + 1 for name in names)
    height = len(rows) * sheet.em * max(2.6, 1.0 + 1.1 * lines)
    lay_out(figure, sheet, title, height=height, below=Below({}, caption))
    text = f"{measure.text}, nats per example, larger is better, the highest first: {'; '.join(texts)}."
    return Drawn("final-bounds", title, text, figure, caption)


def _limits(rows: Sequence[BySeed]) -> tuple[float, float]:
    """Return limits that show all dots. Intervals may add at most the range of the dots again on each side."""
    bands = [_band(of_seeds) for of_seeds in rows]
    dots = np.concatenate([each.values.ravel() for each in bands])
    low, high = float(dots.min()), float(dots.max())
    room = high - low if high > low else max(0.5, 0.01 * abs(high))
    every = np.concatenate([dots, *(each.low for each in bands), *(each.high for each in bands)])
    low, high = max(low - room, float(np.nanmin(every))), min(high + room, float(np.nanmax(every)))
    margin = 0.06 * max(high - low, room)
    return low - margin, high + margin


def _band(of_seeds: BySeed) -> Band:
    return Band(np.array([0.0]), np.asarray([*of_seeds.values()])[:, None])


def _first(
    chosen: Chosen, comparisons: Sequence[Comparison]
) -> tuple[Measure, Mapping[str, BySeed], set[str]] | None:
    if comparisons:
        first = comparisons[0]
        return first.measure, first.values, first.cannot_be_told_from_best
    if len(chosen.members) != 1:
        return None  # the groups cannot be compared, and a common axis would compare them
    group = chosen.members[0].group
    for measure, of_groups in measured([group]).items():
        return measure, of_groups, set()
    return None


def _join(axes: Axes, rows: Sequence[BySeed]) -> None:
    """Join the dots of each seed across the rows that have it."""
    for seed in sorted({seed for of_seeds in rows for seed in of_seeds}):
        known = [(of_seeds[seed], at) for at, of_seeds in enumerate(rows) if seed in of_seeds]
        x, y = [each[0] for each in known], [each[1] for each in known]
        axes.plot(x, y, color=style.GREY, linewidth=0.7, alpha=0.7, zorder=1.5, label=f"_seed {seed}")


def _row(axes: Axes, at: int, member: Member, of_seeds: BySeed) -> str:
    """Draw one group's dots, mean and interval; return the mean and interval in words."""
    look, values = member.look, [*of_seeds.values()]
    axes.plot(
        values, [at] * len(values), color=look.colour, marker=look.marker, linestyle="", markersize=6.0, alpha=0.8,
        label=member.label,
    )  # fmt: skip
    found = _band(of_seeds)
    (mean,), (low,), (high,) = found.mean.tolist(), found.low.tolist(), found.high.tolist()
    axes.plot(
        [mean, mean], [at - _HALF, at + _HALF], color="black", linewidth=1.6, solid_capstyle="butt", zorder=3.0,
        label=f"_mean {member.label}",
    )  # fmt: skip
    if found.seeds == 1:
        return f"{member.label} {mean:.2f}, one seed"
    axes.fill_betweenx(
        [at - _HALF, at + _HALF], low, high, color=look.colour, alpha=0.22, linewidth=0.0, zorder=1.2,
        label=f"_band {member.label}",
    )  # fmt: skip
    return f"{member.label} {mean:.2f} (95 % interval {low:.2f} to {high:.2f}, {found.seeds} seeds)"
