"""The bound along training: bold for validation, thin for training, with intervals over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes

from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member, Panel, panels_by_data
from dregcli.report.series import Band, series

Against = Literal["step", "seconds"]

_NAMES: Final = {"step": "steps", "seconds": "seconds"}
_VALIDATED: Final = (
    "Bold, with markers: validation, mean over seeds where all seeds have values. Thin: training batches. "
)
_TRAINED: Final = (
    "Training batches only, mean over seeds: the seeds have no validations over a common part of training. "
)
_BAND: Final = "Band: 95\u00a0% interval of the mean over seeds (Student's\u00a0t)."


@dataclass(frozen=True)
class _Curves:
    """Curves of one group: a bold one with a band, of validation if there is any, and a thin one of training."""

    bold: Band
    thin: Band | None
    split: Split


def bound_figure(chosen: Chosen, against: Against) -> Drawn | None:
    """Draw the bound of every group against steps or seconds; None if no run has a bound.

    A group without validation has its band around the training bound. The vertical axis omits values that occur only
    in the first tenth of training.
    """
    found = {member.group.key: curves for member in chosen.members if (curves := _curves(member, against))}
    shown, few = panels_by_data([member for member in chosen.members if member.group.key in found])
    if not shown:
        return None
    what = f"Bound against {_NAMES[against]}"
    figure = new_figure(max(8.0, 5.4 * len(shown)))
    entries: dict[str, Any] = {}
    alt: list[str] = []
    for axes, panel in zip(panels(figure, 1, len(shown))[0], shown, strict=True):
        ends = _draw(axes, panel, found, entries)
        if against == "step":
            style.steps_axis(axes)
        else:
            axes.set_xlabel("seconds of optimisation (without evaluation)")
        alt.append(f"{panel.title}, at {panel.own_k}: {'; '.join(ends)}.")
    validated = any(curves.split is Split.VALID for curves in found.values())
    drawn = _VALIDATED if validated else _TRAINED
    lay_out(figure, chosen.titled(what), height=3.4, entries=entries, caption=drawn + _BAND + few)
    text = f"{what}, nats per example, larger is better; at the right end of each curve: {' '.join(alt)}"
    return Drawn(f"bound-{_NAMES[against]}", chosen.titled(what), text, figure)


def _curves(member: Member, against: Against) -> _Curves | None:
    def of(split: Split) -> Band | None:
        return member.band(lambda row: series(row.metrics, split, "bound", against=against))

    valid, train = of(Split.VALID), of(Split.TRAIN)
    if valid is not None:
        return _Curves(valid, train, Split.VALID)
    return None if train is None else _Curves(train, None, Split.TRAIN)


def _draw(axes: Axes, panel: Panel, found: Mapping[str, _Curves], entries: dict[str, Any]) -> list[str]:
    """Draw one panel and add its lines to the legend's entries; return the curves' right ends in words."""
    ends: list[str] = []
    mine = [(member, found[member.group.key]) for member in panel.members]
    for member, curves in mine:
        label = member.with_seeds(curves.bold.seeds)
        if curves.split is Split.TRAIN:
            label = f"{label}: training only"
        entries[label] = style.draw_band(axes, curves.bold, member.look, label, i=member.index)
        if (thin := curves.thin) is not None:
            look: dict[str, Any] = {"color": member.look.colour, "linewidth": 0.8, "alpha": 0.6, "zorder": 1.5}
            axes.plot(thin.x, thin.mean, label=f"_train {label}", marker="." if len(thin.x) == 1 else "", **look)
        ends.append(f"{label}: {curves.split} {style.at_the_end(curves.bold)}")
    thin_ones = [curves.thin for _, curves in mine if curves.thin is not None]
    if (limits := style.late_limits([curves.bold for _, curves in mine], thin_ones)) is not None:
        axes.set_ylim(*limits)
    axes.set_title(panel.title, fontsize="medium")
    axes.set_ylabel(f"IWAE bound at {panel.own_k},\nnats per example (larger is better)")
    style.grid(axes)
    return ends
