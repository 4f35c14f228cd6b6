"""Columns as a user gives them: by the names in a file's header, by numbers from 1, or by ranges of either."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dregcli.errors import Fault, SpecError
from dregcli.names import nearest

LONGEST_NAME: Final = 80
"""Most letters of a name that are kept: a name may be as long as a line."""
_SHOWN: Final = 12


@dataclass(frozen=True)
class ColumnWords:
    """The user's options for the columns of a text, as typed; a word may hold several columns, separated by commas.

    Attributes:
        keep: the columns that are values; empty for all columns that are not dropped or labels.
        drop: columns to leave out.
        labels: columns to leave out because they are labels.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, tuple[str, ...]]:
        """The words of each given option."""
        options = {"--columns": self.keep, "--drop-columns": self.drop, "--labels": self.labels}
        return {option: words for option, words in options.items() if words}


@dataclass(frozen=True)
class LeftOut:
    """Columns that did not become values.

    Attributes:
        columns: indices of the columns, from 0.
        role: role of the columns, such as labels.
        why: reason for the role.
        names: names of these columns; empty where the file has no names.
    """

    columns: tuple[int, ...]
    role: str
    why: str
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the columns as JSON values, for programs, with at most 100 names."""
        return {"columns": numbers(self.columns), "names": list(self.names[:100]), "as": self.role, "why": self.why}

    def in_short(self) -> dict[str, Any]:
        """Return the same for the data file, which has little room: the first columns, and how many there are."""
        short = {"columns": _first_numbers(self.columns), "names": list(self.names[:_SHOWN])}
        return {**self.as_json(), **short, "count": len(self.columns)}


def resolve(words: ColumnWords, names: Sequence[str], count: int) -> dict[str, list[int]]:
    """Return the columns that each option means, as indices from 0, by option.

    Args:
        words: the words that the user typed.
        names: names of the columns; empty where the file gives none.
        count: number of columns.

    Raises:
        SpecError: columns do not exist, are given twice, or are both kept and left out; it lists all of them.
    """
    faults: list[Fault] = []
    found: dict[str, list[int]] = {}
    for option, typed in words.given.items():
        columns: set[int] = set()
        # A name may itself hold a comma.
        for item in [each for word in typed for each in ([word] if word in names else word.split(","))]:
            if isinstance(meant := _meant(item.strip(), names, count), str):
                faults.append(Fault(option, meant))
            else:
                columns |= {*meant}
        for other, others in found.items():
            if both := sorted(columns & {*others}):
                message = f"both give {shown_columns(both, names)}: give it in one of them"
                faults.append(Fault(f"{other}, {option}", message))
        found[option] = sorted(columns)
    left = set(found.get("--columns", range(count)))
    if not faults and left <= {*found.get("--drop-columns", ()), *found.get("--labels", ())}:
        faults.append(Fault(", ".join(found), f"these options leave out all {count:,} columns"))
    if faults:
        raise SpecError(faults, hint="change these and repeat; columns are counted from 1")
    return found


def numbers(columns: Sequence[int], names: Sequence[str] = ()) -> str:
    """Return indices from 0 as numbers and ranges from 1; with the columns' names, as the options take them."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and column == runs[-1][1] + 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    items = [f"{first + 1}-{last + 1}" if last > first else f"{first + 1}" for first, last in runs]
    # The options take an item for a name first, and only then for a number, which may begin with zeros.
    named = frozenset(names)
    return ",".join(f"0{item}" if item in named else item for item in items)


def _first_numbers(columns: Sequence[int]) -> str:
    return listed(numbers(columns).split(","), by=",")


def listed(words: Iterable[str], *, by: str = ", ") -> str:
    """Return words as messages show them: the first twelve, and how many more there are."""
    every = list(words)
    return by.join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN:,} more" if len(every) > _SHOWN else "")


def shown_columns(columns: Sequence[int], names: Sequence[str]) -> str:
    """Return indices from 0 as messages show them: ``column 1 ('label')``."""
    named = [names[column] for column in columns] if names else []
    shown = f" ({listed(map(repr, named))})" if any(named) else ""
    return f"column{'s' if len(columns) > 1 else ''} {_first_numbers(columns)}{shown}"


def option(name: str, columns: Sequence[int], names: Sequence[str]) -> str:
    """Return an option that gives these columns, ready to be pasted into a shell; a single column by its name."""
    own = names[columns[0]] if len(columns) == 1 and names else ""
    is_plain = own.strip() and own.isprintable() and own[0] != "-" and "," not in own and names.count(own) == 1
    # A longer name may have been cut.
    return f"{name} {shlex.quote(own if is_plain and len(own) < LONGEST_NAME else numbers(columns, names))}"


def _meant(item: str, names: Sequence[str], count: int) -> Sequence[int] | str:
    """Return the columns that an item means, or the reason why it means none."""
    if not item:
        return "a name or a number is empty"
    if at := [column for column, name in enumerate(names) if name == item]:
        return (
            at
            if len(at) == 1
            else f"several columns are called '{item}': give one of the numbers {numbers(at, names)}"
        )
    if match := re.fullmatch(r"(-?[0-9]{1,9})(?:(-)([0-9]{0,9}))?", item):
        first, is_range = int(match[1]), bool(match[2])
        last = int(match[3] or count) if is_range else first
        if 1 <= first <= last <= count:
            return range(first - 1, last)
        return (
            f"{item}: a range must go up, within 1 to {count}"
            if is_range
            else f"{item}: the columns are 1 to {count}"
        )
    for cut in (i for i, letter in enumerate(item) if letter == "-"):
        one, other = item[:cut], item[cut + 1 :]
        if names.count(one) == names.count(other) == 1:
            first, last = names.index(one), names.index(other)
            return range(first, last + 1) if first <= last else f"{item}: '{other}' comes before '{one}'"
    if not any(names):
        return f"no column is called '{item}', because the file gives no names: give numbers, 1 to {count}"
    near = nearest(item, names)
    meant = f" Did you mean '{near}'?" if near else ""
    return f"no column is called '{item}'.{meant} The columns are {listed(names)}."
