"""Break text into lines by the widths of its letters, without drawing it."""

import re
from functools import lru_cache
from typing import Final

from matplotlib import font_manager

_JOINT: Final = "\u200b"
"""Mark of a place where a word may be broken."""

_BOLD: Final = 1.12
"""Width of bold letters, in multiples of the width of others."""


def font_file() -> str:
    """Return the file of the font that figures use."""
    return str(font_manager.findfont(font_manager.FontProperties()))


@lru_cache
def _advance(letter: str) -> float:
    """Return the width of a letter, in multiples of its size."""
    font = font_manager.get_font(font_file())
    font.set_size(100.0, 72.0)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536.0 / 100.0


def text_width(text: str, points: float) -> float:
    """Return the width of the longest line with letters of this size, inches."""
    return max(sum(map(_advance, line)) for line in text.split("\n")) * points / 72.0


def wrapped(text: str, width: float, points: float, *, bold: bool = False) -> str:
    """Break text with letters of this size into lines that fit into a width in inches.

    Words with parameters break after commas, slashes and colons; longer parts break anywhere.
    """
    width = max(width, 4.0 * points / 72.0) / (_BOLD if bold else 1.0)
    return "\n".join(_line(line, width, points) for line in text.split("\n"))


def _line(text: str, width: float, points: float) -> str:
    parts = re.sub(r"([,/:])(?=\S)", f"\\1{_JOINT}", text.strip())
    lines = [""]
    for part in re.findall(rf"[^ {_JOINT}]+[ {_JOINT}]?", parts):
        word = part.rstrip(f" {_JOINT}")
        if lines[-1] and text_width(lines[-1] + word, points) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        while text_width(lines[-1] + word, points) > width:
            fitting = max(1, next(n for n in range(len(word), -1, -1) if text_width(word[:n], points) <= width))
            lines[-1] = word[:fitting]
            word = word[fitting:]
            lines.append("")
        lines[-1] += word + (" " if part.endswith(" ") else "")
    return "\n".join(lines).rstrip()
