"""Numbers and texts as people read them, the same in the terminal and on a page. Standard library only."""

import itertools
import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, cast

_HARMFUL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 control characters, characters that change the direction of the following text, and the surrogates that
represent undecodable bytes of file names."""


_IN_ASCII: Final = {
    "⁻": "-",
    **{"±": "+/-", "×": "x", "·": "*", "²": "^2", "³": "^3", "−": "-", "–": "-", "—": "-", "…": "...", "•": "*"},  # noqa: RUF001
    **{"→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt", "∑": "sum"},
    **{"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "\u200b": "", "✓": "yes", "✗": "no"},  # noqa: RUF001
    **dict(zip("▁▂▃▄▅▆▇█▀", "_.-:=+*#^", strict=True)),
}
"""ASCII replacements for mathematical signs, and for the blocks of sparklines and pictures, by their height."""

_HORIZONTAL: Final = ("HORIZONTAL", "LEFT", "RIGHT")


_HUGE: Final = 1e7
"""Size from which on a number, or an error, is shown by four digits and a power of ten."""


def number(value: float) -> str:
    """Format a number for progress and tables."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if abs(value) < _HUGE else f"{value:.4g}"


def with_error(value: float | None, stderr: float | None) -> str:
    """Format a number with its standard error; return a dash if there is no number.

    Both have two decimals, so that the number keeps every digit that its error resolves. An error that two decimals
    would show as zero is shown with its first digit, and the number with as many decimals.
    """
    if value is None:
        return "-"
    if stderr is None:
        return number(value)
    if stderr >= _HUGE:
        return f"{number(value)} ± {number(stderr)}"
    decimals = _decimals(stderr, 2)
    return f"{value:.{decimals}f} ± {stderr:.{decimals}f}"


_MOST_DECIMALS: Final = 8
"""A smaller error is that of rounding."""


def _decimals(stderr: float, usual: int) -> int:
    """Return the usual number of decimals, or as many as an error needs that these would show as zero."""
    return min(-math.floor(math.log10(stderr)), _MOST_DECIMALS) if 0.0 < stderr < 0.5 * 10.0**-usual else usual


def difference(value: float, stderr: float | None) -> str:
    """Format a difference of bounds with its standard error.

    The difference has a sign and more digits than the bounds, because paired errors are smaller. As in
    ``with_error``, no error above 0 is shown as zero.
    """
    if stderr is None:
        return f"{value:+.4f}"
    decimals = _decimals(stderr, 4)
    return f"{value:+.{decimals}f} ± {stderr:.{decimals}f}"


def interval(ends: tuple[float, float], stderr: float | None) -> str:
    """Format an interval of a difference, with the decimals of ``difference``."""
    decimals = 4 if stderr is None else _decimals(stderr, 4)
    return "[" + ", ".join(f"{end:+.{decimals}f}" for end in ends) + "]"


AT_FLOOR: Final = "at the floor"
"""Shown in place of a signal-to-noise ratio that pure noise could have, too."""


def scientific(value: float, stderr: float | None) -> str:
    """Format a number of any size, with its standard error if there is one."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.1g}"


def duration(seconds: float) -> str:
    """Format a duration: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def counted(n: int, noun: str) -> str:
    """Format a count with its noun: ``1 seed``, ``5 seeds``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def typed_list(values: Sequence[object], shown: Callable[[object], str] = str) -> str:
    """Join values by commas, and lists of them by slashes, as the command line takes them: ``200,200/100``."""
    is_nested = any(isinstance(each, list | tuple) for each in values)
    parts = (
        typed_list(cast("Sequence[object]", each), shown) if isinstance(each, list | tuple) else shown(each)
        for each in values
    )
    return ("/" if is_nested else ",").join(parts)


def some_of(names: Sequence[str], most: int = 4) -> str:
    """Join the first names, and say how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def listed(parts: Sequence[str]) -> str:
    """Join parts as ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), *parts[-1:]] if len(parts) > 1 else parts)


def slugs(texts: Sequence[str]) -> list[str]:
    """Return a different word for each text, of its letters a to z and digits; equal words get numbers."""
    found: list[str] = []
    for text in texts:
        word = "-".join(re.findall("[a-z0-9]+", text.lower())) or "part"
        numbered = (word if i == 1 else f"{word}-{i}" for i in itertools.count(1))
        found.append(next(each for each in numbered if each not in found))
    return found


def printable(text: str) -> str:
    """Make a text from any source harmless: escape characters that could move the cursor or change the terminal."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def encodable(text: str, encoding: str) -> str:
    """Replace the characters that an encoding lacks by their usual ASCII form, or by an escape sequence."""
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
    """Return a character's usual ASCII form, or its escape sequence."""
    name = unicodedata.name(char, "")
    if char in _IN_ASCII:
        return _IN_ASCII[char]
    if name.startswith("BOX DRAWINGS"):
        horizontal = any(word in name for word in _HORIZONTAL)
        vertical = "VERTICAL" in name or "UP" in name or "DOWN" in name
        return "+" if horizontal and vertical else "-" if horizontal else "|"
    if name.startswith("GREEK ") and " LETTER " in name:
        letter = name.split(" LETTER ")[1].split(" ")[0]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return bare if bare.isascii() and bare else char.encode("unicode_escape").decode()


def shell_command(argv: Sequence[str], encoding: str = "utf-8") -> str:
    """Return a command line for a shell (bash, zsh, ksh) with these arguments; invisible characters are escaped.

    Args:
        argv: the words of the command.
        encoding: encoding of the output; a character that it lacks counts as invisible.
    """
    return " ".join(
        shlex.quote(word) if word.isprintable() and encodable(word, encoding) == word else _spelt_out(word, encoding)
        for word in argv
    )


def _spelt_out(word: str, encoding: str) -> str:
    """Quote a word as ``$'...'``, with the bytes of invisible characters in hexadecimal."""
    escaped = re.sub(r"([\\'])", r"\\\1", word)
    chars = (char if char.isprintable() and _has(encoding, char) else _bytes(char) for char in escaped)
    return f"$'{''.join(chars)}'"


def _bytes(char: str) -> str:
    code = ord(char)
    # Bytes of arguments that are not valid UTF-8 arrive as the surrogates U+DC80 to U+DCFF.
    found = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else char.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in found)
