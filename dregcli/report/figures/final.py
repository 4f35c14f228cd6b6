"""Final bounds by group: a dot for every seed, lines that join equal seeds, and means with intervals."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from dregcli.report.comparison import Comparison, Measure, measured
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import lay_out, new_figure, panels, wrapped
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.series import Band

_BELOW: Final = 0.26
"""Distance of a group's mean below its dots, in rows."""

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
    figure = new_figure(8.0)
    axes = panels(figure, 1, 1)[0][0]
    _join(axes, [of_seeds for _, of_seeds in rows])
    texts = [_row(axes, at, member, of_seeds) for at, (member, of_seeds) in enumerate(rows)]
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [wrapped(member.label, 3.4) for member, _ in rows], fontsize="small")
    for label, (member, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if member.group.key in equal else "normal")
    axes.set_xlabel(f"{measure.text},\nnats per example (larger is better)")
    style.grid(axes)
    caption = "Dots: seeds; grey lines join the same seed. Below the dots: the mean and its "
    caption += "95\u00a0% interval (Student's\u00a0t)."
    if equal:
        caption += " Bold: the best group, and groups that the paired test has not found lower."
    if others := len(chosen.members) - len(rows):
        caption += f" {others} group{'s have' if others > 1 else ' has'} no such bound."
    lay_out(figure, title, height=0.3 + 0.42 * len(rows), caption=caption)
    text = f"{measure.text}, nats per example, larger is better, the highest first: {'; '.join(texts)}."
    return Drawn("final-bounds", title, text, figure)


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
    found = Band(np.array([0.0]), np.asarray(values)[:, None])
    (mean,), (low,), (high,) = found.mean.tolist(), found.low.tolist(), found.high.tolist()
    bar = [[mean - low], [high - mean]] if found.seeds > 1 else None
    axes.errorbar(
        [mean],
        [at + _BELOW],
        xerr=bar,
        color="black",
        marker="|",
        markersize=9.0,
        capsize=3.0,
        linewidth=1.4,
        label=f"_mean {member.label}",
    )
    if found.seeds == 1:
        return f"{member.label} {mean:.2f}, one seed"
    return f"{member.label} {mean:.2f} (95 % interval {low:.2f} to {high:.2f}, {found.seeds} seeds)"
