"""The bound along training: bold for validation, thin for training, with intervals over seeds."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes

from dregcli.describe import bound_k
from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member, data_of, k_in_words
from dregcli.report.figures.ticks import number_axis, steps_axis
from dregcli.report.groups import Group
from dregcli.report.series import Band, series

Against = Literal["step", "seconds"]

_NAMES: Final = {"step": "steps", "seconds": "seconds"}
_VALIDATED: Final = "Thick, with markers: validation, mean over seeds where all seeds have values. "
_THIN: Final = "Thin: training batches. "
_UNLIKE: Final = "Training batches whose K is not that of validation are not drawn. "
_TRAINED: Final = (
    "Training batches only, mean over seeds: the seeds have no validations over a common part of training. "
)
_BAND: Final = "Band: 95\u00a0% interval of the mean over seeds (Student's\u00a0t)."


@dataclass(frozen=True)
class _Curves:
    """Curves of one group.

    Attributes:
        bold: the curve with a band, of validation if there is any, else of training.
        thin: the curve of training beside it; None if there is none.
        split: the split of ``bold``.
        has_unlike: whether the curve of training is left out, because its bounds have another K than validation.
    """

    bold: Band
    thin: Band | None
    split: Split
    has_unlike: bool = False

    def k(self, group: Group) -> int:
        """Return the K of the curves' bounds."""
        return bound_k(group.spec) if self.split is Split.VALID else group.spec["k"]


def bound_figure(chosen: Chosen, against: Against) -> Drawn | None:
    """Draw the bound of every group against steps or seconds; None if no run has a bound.

    A group without validation has its band around the training bound. The vertical axis omits values that occur only
    in the first tenth of training.
    """
    found = {member.group.key: curves for member in chosen.members if (curves := _curves(member, against))}
    members = [member for member in chosen.members if member.group.key in found]
    if not members:
        return None
    what = f"Bound against {_NAMES[against]}"
    figure = new_figure(chosen.sheet)
    axes = panels(figure, 1, 1)[0][0]
    entries: dict[str, Any] = {}
    ends = [_draw(axes, member, found[member.group.key], entries) for member in members]
    thin_ones = [curves.thin for curves in found.values() if curves.thin is not None]
    if (limits := style.late_limits([curves.bold for curves in found.values()], thin_ones)) is not None:
        axes.set_ylim(*limits)
    k = k_in_words(found[member.group.key].k(member.group) for member in members)
    axes.set_ylabel(f"IWAE bound at {k}, nats per example (larger is better)")
    style.grid(axes)
    if against == "step":
        steps_axis(axes)
    else:
        number_axis(axes, "seconds of optimisation (without evaluation)")
    validated = any(curves.split is Split.VALID for curves in found.values())
    several = any(curves.bold.seeds > 1 for curves in found.values())
    unlike = any(curves.has_unlike for curves in found.values())
    parts = [_VALIDATED, _THIN if thin_ones else "", _UNLIKE if unlike else ""] if validated else [_TRAINED]
    caption = "".join([f"Data: {data_of(members)}. ", *parts, _BAND if several else ""]).rstrip()
    title = chosen.titled(what)
    lay_out(figure, chosen.sheet, title, below=Below(entries, caption))
    text = f"{what}, nats per example, larger is better; at the right end of each curve: "
    text += f"{data_of(members)}, at {k}: {'; '.join(ends)}."
    return Drawn(f"bound-{_NAMES[against]}", title, text, figure, caption)


def _curves(member: Member, against: Against) -> _Curves | None:
    def of(split: Split) -> Band | None:
        return member.band(lambda row: series(row.metrics, split, "bound", against=against))

    valid, train = of(Split.VALID), of(Split.TRAIN)
    if valid is not None:
        spec = member.group.spec
        unlike = train is not None and bound_k(spec) != spec["k"]
        return _Curves(valid, None if unlike else train, Split.VALID, unlike)
    return None if train is None else _Curves(train, None, Split.TRAIN)


def _draw(axes: Axes, member: Member, curves: _Curves, entries: dict[str, Any]) -> str:
    """Draw one group and add its line to the legend's entries; return the curve's right end in words."""
    label = member.with_seeds(curves.bold.seeds)
    if curves.split is Split.TRAIN:
        label = f"{label}: training only"
    entries[label] = style.draw_band(axes, curves.bold, member.look, label, i=member.index)
    if (thin := curves.thin) is not None:
        look: dict[str, Any] = {"color": member.look.colour, "linewidth": 0.8, "alpha": 0.6, "zorder": 1.5}
        axes.plot(thin.x, thin.mean, label=f"_train {label}", marker="." if len(thin.x) == 1 else "", **look)
    return f"{label}: {curves.split} {style.at_the_end(curves.bold)}"
