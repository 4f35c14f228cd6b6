"""Numbers and texts as people read them, alike in the terminal and on a page. Standard library only."""

import re
import shlex
from collections.abc import Sequence
from typing import Final

_HARMFUL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls, what turns the direction of all that follows, and the surrogates that stand for bytes of file
names which are no text."""


def number(value: float) -> str:
    """A number as progress and tables show it."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if abs(value) < 1e4 else f"{value:.4g}"


def with_error(value: float | None, stderr: float | None) -> str:
    """A number with its standard error, or a dash."""
    if value is None:
        return "-"
    return number(value) if stderr is None else f"{number(value)} ± {number(stderr)}"


def difference(value: float, stderr: float | None) -> str:
    """A difference of bounds with its standard error: signed, and finer than the bounds, as paired errors are."""
    return f"{value:+.4f}" if stderr is None else f"{value:+.4f} ± {stderr:.4f}"


AT_FLOOR: Final = "at the floor"
"""In place of a signal-to-noise ratio that could be of noise alone."""


def scientific(value: float, stderr: float | None) -> str:
    """A number of any size, with its standard error if there is one."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.1g}"


def counted(n: int, noun: str) -> str:
    """``1 seed``, ``5 seeds``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def some_of(names: Sequence[str], most: int = 4) -> str:
    """The first of some names, and how many more there are."""
    told = ", ".join(names[:most])
    return told if len(names) <= most else f"{told} and {len(names) - most} more"


def printable(text: str) -> str:
    """Text from anywhere, made harmless: what would move a terminal's cursor, colour or turn it is spelt out."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shell_command(argv: Sequence[str]) -> str:
    """What to paste into a shell (bash, zsh, ksh) to have these arguments; what nobody can see is spelt out."""
    return " ".join(shlex.quote(word) if word.isprintable() else _spelt_out(word) for word in argv)


def _spelt_out(word: str) -> str:
    """As ``$'...'``, the bytes of what cannot be seen in hexadecimal."""
    chars = (char if char.isprintable() else _bytes(char) for char in re.sub(r"([\\'])", r"\\\1", word))
    return f"$'{''.join(chars)}'"


def _bytes(char: str) -> str:
    code = ord(char)
    # Bytes of arguments that were no UTF-8 arrive as the surrogates U+DC80 to U+DCFF.
    found = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else char.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in found)
