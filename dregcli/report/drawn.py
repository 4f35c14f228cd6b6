"""A drawn figure, and how it becomes a file."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

Suffix = Literal[".png", ".svg", ".pdf"]
SUFFIXES: Final[tuple[Suffix, ...]] = get_args(Suffix)

DPI: Final = 160
"""Usual number of dots per inch of a PNG."""

PLAIN_TEXT: Final[dict[Any, Any]] = {"text.parse_math": False}
"""Settings of matplotlib with which it shows dollar signs of names as they are, in place of reading formulas."""

_DARK: Final = {
    "#000000": "#e6e6e6",
    "#ffffff": "#1c1c1c",
    "#0072b2": "#4ba3e3",
    "#d55e00": "#ff8a3d",
    "#009e73": "#2cc295",
    "#cc79a7": "#e59ac3",
    "#e69f00": "#f5b93a",
    "#56b4e9": "#9bd5f7",
    "#8c564b": "#c49c94",
    "#6a51a3": "#a997d8",
    "#882255": "#d987ad",
    "#999933": "#c9c96a",
    "#332288": "#9a8fe0",
    "#777777": "#a0a0a0",
    "#b0b0b0": "#808080",
}
"""The colour on a dark page of each colour that figures use."""

_PROPERTIES: Final = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: stem of the file names, in lower case with dashes.
        title: title for readers.
        alt: alternative text with the important numbers, for readers who do not see the figure.
        figure: matplotlib's figure, with its canvas; it uses no global state of matplotlib.
        caption: sentences that explain the figure.
        section: the report's section that the figure belongs to; empty if there is only one.
    """

    name: str
    title: str
    alt: str
    figure: Figure
    caption: str = ""
    section: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on a page, in CSS pixels."""
        width, height = (float(each) for each in self.figure.get_size_inches())
        return round(96 * width), round(96 * height)

    def render(self, suffix: Suffix, *, dark: bool = False, dpi: int = DPI) -> bytes:
        """Return the content of the file. Equal figures give equal bytes.

        Args:
            suffix: kind of the file.
            dark: whether the figure is for a dark page. Its letters are light, its colours are lighter, and its
                background is transparent.
            dpi: dots per inch of a PNG.
        """
        if dark:
            with _darkened(self.figure):
                return self._content(suffix, dpi)
        return self._content(suffix, dpi)

    def _content(self, suffix: Suffix, dpi: int) -> bytes:
        buffer = io.BytesIO()
        # By default, matplotlib puts random ids and today's date into an SVG. Type 42 keeps a PDF's text as text, in
        # fonts that publishers accept.
        with rc_context({"svg.hashsalt": "dreg", "pdf.fonttype": 42, **PLAIN_TEXT}):
            self._print(buffer, suffix, dpi)
        return buffer.getvalue()

    def _print(self, buffer: io.BytesIO, suffix: Suffix, dpi: int) -> None:
        """Print as ``savefig`` does, without its extra pass of drawing, which costs seconds with many figures."""
        own = self.figure.dpi
        try:
            if suffix == ".svg":
                FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None})
            elif suffix == ".pdf":
                metadata: dict[str, Any] = {"Creator": "dreg", "CreationDate": None}
                FigureCanvasPdf(self.figure).print_pdf(buffer, metadata=metadata)
            else:
                self.figure.dpi = dpi
                with _smooth(self.figure):
                    FigureCanvasAgg(self.figure).print_png(buffer, metadata={"Software": "dreg"})
        finally:
            self.figure.dpi = own


@contextmanager
def _smooth(figure: Figure) -> Generator[None]:
    """Average the pixels of images that are shown smaller than they are. A vector file keeps them as they are."""
    images: list[Any] = [image for axes in figure.axes for image in axes.images]
    before = [image.get_interpolation() for image in images]
    try:
        for image in images:
            image.set_interpolation("auto")
        yield
    finally:
        for image, own in zip(images, before, strict=True):
            image.set_interpolation(own)


@contextmanager
def _darkened(figure: Figure) -> Generator[None]:
    """Give a figure the colours of a dark page, and its own colours again in the end."""
    before: list[tuple[Artist, str, Any]] = []
    backgrounds = [figure.patch, *(axes.patch for axes in figure.axes)]
    try:
        for artist in figure.findobj():
            for name in _PROPERTIES:
                found = getattr(artist, f"get_{name}", None)
                if found is None or not hasattr(artist, f"set_{name}"):
                    continue
                own = found()
                dark = "none" if artist in backgrounds and name == "facecolor" else _dark(own)
                if dark is not None:
                    before.append((artist, name, own))
                    artist.set(**{name: dark})
        for axes in figure.axes:  # ticks that are made later
            axes.tick_params(which="both", color=_DARK["#000000"], labelcolor=_DARK["#000000"])
        yield
    finally:
        for axes in figure.axes:
            axes.tick_params(which="both", color="#000000", labelcolor="#000000")
        for artist, name, own in reversed(before):
            artist.set(**{name: own})


def _dark(colour: Any) -> Any:  # noqa: ANN401 - a colour of matplotlib, or an array of them
    """Return the dark page's colour, or colours; None if nothing changes."""
    if isinstance(colour, str) and colour in ("none", "auto", "inherit", "face"):
        return None
    try:
        every = [to_rgba(each) for each in (colour if np.ndim(colour) == 2 else [colour])]
    except (ValueError, TypeError):
        return None
    mapped = [(_DARK.get(to_hex(each[:3])), each[3]) for each in every]
    if all(new is None for new, _ in mapped):
        return None
    dark = [to_rgba(new, alpha) if new else each for (new, alpha), each in zip(mapped, every, strict=True)]
    return dark[0] if len(dark) == 1 else dark
