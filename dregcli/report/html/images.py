"""Figures as images inside a page."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from dregcli.report.drawn import Drawn, Suffix
from dregcli.report.html.view import Image

LARGEST_SVG: Final = 400_000
"""Most bytes of a drawing as SVG; a larger one becomes a PNG, because pages are mailed and opened on phones."""

_TYPES: Final[dict[Suffix, str]] = {".svg": "image/svg+xml", ".png": "image/png"}


def images(figures: Sequence[Drawn]) -> tuple[Image, ...]:
    """Return drawings as SVG, sharp at any size. Pictures made of pixels, and too large drawings, become PNG."""
    return tuple(_image(drawn) for drawn in figures)


def _image(drawn: Drawn) -> Image:
    suffix: Suffix = ".png" if _has_pixels(drawn) else ".svg"
    light = drawn.render(suffix)
    if len(light) > LARGEST_SVG and suffix == ".svg":
        suffix = ".png"
        light = drawn.render(suffix)
    dark = drawn.render(suffix, dark=True)
    title = drawn.title.removeprefix(f"{drawn.section}: ")  # the part of the page has the section's title already
    width, height = drawn.size
    return Image(title, drawn.alt, width, height, _address(light, suffix), _address(dark, suffix), drawn.caption)


def _address(content: bytes, suffix: Suffix) -> str:
    return f"data:{_TYPES[suffix]};base64,{b64encode(content).decode()}"


def _has_pixels(drawn: Drawn) -> bool:
    return bool(drawn.figure.images) or any(axes.images for axes in drawn.figure.axes)
