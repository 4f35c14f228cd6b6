"""Pixels on a terminal: each character shows two pixels, one above the other."""

from collections.abc import Sequence
from typing import Final

from rich.color import Color
from rich.style import Style
from rich.text import Text

Colour = Sequence[int]
"""Red, green and blue, each from 0 to 255."""

_UPPER_HALF: Final = "\u2580"


def half_blocks(pixels: Sequence[Sequence[Colour]]) -> Text:
    """Draw rows of pixels; their number must be even."""
    lines: list[Text] = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text(no_wrap=True)
        for above, below in zip(upper, lower, strict=True):
            line.append(_UPPER_HALF, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        lines.append(line)
    return Text("\n").join(lines)
