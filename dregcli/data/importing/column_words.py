"""Columns as a user names them: by the names in a file's header, by numbers from 1, or by ranges of either."""

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.errors import Fault, SpecError

_SHOWN: Final = 12
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_RANGE: Final = re.compile(r"([0-9]{1,9})-([0-9]{0,9})")


@dataclass(frozen=True)
class ColumnWords:
    """What is asked of the columns of a text, as it is typed; each word may hold several, between them commas.

    Attributes:
        keep: the columns that are values; empty for all that are nothing else.
        drop: columns to leave out.
        labels: columns to leave out because they are labels.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, tuple[str, ...]]:
        """By option, those that were given."""
        options = {"--columns": self.keep, "--drop-columns": self.drop, "--labels": self.labels}
        return {option: words for option, words in options.items() if words}


def resolve(words: ColumnWords, names: Sequence[str], count: int, *, where: str) -> dict[str, list[int]]:
    """The columns that each option means, as places from 0, by option.

    Args:
        words: what was typed.
        names: of the columns; empty where the file gives none.
        count: how many columns there are.
        where: the source, for messages.

    Raises:
        SpecError: with every column that is not there, is meant twice, or is both kept and left out.
    """
    faults: list[Fault] = []
    found: dict[str, list[int]] = {}
    for option, each in words.given.items():
        columns: dict[int, None] = {}
        for item in _items(each, names):
            if isinstance(meant := _meant(item, names, count), str):
                faults.append(Fault(option, meant))
            else:
                columns |= dict.fromkeys(meant)
        found[option] = sorted(columns)
    options = list(found)
    for i, one in enumerate(options):
        for other in options[i + 1 :]:
            if both := sorted({*found[one]} & {*found[other]}):
                faults.append(Fault(f"{one}, {other}", f"both name {told(both, names)}: name it in one of them"))
    left = set(found.get("--columns", range(count)))
    if not faults and left <= {*found.get("--drop-columns", ()), *found.get("--labels", ())}:
        faults.append(Fault(", ".join(options), f"all {count:,} columns would be left out, and none would be kept"))
    if faults:
        raise SpecError(faults, where=where, hint="change these and repeat; columns are counted from 1")
    return found


def numbers(columns: Sequence[int]) -> str:
    """Places from 0 as numbers and ranges from 1, as the options take them."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and column == runs[-1][1] + 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    return ",".join(f"{first + 1}-{last + 1}" if last > first else f"{first + 1}" for first, last in runs)


def told(columns: Sequence[int], names: Sequence[str]) -> str:
    """Places from 0 as messages show them: ``column 1 ('label')``."""
    more = f" and {len(columns) - _SHOWN:,} more" if len(columns) > _SHOWN else ""
    named = [names[column] for column in columns[:_SHOWN]] if names else []
    shown = ", ".join(f"'{name}'" for name in named) if any(named) else ""
    return f"column{'s' if len(columns) > 1 else ''} {numbers(columns)}{f' ({shown}{more})' if shown else ''}"


def option(name: str, columns: Sequence[int], names: Sequence[str]) -> str:
    """An option that means these columns, ready to be pasted into a shell: by a name where one name says it."""
    word = numbers(columns)
    if len(columns) == 1 and names:
        own = names[columns[0]]
        if own.isprintable() and own.strip() and not own.startswith("-") and "," not in own and names.count(own) == 1:
            word = own
    return f"{name} {shlex.quote(word)}"


def _items(words: Sequence[str], names: Sequence[str]) -> list[str]:
    items: list[str] = []
    for word in words:
        # A name may itself hold a comma.
        items += [word] if word in names else [item.strip() for item in word.split(",")]
    return items


def _meant(item: str, names: Sequence[str], count: int) -> range | str:
    """The columns that an item means, or why it means none."""
    if names.count(item) > 1:
        twice = [column for column, name in enumerate(names) if name == item]
        return f"several columns are called '{item}': give numbers, of {numbers(twice)}"
    if item in names:
        at = names.index(item)
        return range(at, at + 1)
    if not item:
        return "a name or a number is empty"
    if _NUMBER.fullmatch(item):
        at = int(item)
        return range(at - 1, at) if 1 <= at <= count else f"{item}: the columns are 1 to {count}"
    if match := _RANGE.fullmatch(item):
        first, last = int(match[1]), int(match[2] or count)
        if 1 <= first <= last <= count:
            return range(first - 1, last)
        return f"{item}: a range goes up, within 1 to {count}"
    for cut in (i for i, letter in enumerate(item) if letter == "-"):
        ends = [item[:cut], item[cut + 1 :]]
        if all(names.count(end) == 1 for end in ends):
            first, last = (names.index(end) for end in ends)
            return range(first, last + 1) if first <= last else f"{item}: '{ends[1]}' stands before '{ends[0]}'"
    if not any(names):
        return f"no column is called '{item}', for the file gives no names: give numbers, 1 to {count}"
    near = difflib.get_close_matches(item, names, 1)
    more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
    meant = f" Did you mean '{near[0]}'?" if near else ""
    return f"no column is called '{item}'.{meant} The columns are {', '.join(names[:_SHOWN])}{more}."
