"""Images of trained models: the grids that ``dreg sample`` kept, with unchanged pixels."""

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
"""Pixels per inch on a page, so that a pixel of a picture is one pixel on a page and in the PNG."""

LARGEST: Final = 640
"""Most pixels of a picture's side. A larger picture is cut to its top left part; scaling would change its pixels."""

_NARROWEST: Final = 480
"""Smallest width of a figure, in about pixels: its words need room."""

_COLUMNS: Final = 2
"""Most grids in a figure; with more, the SVG would be large."""

_GAP: Final = 16
_LINE: Final = 18
"""Height of a line of text, pixels."""

_WHAT: Final[dict[Kind, str]] = {
    "samples": "Samples: mean images of z from the prior",
    "reconstructions": "Reconstructions: in each pair, the image is left and its reconstruction is right",
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
    """Draw the grid of one run of each group, two grids side by side; at most ``MOST_OF_RUNS`` grids."""
    found = [(member, shot) for member in chosen.members if (shot := _of(member, kind, of)) is not None]
    few = f" ({MOST_OF_RUNS} of {len(found)} groups)" if len(found) > MOST_OF_RUNS else ""
    title = f"{_WHAT[kind]}{few}"
    drawn: list[Drawn] = []
    for i in range(0, min(len(found), MOST_OF_RUNS), _COLUMNS):
        shown = found[i : min(i + _COLUMNS, MOST_OF_RUNS)]
        figure = _laid_out([(member.label, shot) for member, shot in shown], title)
        whose = "; ".join(f"{member.label} ({shot.run})" for member, shot in shown)
        name = f"{kind}-{len(drawn) + 1}"
        drawn.append(Drawn(name, title, f"{title}. Grids of images of {whose}.", figure, dpi=CSS))
    return drawn


def _of(member: Member, kind: Kind, of: PictureOf) -> Picture | None:
    """Return the picture of the first seed that has one."""
    return next((found for row in member.group.seeds() if (found := of(row, kind)) is not None), None)


def _laid_out(shots: Sequence[tuple[str, Picture]], title: str) -> Figure:
    """Place pictures side by side at whole pixels, so that nothing is resampled."""
    cut = [shot.pixels[:LARGEST, :LARGEST] for _, shot in shots]
    across = max(_NARROWEST // len(shots), *(image.shape[1] for image in cut))
    words = [_words(label, shot, across) for label, shot in shots]
    width = len(shots) * (across + _GAP) + _GAP
    head = wrapped(title, width / CSS, size=1.2)
    y = _GAP + _LINE * (head.count("\n") + 1)
    top = y + _LINE * max(text.count("\n") + 1 for text in words)
    height = top + max(image.shape[0] for image in cut) + _GAP
    figure = Figure(figsize=(width / CSS, height / CSS), dpi=CSS)
    FigureCanvasAgg(figure)
    figure.text(0.5, 1.0 - 0.5 * _GAP / height, head, ha="center", va="top", fontsize="large")
    for i, image in enumerate(cut):
        x, (down, wide, _) = _GAP + i * (across + _GAP), image.shape
        figure.text(x / width, 1.0 - y / height, words[i], ha="left", va="top", fontsize="small")
        place = (x / width, (height - top - down) / height, wide / width, down / height)
        axes = figure.add_axes(place, label=shots[i][1].run)
        axes.imshow(image, interpolation="none", aspect="auto")
        axes.set_axis_off()
    return figure


def _words(label: str, shot: Picture, width: int) -> str:
    part = ", top left part" if max(shot.pixels.shape[:2]) > LARGEST else ""
    return wrapped(f"{label}: {shot.run}{part}", width / CSS)
