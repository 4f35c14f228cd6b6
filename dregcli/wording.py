"""Numbers and texts as people read them, alike in the terminal and on a page. Standard library only."""

import re
import shlex
import unicodedata
from collections.abc import Sequence
from typing import Final

_HARMFUL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls, what turns the direction of all that follows, and the surrogates that stand for bytes of file
names which are no text."""


_IN_ASCII: Final = {
    **{"±": "+/-", "×": "x", "·": "*", "²": "^2", "³": "^3", "−": "-", "–": "-", "—": "-", "…": "...", "•": "*"},  # noqa: RUF001
    **{"→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt", "∑": "sum"},
    **{"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "\u200b": "", "✓": "yes", "✗": "no"},  # noqa: RUF001
    **dict(zip("▁▂▃▄▅▆▇█▀", "_.-:=+*#^", strict=True)),
}
"""The field's signs, and the blocks of sparklines and pictures, each as high as it can be."""

_LYING: Final = ("HORIZONTAL", "LEFT", "RIGHT")


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


def encodable(text: str, encoding: str) -> str:
    """Text in characters that an encoding has: what it lacks is put in ASCII as people would, or spelt out."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(char if _has(encoding, char) else in_ascii(char) for char in text)
    return text


def _has(encoding: str, char: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def in_ascii(char: str) -> str:
    """A character as people put it where there is only ASCII."""
    name = unicodedata.name(char, "")
    if char in _IN_ASCII:
        return _IN_ASCII[char]
    if name.startswith("BOX DRAWINGS"):
        lies, stands = any(word in name for word in _LYING), "VERTICAL" in name or "UP" in name or "DOWN" in name
        return "+" if lies and stands else "-" if lies else "|"
    if name.startswith("GREEK ") and " LETTER " in name:
        letter = name.split(" LETTER ")[1].split(" ")[0]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return bare if bare.isascii() and bare else char.encode("unicode_escape").decode()


def shell_command(argv: Sequence[str], encoding: str = "utf-8") -> str:
    """What to paste into a shell (bash, zsh, ksh) to have these arguments; what nobody can see is spelt out.

    Args:
        argv: the words.
        encoding: of where it is shown; characters that it lacks cannot be seen.
    """
    return " ".join(
        shlex.quote(word) if word.isprintable() and encodable(word, encoding) == word else _spelt_out(word, encoding)
        for word in argv
    )


def _spelt_out(word: str, encoding: str) -> str:
    """As ``$'...'``, the bytes of what cannot be seen in hexadecimal."""
    escaped = re.sub(r"([\\'])", r"\\\1", word)
    chars = (char if char.isprintable() and _has(encoding, char) else _bytes(char) for char in escaped)
    return f"$'{''.join(chars)}'"


def _bytes(char: str) -> str:
    code = ord(char)
    # Bytes of arguments that were no UTF-8 arrive as the surrogates U+DC80 to U+DCFF.
    found = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else char.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in found)
