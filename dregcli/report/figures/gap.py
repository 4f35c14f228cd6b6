"""The generalisation gap along training: the bound of training batches less the validation bound."""

from typing import Any, Final

from dregcli.describe import bound_k
from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, data_of, k_in_words
from dregcli.report.figures.ticks import steps_axis
from dregcli.report.groups import RunRow
from dregcli.report.series import Series, difference, series

_CAPTION: Final = (
    "The two bounds use different pixels and noise: new ones for each training batch, fixed ones for validation. "
    "Mean over seeds where all seeds have values; band: 95\u00a0% interval over seeds (Student's\u00a0t)."
)

_POINTS: Final = 30
"""Number of points of a curve. The bounds of training batches are noisy, so each point averages many batches."""


def gap_figure(chosen: Chosen) -> Drawn | None:
    """Draw the training bound less the validation bound against steps; None if no run has both."""
    found = {
        member.group.key: gap for member in chosen.members if (gap := member.band(_gap, points=_POINTS)) is not None
    }
    members = [member for member in chosen.members if member.group.key in found]
    if not members:
        return None
    title = chosen.titled("Generalisation gap")
    figure = new_figure(chosen.sheet)
    axes = panels(figure, 1, 1)[0][0]
    axes.axhline(0.0, color=style.GREY, linewidth=0.8, zorder=1.0)
    entries: dict[str, Any] = {}
    ends: list[str] = []
    for member in members:
        gap = found[member.group.key]
        label = member.with_seeds(gap.seeds)
        entries[label] = style.draw_band(axes, gap, member.look, label, i=member.index)
        ends.append(f"{label}: {style.at_the_end(gap)}")
    if (limits := style.late_limits([*found.values()])) is not None:
        axes.set_ylim(*limits)
    steps_axis(axes)
    k = k_in_words(bound_k(member.group.spec) for member in members)
    axes.set_ylabel(f"training less validation bound at {k}, nats per example")
    style.grid(axes)
    caption = f"Data: {data_of(members)}. {_CAPTION}"
    lay_out(figure, chosen.sheet, title, below=Below(entries, caption))
    text = "Training bound less validation bound against steps, nats per example; at the right end of each curve: "
    text += f"{'; '.join(ends)}."
    return Drawn("generalisation-gap", title, text, figure, caption)


def _gap(row: RunRow) -> Series | None:
    """Return the gap of a run; None if the run lacks one of the bounds, or if the two have different K."""
    if bound_k(row.spec) != row.spec["k"]:
        return None
    train, valid = (series(row.metrics, split, "bound") for split in (Split.TRAIN, Split.VALID))
    return difference(train, valid) if train is not None and valid is not None else None
