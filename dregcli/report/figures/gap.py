"""The generalisation gap along training: the bound of training batches less the validation bound."""

from typing import Any, Final

from dregcli.describe import bound_k
from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, panels_by_data
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
    shown, few = panels_by_data([member for member in chosen.members if member.group.key in found])
    if not shown:
        return None
    what = "Generalisation gap"
    figure = new_figure(max(8.0, 5.4 * len(shown)))
    entries: dict[str, Any] = {}
    alt: list[str] = []
    for axes, panel in zip(panels(figure, 1, len(shown))[0], shown, strict=True):
        axes.axhline(0.0, color=style.GREY, linewidth=0.8, zorder=1.0)
        for member in panel.members:
            gap = found[member.group.key]
            label = member.with_seeds(gap.seeds)
            entries[label] = style.draw_band(axes, gap, member.look, label, i=member.index)
            alt.append(f"{label}: {style.at_the_end(gap)}")
        if (limits := style.late_limits([found[member.group.key] for member in panel.members])) is not None:
            axes.set_ylim(*limits)
        axes.set_title(panel.title, fontsize="medium")
        style.steps_axis(axes)
        axes.set_ylabel(f"training less validation bound\nat {panel.own_k}, nats per example")
        style.grid(axes)
    lay_out(figure, chosen.titled(what), height=3.0, entries=entries, caption=_CAPTION + few)
    text = "Training bound less validation bound against steps, nats per example; at the right end of each curve: "
    text += f"{'; '.join(alt)}."
    return Drawn("generalisation-gap", chosen.titled(what), text, figure)


def _gap(row: RunRow) -> Series | None:
    """Return the gap of a run; None if the run lacks one of the bounds, or if the two have different K."""
    if bound_k(row.spec) != row.spec["k"]:
        return None
    train, valid = (series(row.metrics, split, "bound") for split in (Split.TRAIN, Split.VALID))
    return difference(train, valid) if train is not None and valid is not None else None
