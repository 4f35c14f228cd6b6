"""A drawn figure, and how it becomes a file."""

import io
from dataclasses import dataclass
from typing import Final, Literal, get_args

from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

Suffix = Literal[".png", ".svg"]
SUFFIXES: Final[tuple[Suffix, ...]] = get_args(Suffix)

DPI: Final = 120
"""Dots per inch of a PNG. A page shows a figure at 96 pixels an inch, as browsers count."""


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: stem of the file names, in lower case with dashes.
        title: title for readers.
        alt: alternative text with the important numbers, for readers who do not see the figure.
        figure: matplotlib's figure, with its canvas; it uses no global state of matplotlib.
        dpi: dots per inch of the PNG; grids of images, whose pixels must not be scaled, use another value.
        caption: sentences that explain the figure.
        section: title of the report's section that the figure belongs to; empty if there is only one.
    """

    name: str
    title: str
    alt: str
    figure: Figure
    dpi: int = DPI
    caption: str = ""
    section: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on a page, in CSS pixels."""
        width, height = (float(each) for each in self.figure.get_size_inches())
        return round(96 * width), round(96 * height)

    def render(self, suffix: Suffix, *, dark: bool = False) -> bytes:
        """Return the content of the file, for a light or a dark page. Equal figures give equal bytes."""
        buffer = io.BytesIO()
        # By default, matplotlib puts random ids and today's date into an SVG.
        with rc_context({"svg.hashsalt": "dreg"}):
            if suffix == ".svg":
                self._print_svg(buffer)
            else:
                self.figure.savefig(buffer, format="png", metadata={"Software": "dreg"}, dpi=self.dpi)
        return buffer.getvalue()

    def _print_svg(self, buffer: io.BytesIO) -> None:
        """Print as ``savefig`` does, without its extra pass of drawing, which costs seconds with many figures."""
        dpi = self.figure.dpi
        try:
            FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None})
        finally:
            self.figure.dpi = dpi  # the canvas leaves the figure at SVG's own dpi
