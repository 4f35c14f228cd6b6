"""Figures as images inside a page."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from dregcli.report.drawn import Drawn, Suffix
from dregcli.report.html.view import Image, Source

LARGEST_SVG: Final = 400_000
"""Most bytes of a drawing as SVG; a larger one becomes a PNG, because pages are mailed and opened on phones."""

_TYPES: Final[dict[Suffix, str]] = {".svg": "image/svg+xml", ".png": "image/png"}


def images(figures: Sequence[Drawn], narrow: Sequence[Drawn] = ()) -> tuple[Image, ...]:
    """Return drawings as SVG, sharp at any size. Pictures made of pixels, and too large drawings, become PNG.

    Args:
        figures: the figures.
        narrow: the same figures as a phone shows them, with their panels below one another; those that are missing
            look the same everywhere.
    """
    on_phones = {(drawn.section, drawn.name): drawn for drawn in narrow}
    return tuple(_image(drawn, on_phones.get((drawn.section, drawn.name))) for drawn in figures)


def _image(drawn: Drawn, narrow: Drawn | None) -> Image:
    return Image(drawn.title, drawn.alt, _source(drawn), _source(narrow) if narrow else None, drawn.caption)


def _source(drawn: Drawn) -> Source:
    suffix: Suffix = ".png" if _has_pixels(drawn) else ".svg"
    light = drawn.render(suffix)
    if len(light) > LARGEST_SVG and suffix == ".svg":
        suffix = ".png"
        light = drawn.render(suffix)
    width, height = drawn.size
    return Source(width, height, _address(light, suffix), _address(drawn.render(suffix, dark=True), suffix))


def _address(content: bytes, suffix: Suffix) -> str:
    return f"data:{_TYPES[suffix]};base64,{b64encode(content).decode()}"


def _has_pixels(drawn: Drawn) -> bool:
    return bool(drawn.figure.images) or any(axes.images for axes in drawn.figure.axes)
