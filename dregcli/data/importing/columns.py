"""Columns as a user names them: by the names in a file's header, by numbers from 1, or by ranges of either."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dregcli.errors import Fault, SpecError
from dregcli.names import nearest

_SHOWN: Final = 12


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
        """The words of each option that was given."""
        options = {"--columns": self.keep, "--drop-columns": self.drop, "--labels": self.labels}
        return {option: words for option, words in options.items() if words}


@dataclass(frozen=True)
class LeftOut:
    """Columns that did not become values.

    Attributes:
        columns: places from 0.
        role: what they are.
        why: how that is known.
        names: of these columns; empty where there are none.
    """

    columns: tuple[int, ...]
    role: str
    why: str
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs and for what is kept with the data, which has no room for thousands of names."""
        return {"columns": numbers(self.columns), "names": list(self.names[:100]), "as": self.role, "why": self.why}


def resolve(words: ColumnWords, names: Sequence[str], count: int) -> dict[str, list[int]]:
    """The columns that each option means, as places from 0, by option.

    Args:
        words: what was typed.
        names: of the columns; empty where the file gives none.
        count: how many columns there are.

    Raises:
        SpecError: with every column that is not there, is meant twice, or is both kept and left out.
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
                faults.append(Fault(f"{other}, {option}", f"both name {told(both, names)}: name it in one of them"))
        found[option] = sorted(columns)
    left = set(found.get("--columns", range(count)))
    if not faults and left <= {*found.get("--drop-columns", ()), *found.get("--labels", ())}:
        faults.append(Fault(", ".join(found), f"all {count:,} columns would be left out, and none would be kept"))
    if faults:
        raise SpecError(faults, hint="change these and repeat; columns are counted from 1")
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


def listed(words: Iterable[str]) -> str:
    """Words as messages show them: the first dozen, and how many more there are."""
    every = list(words)
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN:,} more" if len(every) > _SHOWN else "")


def told(columns: Sequence[int], names: Sequence[str]) -> str:
    """Places from 0 as messages show them: ``column 1 ('label')``."""
    named = [names[column] for column in columns] if names else []
    shown = f" ({listed(map(repr, named))})" if any(named) else ""
    return f"column{'s' if len(columns) > 1 else ''} {numbers(columns)}{shown}"


def option(name: str, columns: Sequence[int], names: Sequence[str]) -> str:
    """An option that means these columns, ready to be pasted into a shell: by a name where one name says it."""
    own = names[columns[0]] if len(columns) == 1 and names else ""
    is_plain = own.strip() and own.isprintable() and own[0] != "-" and "," not in own and names.count(own) == 1
    return f"{name} {shlex.quote(own if is_plain else numbers(columns))}"


def _meant(item: str, names: Sequence[str], count: int) -> Sequence[int] | str:
    """The columns that an item means, or why it means none."""
    if not item:
        return "a name or a number is empty"
    if at := [column for column, name in enumerate(names) if name == item]:
        return at if len(at) == 1 else f"several columns are called '{item}': give numbers, of {numbers(at)}"
    if match := re.fullmatch(r"(-?[0-9]{1,9})(?:(-)([0-9]{0,9}))?", item):
        first, is_range = int(match[1]), bool(match[2])
        last = int(match[3] or count) if is_range else first
        if 1 <= first <= last <= count:
            return range(first - 1, last)
        return (
            f"{item}: a range goes up, within 1 to {count}" if is_range else f"{item}: the columns are 1 to {count}"
        )
    for cut in (i for i, letter in enumerate(item) if letter == "-"):
        one, other = item[:cut], item[cut + 1 :]
        if names.count(one) == names.count(other) == 1:
            first, last = names.index(one), names.index(other)
            return range(first, last + 1) if first <= last else f"{item}: '{other}' stands before '{one}'"
    if not any(names):
        return f"no column is called '{item}', for the file gives no names: give numbers, 1 to {count}"
    near = nearest(item, names)
    meant = f" Did you mean '{near}'?" if near else ""
    return f"no column is called '{item}'.{meant} The columns are {listed(names)}."
