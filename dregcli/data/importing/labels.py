"""Finds and leaves out columns that are not values: labels and row numbers, by their names and contents."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.columns import LeftOut, numbers, option, shown_columns
from dregcli.data.importing.contract import Named, Source, pieces

LABELS: Final = "labels"
ROW_NUMBERS: Final = "row numbers"
DROPPED: Final = "dropped"
TEXT_IN_IT: Final = "its name, and the text in it"

_INDEX_NAME: Final = re.compile(
    r"unnamed[0-9]*|ids?|index|idx|rows?|row(id|index|number|num|names)|(image|sample|record)id|no|nr"
)
_LABEL_NAME: Final = re.compile(
    r"(true|class|target)?(labels?|class|classes|targets?|digits?|species|variety|category|categories)(id|idx|name|code)?"
)
_WEAK_LABEL_NAME: Final = re.compile(r"y(true|train|test|label)?")
"""Names that may mean labels, but y may also be a coordinate."""

_ENOUGH: Final = 10
"""With this many examples or more, it is not by chance that a column counts or has few values."""
_MOST_CLASSES: Final = 100
_SAME_TOP: Final = 0.9
_SIDE: Final = 3
"""The smallest square image for which one column more suggests labels: 2 x 2 + 1 = 5 columns are too common."""


@dataclass(frozen=True)
class Verdict:
    """A column that is not a value, or may not be one.

    Attributes:
        column: its index, from 0.
        role: its role: labels or row numbers.
        certain: whether it can be left out without asking the user.
        why: the reasons.
    """

    column: int
    role: str
    certain: bool
    why: str


def is_index_name(name: str) -> bool:
    """Whether a name stands for row numbers; pandas and R write an empty name for them."""
    return not name.strip() or name == "#" or bool(_INDEX_NAME.fullmatch(_bare(name)))


def is_label_name(name: str) -> bool:
    """Whether a name stands for labels, whatever the other columns are."""
    return bool(_LABEL_NAME.fullmatch(_bare(name)))


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


class _Look:
    """Facts about every column, from one pass over the values."""

    def __init__(self, array: NDArray[Any], noted: set[int]) -> None:
        self._array, (self.count, width) = array, array.shape
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.whole, start = np.ones(width, np.bool_), np.asarray(array[0], np.float64)
        self.counting = (start == 0) | (start == 1)
        self._seen: dict[int, set[float]] = {column: set() for column in noted}
        for first, piece in pieces(array):
            values = piece.astype(np.float64, copy=False)
            self.low, self.high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
            self.whole &= (values == np.floor(values)).all(axis=0)
            self.counting &= (values == start + np.arange(first, first + len(values))[:, None]).all(axis=0)
            for column, seen in self._seen.items():
                if len(seen) <= _MOST_CLASSES:
                    seen.update(np.unique(values[:, column])[: _MOST_CLASSES + 1].tolist())
        self.varying = self.low < self.high

    def span(self, column: int) -> str:
        return f"from {self.low[column]:g} to {self.high[column]:g}"

    def is_different(self, column: int) -> bool:
        """Whether the values are whole numbers and all different."""
        return bool(self.whole[column]) and len(np.unique(np.asarray(self._array[:, column]))) == self.count

    def is_numbered(self, column: int) -> bool:
        """Whether each number from 0 or 1 upward occurs once, in any order."""
        first, last = self.low[column], self.high[column]
        return first in (0, 1) and last - first == self.count - 1 and self.is_different(column)

    def is_like_classes(self, column: int) -> bool:
        """Whether the values may be classes: a few examples need not have every class, nor any class twice."""
        plain = self.low[column] >= 0 or self._seen.get(column) == {-1, 1}
        return bool(self.whole[column] and self.varying[column] and self.high[column] < _MOST_CLASSES and plain)

    def is_few(self, column: int) -> bool:
        """Whether the values are few and close together, like numbers of classes: 0 to 9, or -1 and 1."""
        seen = self._seen.get(column, set[float]())
        dense = self.high[column] - self.low[column] + 1 <= 2 * len(seen)
        plain = self.low[column] in (0, 1) or seen == {-1, 1}
        return bool(self.whole[column] and 2 <= len(seen) <= min(_MOST_CLASSES, self.count // 2) and plain and dense)

    def is_another_scale(self, column: int, others: list[int]) -> bool:
        """Whether the values of a column have another scale than the values of all other columns together."""
        low, high, varying = self.low[others], self.high[others], self.varying[others]
        if not varying.any():
            return False
        top, mine = float(high.max()), float(self.high[column])
        if not self.whole[others].all():
            # Fractions beside whole numbers count only if more than half of the other columns have fractions.
            return bool((~self.whole[others])[varying].mean() > 0.5)
        if top <= 1:
            return mine > 1 or bool(self.low[column] < low.min())
        # The other columns share a scale, such as 0 to 255, if many of them reach its top.
        return bool((high[varying] >= _SAME_TOP * top).mean() >= 0.25) and not _SAME_TOP * top <= mine <= top


def judge(array: NDArray[Any], names: Sequence[str] = (), *, shape: tuple[int, ...] | None = None) -> list[Verdict]:
    """Find the columns that are labels or row numbers, or may be.

    Args:
        array: values, (N, columns), finite or not.
        names: names of the columns, where the file gives any.
        shape: shape of an example as an image, where the user gives it.
    """
    count, width = array.shape
    if width < 2 or count < 3:
        return []
    named = {column for column, name in enumerate(names) if is_label_name(name)}
    look = _Look(array, {0, 1, width - 2, width - 1} | (named if len(named) <= _MOST_CLASSES else set()))
    found = list(_row_numbers(names, look))
    numbered = {verdict.column for verdict in found}
    rest = [column for column in range(width) if column not in numbered]
    if len(rest) > 1:
        found += list(_named_labels(names, look, rest)) or list(_labels_by_values(look, rest, shape))
    # At least one column must be left.
    all_certain = sum(verdict.certain for verdict in found) == width
    return [replace(verdict, certain=False) for verdict in found] if all_certain else found


def _row_numbers(names: Sequence[str], look: _Look) -> Iterator[Verdict]:
    for column in range(len(look.low)):
        by_name = bool(names) and is_index_name(names[column])
        if look.counting[column]:
            yield Verdict(column, ROW_NUMBERS, by_name or look.count >= _ENOUGH, f"it counts {look.span(column)}")
        elif by_name:
            certain = look.is_different(column)
            also = ", and its values are whole numbers, all different" if certain else ""
            yield Verdict(column, ROW_NUMBERS, certain, f"its name{also}")
        elif column == 0 and look.count >= _ENOUGH and look.is_numbered(0):
            yield Verdict(0, ROW_NUMBERS, certain=False, why=f"it has each whole number {look.span(0)} once")


def _named_labels(names: Sequence[str], look: _Look, rest: list[int]) -> Iterator[Verdict]:
    # If there is an x, y is a coordinate.
    has_x = any(name.strip().lower() == "x" for name in names)
    for column in rest if names else []:
        by_name = is_label_name(names[column])
        is_y = column in (rest[0], rest[-1]) and _WEAK_LABEL_NAME.fullmatch(_bare(names[column])) and not has_x
        if by_name or is_y:
            certain = bool(look.whole[column]) if by_name else look.is_few(column)
            signs = "and its whole values" if certain else "but not its values"
            yield Verdict(column, LABELS, certain, f"its name, {signs} {look.span(column)}")


def _labels_by_values(look: _Look, rest: list[int], shape: tuple[int, ...] | None) -> Iterator[Verdict]:
    """Yield the first or the last column, where only its values look like labels."""
    width = len(rest) - 1
    side = math.isqrt(width)
    fits = width == math.prod(shape) if shape else side * side == width and side >= _SIDE
    signs, doubts = list[int](), list[int]()
    for column in (rest[0], rest[-1]) if not shape or len(rest) != math.prod(shape) else ():
        others = [each for each in rest if each != column]
        small = look.whole[others] & (look.high[others] - look.low[others] < _MOST_CLASSES) & look.varying[others]
        if look.is_another_scale(column, others):
            if look.is_few(column) and (fits or not small.any()):
                signs.append(column)
            elif fits and look.is_like_classes(column):
                doubts.append(column)
    for column in signs or doubts:
        why = f"its few whole values {look.span(column)}, unlike all others"
        yield Verdict(column, LABELS, certain=fits and len(signs) == 1 and look.count >= _ENOUGH, why=why)


def array_warnings(array: NDArray[Any], named: Named, source: Source) -> None:
    """Warn of columns of an array that may be labels or row numbers; columns of an array are never left out."""
    width, shape = array.shape[1], source.request.shape
    # The check costs a pass over the values, so it runs only where the width suggests it.
    sizes = [math.prod(shape)] if shape else [side * side for side in range(2, math.isqrt(width) + 1)]
    for each in judge(array, shape=shape) if array.ndim == 2 and {width - 1, width - 2} & {*sizes} else ():
        source.warnings.append(
            f"in {named}, {shown_columns([each.column], ())} seems to be {each.role} ({each.why}), but was kept: "
            "if it is not a value, save the array without it and import that file"
        )


def values_alone(
    array: NDArray[Any],
    unread: Mapping[int, tuple[str, str]],
    names: Sequence[str],
    source: Source,
    *,
    is_judged: bool,
) -> NDArray[Any]:
    """Leave out the columns of a text that are not values. The source receives what was left out, and the doubts.

    Args:
        array: the columns that were read, (N, columns).
        unread: the columns of the text that were not read, each with its role and the reason.
        names: names of all columns of the text; empty where it gives none.
        source: the text.
        is_judged: whether columns may be left out that the user did not name.
    """
    out, count = {**unread}, array.shape[1] + len(unread)
    taken = [column for column in range(count) if column not in out]
    found = (
        judge(array, [names[column] for column in taken if names], shape=source.request.shape) if is_judged else []
    )
    found = [replace(each, column=taken[each.column]) for each in found]
    # A user who gives --labels knows the label columns.
    has_asked = bool(source.request.columns.labels)
    certain = [each for each in found if each.certain and not (each.role == LABELS and has_asked)]
    out |= {each.column: (each.role, each.why) for each in certain}
    has_labels = any(role == LABELS for role, _ in out.values())
    kept = [column for column in taken if column not in out]
    for each in found:
        if each not in certain and (each.certain or each.role != LABELS or not has_labels):
            away = option("--labels" if each.role == LABELS else "--drop-columns", [each.column], names)
            source.warnings.append(
                f"{shown_columns([each.column], names)} may be {each.role} ({each.why}), but was kept as a value: "
                f"{away} leaves it out, and --columns {numbers(kept, names)} confirms that it is a value"
            )
    _report(out, names, count, source)
    places = [place for place, column in enumerate(taken) if column not in out]
    if places == list(range(places[0], places[-1] + 1)):
        return array[:, places[0] : places[-1] + 1]
    content = (np.ascontiguousarray(piece[:, places]) for _, piece in pieces(array))
    return source.scratch.array(content, (-1, len(places)), array.dtype)


def _report(out: Mapping[int, tuple[str, str]], names: Sequence[str], count: int, source: Source) -> None:
    """Record and report the columns that were left out, grouped by role and reason."""
    groups: dict[tuple[str, str], list[int]] = {}
    for column in sorted(out):
        groups.setdefault(out[column], []).append(column)
    for (role, why), columns in groups.items():
        named = tuple(names[column] for column in columns if names)
        source.left_out.append(LeftOut(tuple(columns), role, why, named))
        as_role = "" if role == DROPPED else f", as {role}"
        unasked = role != DROPPED and why not in ("--labels", TEXT_IN_IT)
        back = f"; --columns {numbers(range(count), names)} keeps all" if unasked else ""
        source.note(f"left out: {shown_columns(columns, names)}{as_role} ({why}){back}")
