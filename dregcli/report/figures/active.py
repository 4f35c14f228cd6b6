"""Active units: how much the mean of q varies over examples, latent by latent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import log_scale, whole_axis
from dregcli.report.groups import RunRow
from dregcli.report.series import Values

_CAPTION: Final = (
    "Variance over examples of q's mean, largest first: mean over seeds; band from the smallest to the largest seed. "
    "Dashed grey: the threshold above which a latent counts as active."
)
_LEAST: Final = 1e-8
"""Smallest drawn variance. Collapsed latents may have variances of 0, which a logarithmic axis cannot show."""


@dataclass(frozen=True)
class Latents:
    """The latents of a run in its newest evaluation.

    Attributes:
        variance: variance of q's mean over examples, shape (Z,).
        threshold: variance above which a latent is active.
    """

    variance: Values
    threshold: float

    @property
    def active(self) -> int:
        """Number of active latents."""
        return int((self.variance > self.threshold).sum())


LatentsOf = Callable[[RunRow], Latents | None]


def active_figure(chosen: Chosen, latents: LatentsOf) -> Drawn | None:
    """Draw the sorted variances of every run on a logarithmic axis, with the threshold; None if no run has them."""
    found: list[tuple[Member, list[Latents]]] = []
    for member in chosen.members:
        if of_seeds := [each for row in member.group.seeds() if (each := latents(row)) is not None]:
            found.append((member, of_seeds))
    if not found:
        return None
    title = chosen.titled("Active units")
    figure = new_figure(chosen.sheet)
    axes = panels(figure, 1, 1)[0][0]
    names = [f"{member.label}: {_counted(of_seeds)}" for member, of_seeds in found]
    entries = {
        name: _draw(axes, member, of_seeds, name) for name, (member, of_seeds) in zip(names, found, strict=True)
    }
    thresholds = sorted({each.threshold for _, of_seeds in found for each in of_seeds})
    for threshold in thresholds:
        axes.axhline(threshold, color=style.GREY, linestyle="--", linewidth=1.2, label="_threshold")
    log_scale(axes, *_limits(found, thresholds))
    whole_axis(axes, "latents, sorted by their variance")
    axes.set_ylabel("variance over examples of q's mean")
    style.grid(axes)
    lay_out(figure, chosen.sheet, title, below=Below(entries, _CAPTION))
    above = " and ".join(f"{each:g}" for each in thresholds)
    text = f"Variance over examples of q's mean by latent, largest first; active above {above}. {'; '.join(names)}."
    return Drawn("active-units", title, text, figure, _CAPTION)


def _draw(axes: Axes, member: Member, of_seeds: Sequence[Latents], label: str) -> Line2D:
    """Draw the mean and the range over seeds of the variances in falling order, without negligible ones."""
    latents = min(len(each.variance) for each in of_seeds)
    values = np.stack([np.sort(each.variance)[::-1][:latents] for each in of_seeds])
    ranks, mean = np.arange(1.0, latents + 1.0), values.mean(axis=0)
    if len(of_seeds) > 1:
        low, high = (np.maximum(each, _LEAST) for each in (values.min(axis=0), values.max(axis=0)))
        style.fill_between(axes, ranks, low, high, member.look, label)
    return style.draw_line(axes, ranks, np.where(mean < _LEAST, np.nan, mean), member.look, label, i=member.index)


def _limits(found: Sequence[tuple[Member, Sequence[Latents]]], thresholds: Sequence[float]) -> tuple[float, float]:
    """Return limits that show all variances except negligible ones, and the threshold."""
    every = np.concatenate([*(each.variance for _, of_seeds in found for each in of_seeds), thresholds])
    every = every[every >= _LEAST]
    return (float(every.min()) / 2.0, float(every.max()) * 2.0) if every.size else (_LEAST, 1.0)


def _counted(of_seeds: Sequence[Latents]) -> str:
    """Say how many of the latents are active: the mean over seeds, and the range if the seeds differ."""
    counts = [each.active for each in of_seeds]
    latents = max(len(each.variance) for each in of_seeds)
    if len(set(counts)) == 1:
        return f"{counts[0]} of {latents} active"
    return f"{fmean(counts):.1f} of {latents} active ({min(counts)} to {max(counts)} over {len(counts)} seeds)"
