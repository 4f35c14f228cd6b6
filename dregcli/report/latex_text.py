"""Text and numbers as LaTeX that needs no package."""

import math
from typing import Final

from dregcli.report.aggregate import Aggregate

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
    """Escape any text, so that LaTeX sets it as it is.

    Letters that the default fonts lack are spelt out, and so are characters that would end a line or move the cursor.
    """
    found = "".join(_SPECIAL.get(char, char) for char in plain(text))
    # After the end of a table's row, a bracket would begin an optional argument, and a star would vanish.
    return f"{{}}{found}" if found.lstrip().startswith(("[", "*")) else found


def plain(text: str) -> str:
    """Return text as printable ASCII on one line, as a comment needs it. Other characters are spelt out."""
    return "".join(char if " " <= char <= "~" else char.encode("unicode_escape").decode() for char in text)


def count(value: float) -> str:
    r"""Return a whole number with separated thousands, ``5{,}000``. In math mode, a bare comma would add a space."""
    return f"{value:,.0f}".replace(",", "{,}")


def rate(value: float) -> str:
    """Return a positive number with three digits: ``$0.123$``, ``$12.3$``, ``$1{,}235$``."""
    if not math.isfinite(value):
        return NOTHING
    if value >= 100.0:
        return f"${count(value)}$"
    places = 2 - math.floor(math.log10(value)) if value > 0.0 else 0
    return f"${value:.{places}f}$"


def mean(found: Aggregate | None, *, bold: bool = False, places: int = 2) -> str:
    r"""Return a mean with its standard error, such as ``$-88.12 \pm 0.05$``.

    The standard error has one digit, or two if the first digit is 1. The mean has the same number of decimals.

    Args:
        found: mean over seeds; None, or a mean that is not finite, becomes a dash.
        bold: whether the number is set in bold.
        places: decimals if there is no standard error.
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
    """Return the number of decimals that a standard error above 0 justifies; 0 if it is above 1.95."""
    exponent = math.floor(math.log10(stderr))
    two = round(stderr / 10.0**exponent, 1) < 2.0
    return max(0, -exponent + int(two))
