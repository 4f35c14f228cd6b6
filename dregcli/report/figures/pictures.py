"""What trained models make: grids of images that ``dreg sample`` kept, pixel by pixel as they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dregcli.report.drawn import Drawn
from dregcli.report.figures.layout import wrapped
from dregcli.report.figures.members import MOST_OF_RUNS, Chosen, Member
from dregcli.report.groups import RunRow

Kind = Literal["samples", "reconstructions"]

CSS: Final = 96
"""Pixels of an inch on a page: a picture's pixel is one there, and one in the PNG."""

LARGEST: Final = 640
"""Of a picture's side: of larger ones the top left part is shown, for scaling would change their pixels."""

_GAP: Final = 16
_LINE: Final = 18
"""Height of a line of text, pixels."""

_WHAT: Final[dict[Kind, str]] = {
    "samples": "Samples: mean images of z from the prior",
    "reconstructions": "Reconstructions: left of each pair an image, right what the model makes of it",
}


@dataclass(frozen=True)
class Picture:
    """One grid of images.

    Attributes:
        run: whose, NAME/v001.
        pixels: shape (height, width, 3), uint8.
    """

    run: str
    pixels: NDArray[np.uint8]


PictureOf = Callable[[RunRow, Kind], Picture | None]


def picture_figure(chosen: Chosen, kind: Kind, of: PictureOf) -> Drawn | None:
    """Grids side by side, one of each group that has one, at most ``MOST_OF_RUNS``; None where there is none."""
    found = [(member, shot) for member in chosen.members if (shot := _of(member, kind, of)) is not None]
    if not found:
        return None
    shown = found[:MOST_OF_RUNS]
    few = f" ({len(shown)} of {len(found)} groups)" if len(shown) < len(found) else ""
    title = f"{_WHAT[kind]}{few}"
    figure = _laid_out([(member.label, shot) for member, shot in shown], title)
    told = "; ".join(f"{member.label} ({shot.run})" for member, shot in shown)
    return Drawn(kind, title, f"{title}. Grids of images of {told}.", figure, dpi=CSS)


def _of(member: Member, kind: Kind, of: PictureOf) -> Picture | None:
    """That of the first seed that has one."""
    return next((found for row in member.group.seeds() if (found := of(row, kind)) is not None), None)


def _laid_out(shots: Sequence[tuple[str, Picture]], title: str) -> Figure:
    """Two a row, at whole pixels: nothing is resampled."""
    cut = [shot.pixels[:LARGEST, :LARGEST] for _, shot in shots]
    columns = min(2, len(shots))
    across = max(image.shape[1] for image in cut)
    across = max(across, 480 // columns)  # or the words would have no room
    words = [_words(label, shot, across) for label, shot in shots]
    above = _LINE * max(text.count("\n") + 1 for text in words)
    rows = [range(i, min(i + columns, len(shots))) for i in range(0, len(shots), columns)]
    heights = [max(cut[i].shape[0] for i in row) for row in rows]
    width = columns * across + (columns + 1) * _GAP
    head = wrapped(title, width / CSS, size=1.2)
    top = _LINE * (head.count("\n") + 1) + _GAP
    height = top + sum(heights) + len(rows) * (above + _GAP)
    figure = Figure(figsize=(width / CSS, height / CSS), dpi=CSS)
    FigureCanvasAgg(figure)
    figure.text(0.5, 1.0 - 0.5 * _GAP / height, head, ha="center", va="top", fontsize="large")
    y = top
    for row, tallest in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            x, image = _GAP + column * (across + _GAP), cut[i]
            figure.text(x / width, 1.0 - y / height, words[i], ha="left", va="top", fontsize="small")
            bottom = height - y - above - image.shape[0]
            axes = figure.add_axes(
                (x / width, bottom / height, image.shape[1] / width, image.shape[0] / height), label=shots[i][1].run
            )
            axes.imshow(image, interpolation="none", aspect="auto")
            axes.set_axis_off()
        y += above + tallest + _GAP
    return figure


def _words(label: str, shot: Picture, width: int) -> str:
    part = ", top left part" if max(shot.pixels.shape[:2]) > LARGEST else ""
    return wrapped(f"{label}: {shot.run}{part}", width / CSS)
