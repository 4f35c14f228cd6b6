"""The line of a TOML file on which each of its entries stands; Python's reader of TOML does not say it."""

import re
from collections.abc import Sequence
from typing import Final

Place = tuple[str | int, ...]
"""The path of an entry: names of tables and keys, and numbers of entries in lists of tables."""

_TABLE: Final = re.compile(r"\s*\[(?P<list>\[)?(?P<name>[^\[\]]+)\]\]?\s*(#.*)?")
_KEY: Final = re.compile(r"\s*(?P<name>[A-Za-z0-9_.\"'-]+)\s*=")


class Lines:
    """The lines of the entries of a text.

    Args:
        text: a TOML file. An entry in a list over several lines counts as on the list's first line.
    """

    def __init__(self, text: str) -> None:
        self._found: dict[Place, int] = {(): 1}
        self._counts: dict[Place, int] = {}
        here: Place = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if table := _TABLE.fullmatch(line):
                here = self._table(_parts(table["name"]), is_listed=bool(table["list"]))
                self._found.setdefault(here, number)
            elif key := _KEY.match(line):
                self._found.setdefault((*here, *_parts(key["name"])), number)

    def of(self, place: Sequence[str | int]) -> int:
        """Return the line of an entry, or of the smallest part of the file that should hold it."""
        whole = tuple(_spelt(part) if isinstance(part, str) else part for part in place)
        return next(self._found[whole[:end]] for end in range(len(whole), -1, -1) if whole[:end] in self._found)

    def _table(self, parts: Sequence[str], *, is_listed: bool) -> Place:
        here: Place = ()
        for part in parts:
            here = (*here, part)
            if here in self._counts:
                here = (*here, self._counts[here])  # the last entry of the list so far
        if not is_listed:
            return here
        whole = here[:-1] if here and isinstance(here[-1], int) else here
        self._counts[whole] = self._counts.get(whole, -1) + 1
        return (*whole, self._counts[whole])


def _parts(name: str) -> list[str]:
    return [_spelt(part.strip().strip("\"'")) for part in name.split(".")]


def _spelt(name: str) -> str:
    """Return a name with underscores: options may be spelt with dashes, too."""
    return name.replace("-", "_")
