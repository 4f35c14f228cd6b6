"""Text and numbers as LaTeX sets them, with no package needed."""

import math
from typing import Final

from dregcli.report.groups import Aggregate

NOTHING: Final = "--"
"""A cell without a number."""

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl is not in the default encoding
}


def escaped(text: str) -> str:
    """Text of any kind, so that it is set as it is.

    Letters that the default fonts lack are spelt out, and so is whatever would end a line or move a cursor.
    """
    return "".join(_SPECIAL.get(char, char) for char in plain(text))


def plain(text: str) -> str:
    """Text in printable ASCII on one line; anything else is spelt out. What a comment may hold."""
    return "".join(char if " " <= char <= "~" else char.encode("unicode_escape").decode() for char in text)


def count(value: float) -> str:
    r"""A whole number with its thousands apart, ``5{,}000``: in mathematics a bare comma would have a gap."""
    return f"{value:,.0f}".replace(",", "{,}")


def rate(value: float) -> str:
    """Three digits of a positive number: ``$0.123$``, ``$12.3$``, ``$1{,}235$``."""
    if not math.isfinite(value):
        return NOTHING
    if value >= 100.0:
        return f"${count(value)}$"
    places = 2 - math.floor(math.log10(value)) if value > 0.0 else 0
    return f"${value:.{places}f}$"


def mean(found: Aggregate | None, *, bold: bool = False, places: int = 2) -> str:
    r"""A mean with its standard error, as ``$-88.12 \pm 0.05$``.

    As many digits as the standard error justifies: it has one, or two if the first is 1, and the mean ends where it
    does.

    Args:
        found: over seeds; None, and what is not finite, is a dash.
        bold: the number is set in bold.
        places: decimals where there is no standard error to say so.
    """
    if found is None or not math.isfinite(found.mean):
        return NOTHING
    if found.stderr is None:
        text = f"{found.mean:.{places}f}"
    else:
        places = decimals(found.stderr) if found.stderr > 0.0 else places
        text = rf"{found.mean:.{places}f} \pm {found.stderr:.{places}f}"
    return rf"$\mathbf{{{text}}}$" if bold else f"${text}$"


def decimals(stderr: float) -> int:
    """Places after the point that a standard error above 0 justifies; none of one above 1.95."""
    exponent = math.floor(math.log10(stderr))
    two = round(stderr / 10.0**exponent, 1) < 2.0
    return max(0, -exponent + int(two))
