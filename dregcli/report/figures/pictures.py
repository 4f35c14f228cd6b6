"""Images of trained models: the grids that ``dreg sample`` kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dregcli.report.drawn import Drawn
from dregcli.report.figures.layout import Below, lay_out, new_figure, panel_grid
from dregcli.report.figures.members import MOST_OF_RUNS, Chosen, Member
from dregcli.report.figures.sheet import Sheet
from dregcli.report.groups import RunRow

Kind = Literal["samples", "reconstructions", "reconstructions-layers"]

LARGEST: Final = 1600
"""Most pixels of a picture's side; a larger picture is made smaller, because a file would be large."""

_TOGETHER: Final = 2
"""Most grids in a figure; with more, the SVG would be large."""

_LEAST: Final = 22.0
"""Width that a grid needs, in multiples of the letters' size."""

_WHAT: Final[dict[Kind, str]] = {
    "samples": "Samples",
    "reconstructions": "Reconstructions",
    "reconstructions-layers": "Reconstructions from each layer",
}

_CAPTIONS: Final[dict[Kind, str]] = {
    "samples": "Mean images of the decoder for z from the prior, of one run of each group.",
    "reconstructions": "In each pair, the image is left and its reconstruction is right; one run of each group.",
    "reconstructions-layers": "In each row: the image, its reconstruction from all layers, and images from one layer "
    "and the layers above, in which the layers below are drawn from their priors; one run of each group.",
}


@dataclass(frozen=True)
class Picture:
    """One grid of images.

    Attributes:
        run: the run, as NAME/v001.
        pixels: pixels, shape (height, width, 3), uint8.
    """

    run: str
    pixels: NDArray[np.uint8]


PictureOf = Callable[[RunRow, Kind], Picture | None]


def picture_figures(chosen: Chosen, kind: Kind, of: PictureOf) -> list[Drawn]:
    """Draw the grid of one run of each group, two grids in a figure; at most ``MOST_OF_RUNS`` grids."""
    found = [(member, shot) for member in chosen.members if (shot := _of(member, kind, of)) is not None]
    few = f" ({MOST_OF_RUNS} of {len(found)} groups)" if len(found) > MOST_OF_RUNS else ""
    title = chosen.sheet.titled(f"{_WHAT[kind]}{few}")
    drawn: list[Drawn] = []
    for i in range(0, min(len(found), MOST_OF_RUNS), _TOGETHER):
        shown = found[i : min(i + _TOGETHER, MOST_OF_RUNS)]
        figure = _laid_out([(member.label, shot) for member, shot in shown], title, chosen.sheet, _CAPTIONS[kind])
        whose = "; ".join(f"{member.label} ({shot.run})" for member, shot in shown)
        name = f"{kind}-{len(drawn) + 1}"
        drawn.append(Drawn(name, title, f"{title}. Grids of images of {whose}.", figure, _CAPTIONS[kind]))
    return drawn


def _of(member: Member, kind: Kind, of: PictureOf) -> Picture | None:
    """Return the picture of the first seed that has one."""
    return next((found for row in member.group.seeds() if (found := of(row, kind)) is not None), None)


def _laid_out(shots: Sequence[tuple[str, Picture]], title: str, sheet: Sheet, caption: str) -> Figure:
    """Place pictures in frames of one size. A file with vectors keeps their pixels as they are."""
    figure = new_figure(sheet)
    for axes, (label, shot) in zip(panel_grid(figure, sheet, len(shots), least=_LEAST), shots, strict=True):
        axes.imshow(shot.pixels, interpolation="none", aspect="equal")
        axes.set_anchor("N")
        axes.set_label(shot.run)
        axes.set_title(f"{label}\n{shot.run}" if label != shot.run else label)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_visible(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    shape = max(shot.pixels.shape[0] / shot.pixels.shape[1] for _, shot in shots)
    lay_out(figure, sheet, title, below=Below({}, caption), shape=shape)
    return figure
