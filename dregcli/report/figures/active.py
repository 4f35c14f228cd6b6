"""Active units: how much the mean of q varies over examples, latent by latent."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dregcli.names import Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import log_scale, whole_axis
from dregcli.report.groups import RunRow
from dregcli.report.series import Values
from dregcli.wording import listed

_CAPTION: Final = (
    "Variance over examples of q's mean, largest first: mean over seeds; band from the smallest to the largest seed. "
    "Dashed grey: the threshold above which a latent counts as active."
)
_LEAST: Final = 1e-8
"""Smallest drawn variance. Collapsed latents may have variances of 0, which a logarithmic axis cannot show."""


Attrs = Mapping[str, Any]
VariancesOf = Callable[[RunRow, Attrs], Values | None]
"""Returns the variances over examples of q's mean that an evaluation of a run has kept, shape (Z,)."""


class _Of(NamedTuple):
    """The properties that evaluations must share so that their variances are drawn together."""

    split: str
    n: int
    seed: int
    threshold: float

    @property
    def text(self) -> str:
        """The properties in words."""
        return f"{self.split}, {self.n:,} examples, evaluation seed {self.seed}"


def active_figure(chosen: Chosen, variances: VariancesOf) -> Drawn | None:
    """Draw the sorted variances of every run on a logarithmic axis, with the threshold; None if no run has them.

    All are of one kind of evaluation at the end of training: the kind that most runs have.
    """
    evaluations = {member.index: _evaluations(member) for member in chosen.members}
    counts = Counter(of for of_seeds in evaluations.values() for each in of_seeds for of in each[1])
    if not counts:
        return None
    of = max(counts, key=lambda of: (counts[of], of.split == Split.TEST.value, of.n, -of.seed))
    found: list[tuple[Member, list[Values]]] = []
    for member in chosen.members:
        kept = [(row, each[of]) for row, each in evaluations[member.index] if of in each]
        if of_seeds := [each for row, attrs in kept if (each := variances(row, attrs)) is not None]:
            found.append((member, of_seeds))
    if not found:
        return None
    title = chosen.titled("Active units")
    figure = new_figure(chosen.sheet)
    axes = panels(figure, 1, 1)[0][0]
    names = [f"{_label(member, len(of_seeds))}: {_counted(of_seeds, of.threshold)}" for member, of_seeds in found]
    entries = {
        name: _draw(axes, member, of_seeds, name) for name, (member, of_seeds) in zip(names, found, strict=True)
    }
    axes.axhline(of.threshold, color=style.GREY, linestyle="--", linewidth=1.2, label="_threshold")
    log_scale(axes, *_limits([each for _, of_seeds in found for each in of_seeds], of.threshold))
    whole_axis(axes, "latents, sorted by their variance")
    axes.set_ylabel("variance over examples of q's mean")
    style.grid(axes)
    drawn = {member.index for member, _ in found}
    others = [each.label for each in chosen.members if evaluations[each.index] and each.index not in drawn]
    left_out = f" Not drawn, because they lack this evaluation: {listed(others)}." if others else ""
    caption = f"Evaluations of {of.text}. {_CAPTION}{left_out}"
    lay_out(figure, chosen.sheet, title, below=Below(entries, caption))
    text = (
        f"Variance over examples of q's mean by latent, largest first; {of.text}; active above {of.threshold:g}. "
        f"{'; '.join(names)}."
    )
    return Drawn("active-units", title, text, figure, caption)


def _evaluations(member: Member) -> list[tuple[RunRow, dict[_Of, Attrs]]]:
    """Return the newest evaluation of each kind with known active units, for each seed that has one."""
    found: list[tuple[RunRow, dict[_Of, Attrs]]] = []
    for row in member.group.seeds():
        counted = [each for each in row.evals_at_end if each.get("active_units") is not None]
        known = [each for each in counted if each.get("active_threshold") is not None]
        kinds = {_Of(each["split"], each["n"], each["seed"], each["active_threshold"]): each for each in known}
        found += [(row, kinds)] if kinds else []
    return found


def _label(member: Member, seeds: int) -> str:
    """Return the label, with the number of seeds if some have no such evaluation."""
    return member.label if seeds == len(member.group.seeds()) else member.with_seeds(seeds, lacking="")


def _draw(axes: Axes, member: Member, of_seeds: Sequence[Values], label: str) -> Line2D:
    """Draw the mean and the range over seeds of the variances in falling order, without negligible ones."""
    latents = min(map(len, of_seeds))
    values = np.stack([np.sort(each)[::-1][:latents] for each in of_seeds])
    ranks, mean = np.arange(1.0, latents + 1.0), values.mean(axis=0)
    if len(of_seeds) > 1:
        low, high = (np.maximum(each, _LEAST) for each in (values.min(axis=0), values.max(axis=0)))
        style.fill_between(axes, ranks, low, high, member.look, label)
    return style.draw_line(axes, ranks, np.where(mean < _LEAST, np.nan, mean), member.look, label, i=member.index)


def _limits(found: Sequence[Values], threshold: float) -> tuple[float, float]:
    """Return limits that show all variances except negligible ones, and the threshold."""
    every = np.concatenate([*found, [threshold]])
    every = every[every >= _LEAST]
    return (float(every.min()) / 2.0, float(every.max()) * 2.0) if every.size else (_LEAST, 1.0)


def _counted(of_seeds: Sequence[Values], threshold: float) -> str:
    """Say how many of the latents are active: the mean over seeds, and the range if the seeds differ."""
    counts = [int((each > threshold).sum()) for each in of_seeds]
    latents = max(map(len, of_seeds))
    if len(set(counts)) == 1:
        return f"{counts[0]} of {latents} active"
    return f"{fmean(counts):.1f} of {latents} active ({min(counts)} to {max(counts)} over {len(counts)} seeds)"
