"""What a check of a user's model finds, and the place in the user's code."""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

from dregcli.names import Severity


@dataclass(frozen=True)
class Place:
    """A place in the user's code.

    Attributes:
        file: path of the file.
        line: number of the line, from 1.
        part: the submodule, such as ``decoder.1 (BatchNorm2d)``, or the torch function; None if neither is known.
    """

    file: str
    line: int
    part: str | None = None


@dataclass(frozen=True)
class Finding:
    """A fault, or a remark, about a user's model.

    Attributes:
        key: short name of the fault, the same for all models.
        severity: whether the model can be trained.
        what: what is wrong.
        change: what to change.
        place: where it is, if known.
    """

    key: str
    severity: Severity
    what: str
    change: str
    place: Place | None = None

    def sentence(self) -> str:
        """Return the finding in one paragraph: where, what, and what to change."""
        place = self.place
        part = f" ({place.part})" if place and place.part else ""
        where = f"{place.file}, line {place.line}{part}: " if place else ""
        return f"{where}{self.what} {self.change}"


def error(key: str, what: str, change: str, place: Place | None = None) -> Finding:
    """Return a fault with which the model cannot be trained."""
    return Finding(key, Severity.ERROR, what, change, place)


def warning(key: str, what: str, change: str, place: Place | None = None) -> Finding:
    """Return a remark about something that may be on purpose."""
    return Finding(key, Severity.WARNING, what, change, place)


def program_place(module: nn.Module, program: str) -> Place | None:
    """Return the place of a program: its last ``return``, or its first line if it returns nothing."""
    return _place_of(getattr(type(module), program, None))


@cache
def _place_of(found: Any) -> Place | None:  # noqa: ANN401 - a function
    try:
        lines, first = inspect.getsourcelines(found)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        file = inspect.getsourcefile(found)
    except (OSError, TypeError, SyntaxError):
        return None
    if file is None:
        return None
    returns = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Return)]
    return Place(file, first + (max(returns) if returns else 1) - 1)
