"""A figure that is drawn, and how it becomes a file."""

import io
from dataclasses import dataclass
from typing import Final, Literal, get_args

from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

Suffix = Literal[".png", ".svg"]
SUFFIXES: Final[tuple[Suffix, ...]] = get_args(Suffix)

DPI: Final = 120
"""Of PNG; a page shows a figure at 96 pixels an inch, as browsers count."""


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: stem of its files: lower case, with dashes.
        title: what it is of, for people.
        alt: what is to be seen, in words, with the numbers that matter: for those who do not see it.
        figure: matplotlib's, with its canvas; no global state has a part in it.
        dpi: of PNG; pictures whose pixels count have their own.
    """

    name: str
    title: str
    alt: str
    figure: Figure
    dpi: int = DPI

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on a page, in CSS pixels."""
        width, height = (float(each) for each in self.figure.get_size_inches())
        return round(96 * width), round(96 * height)

    def render(self, suffix: Suffix) -> bytes:
        """The file: equal content is equal bytes."""
        buffer = io.BytesIO()
        # Ids in an SVG are random, and its date is today's, if nobody says otherwise.
        with rc_context({"svg.hashsalt": "dreg"}):
            if suffix == ".svg":
                self._print_svg(buffer)
            else:
                self.figure.savefig(buffer, format="png", metadata={"Software": "dreg"}, dpi=self.dpi)
        return buffer.getvalue()

    def _print_svg(self, buffer: io.BytesIO) -> None:
        """As ``savefig`` does, but for its drawing everything once more before: of many figures that is seconds."""
        dpi = self.figure.dpi
        try:
            FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None})
        finally:
            self.figure.dpi = dpi  # which the canvas leaves at that of SVG
