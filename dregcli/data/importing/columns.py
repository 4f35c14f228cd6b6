"""Columns that are no values: labels and row numbers, recognised by their names and by what is in them."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.column_words import numbers, told
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.survey import chunks_of

LABELS: Final = "labels"
ROW_NUMBERS: Final = "row numbers"
DROPPED: Final = "dropped"

_INDEX_NAMES: Final = frozenset(
    (
        *("id", "ids", "index", "idx", "row", "rows", "rowid", "rowindex", "rownumber", "rownum", "rownames"),
        *("imageid", "sampleid", "recordid", "no", "nr"),
    )
)
_LABEL_NAME: Final = re.compile(
    r"(true|class|target)?(labels?|class|classes|targets?|digits?|species|variety|category|categories)(id|idx|name|code)?"
)
_WEAK_LABEL_NAME: Final = re.compile(r"y(true|train|test|label)?")
"""A y may as well be a coordinate."""

_ENOUGH: Final = 10
"""Examples from which on it is no accident that a column counts or has few values."""

_MOST_CLASSES: Final = 100
_SAME_TOP: Final = 0.9
_SIDE: Final = 3
"""The side of the smallest square whose width plus 1 is a sign by itself: 5 columns are too often just 5."""


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


@dataclass(frozen=True)
class Verdict:
    """A column that is, or may be, no value.

    Attributes:
        column: its place from 0.
        role: what it is.
        certain: whether it can be left out unasked.
        why: the signs.
    """

    column: int
    role: str
    certain: bool
    why: str


def is_index_name(name: str) -> bool:
    """Whether a name is one of row numbers; pandas and R give none to them."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    return not name.strip() or bool(re.fullmatch(r"unnamed[0-9]*", bare)) or bare in _INDEX_NAMES or name == "#"


def is_label_name(name: str) -> bool:
    """Whether a name is one of labels, whatever stands beside it."""
    return bool(_LABEL_NAME.fullmatch(re.sub(r"[^a-z0-9]", "", name.lower())))


class _Look:
    """What is true of every column, from one pass."""

    def __init__(self, array: NDArray[Any], noted: set[int]) -> None:
        width = array.shape[1]
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.whole, self.counting = np.ones(width, np.bool_), np.ones(width, np.bool_)
        self.values: dict[int, set[float]] = {column: set() for column in noted}
        start = np.asarray(array[0], np.float64)
        self.counting &= (start == 0) | (start == 1)
        for first, piece in chunks_of(array):
            values = piece.astype(np.float64, copy=False)
            self.low, self.high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
            self.whole &= (values == np.floor(values)).all(axis=0)
            rows = np.arange(first, first + len(values))[:, None]
            self.counting &= (values == start + rows).all(axis=0)
            for column, seen in self.values.items():
                if len(seen) <= _MOST_CLASSES:
                    seen.update(np.unique(values[:, column])[: _MOST_CLASSES + 1].tolist())

    def is_like_classes(self, column: int) -> bool:
        """Whether nothing speaks against classes: a few examples need not have every one, nor any of them twice."""
        plain = self.low[column] >= 0 or self.values[column] == {-1, 1}
        return bool(self.whole[column]) and self.low[column] < self.high[column] < _MOST_CLASSES and bool(plain)

    def is_few(self, column: int, count: int) -> bool:
        """Whether the values are as few and as close together as numbers of classes are: 0 to 9, or -1 and 1."""
        seen = self.values[column]
        dense = self.high[column] - self.low[column] + 1 <= 2 * len(seen)
        plain = self.low[column] in (0, 1) or seen == {-1, 1}
        return bool(self.whole[column]) and 2 <= len(seen) <= min(_MOST_CLASSES, count // 2) and plain and bool(dense)


def judge(array: NDArray[Any], names: Sequence[str] = (), *, shape: tuple[int, ...] | None = None) -> list[Verdict]:
    """Find the columns that are, or may be, labels or row numbers.

    Args:
        array: (N, columns), finite or not.
        names: of the columns, where the file gives any.
        shape: the image that an example is, where the user says so.
    """
    count, width = array.shape
    if width < 2 or count < 3:
        return []
    noted = {column for column in (0, 1, width - 2, width - 1) if 0 <= column < width}
    named = {column for column, name in enumerate(names) if is_label_name(name)}
    look = _Look(array, noted | {column for column in named if len(named) <= _MOST_CLASSES})
    found = list(_row_numbers(array, names, look))
    taken = {verdict.column for verdict in found}
    rest = [column for column in range(width) if column not in taken]
    if len(rest) > 1:
        found += _named_labels(names, look, rest, count) if names else []
        if not any(verdict.role == LABELS for verdict in found):
            found += _labels_by_values(look, rest, count, shape)
    # Something has to be left.
    if len([verdict for verdict in found if verdict.certain]) < width:
        return found
    return [Verdict(verdict.column, verdict.role, certain=False, why=verdict.why) for verdict in found]


def _row_numbers(array: NDArray[Any], names: Sequence[str], look: _Look) -> Iterator[Verdict]:
    count = len(array)
    for column in range(array.shape[1]):
        by_name = bool(names) and is_index_name(names[column])
        if look.counting[column]:
            why = f"it counts from {look.low[column]:g} to {look.high[column]:g}"
            yield Verdict(column, ROW_NUMBERS, by_name or count >= _ENOUGH, why)
        elif by_name:
            different = look.whole[column] and len(np.unique(np.asarray(array[:, column]))) == count
            why = "its name, and its values are whole numbers, no two the same" if different else "its name"
            yield Verdict(column, ROW_NUMBERS, bool(different), why)
        elif (
            column == 0
            and count >= _ENOUGH
            and look.whole[0]
            and (look.low[0], look.high[0]) in ((0, count - 1), (1, count))
            and len(np.unique(np.asarray(array[:, 0]))) == count
        ):
            why = f"it has each of {look.low[0]:g} to {look.high[0]:g} once"
            yield Verdict(0, ROW_NUMBERS, certain=False, why=why)


def _named_labels(names: Sequence[str], look: _Look, rest: list[int], count: int) -> Iterator[Verdict]:
    for column in rest:
        span = f"values from {look.low[column]:g} to {look.high[column]:g}"
        if is_label_name(names[column]):
            whole = bool(look.whole[column])
            yield Verdict(
                column, LABELS, whole, f"its name, and its whole {span}" if whole else f"its name, but not its {span}"
            )
        elif (
            column in (rest[0], rest[-1])
            and column in look.values
            and _WEAK_LABEL_NAME.fullmatch(re.sub(r"[^a-z0-9]", "", names[column].lower()))
            # A y beside an x is a coordinate.
            and not any(name.strip().lower() == "x" for name in names)
        ):
            few = look.is_few(column, count)
            yield Verdict(
                column, LABELS, few, f"its name, and its few whole {span}" if few else f"its name, but not its {span}"
            )


def _labels_by_values(look: _Look, rest: list[int], count: int, shape: tuple[int, ...] | None) -> Iterator[Verdict]:
    """The first or the last column, where its values are as labels' are and those of all others are not."""
    width = len(rest) - 1
    side = math.isqrt(width)
    fits = width == math.prod(shape) if shape else side * side == width and side >= _SIDE
    if shape and len(rest) == math.prod(shape):
        return
    image = " x ".join(map(str, shape)) if shape else f"{side} x {side}"
    signs: list[int] = []
    doubts: list[int] = []
    for column in (rest[0], rest[-1]):
        others = [each for each in rest if each != column]
        if column not in look.values or not _is_another_scale(look, column, others):
            continue
        if look.is_few(column, count) and (fits or _is_alone(look, others)):
            signs.append(column)
        elif fits and look.is_like_classes(column):
            doubts.append(column)
    for column in signs or doubts:
        why = f"its few whole values from {look.low[column]:g} to {look.high[column]:g}, unlike all others"
        certain = fits and len(signs) == 1 and count >= _ENOUGH
        yield Verdict(column, LABELS, certain, why + (f", beside {width} = {image}" if fits else ""))


def _is_another_scale(look: _Look, column: int, others: list[int]) -> bool:
    low, high = look.low[others], look.high[others]
    varying = low < high
    if not varying.any():
        return False
    top = float(high.max())
    if not look.whole[others].all():
        # Fractions beside whole numbers; columns that are fractions by accident would be some of many.
        return bool((~look.whole[others])[varying].mean() > 0.5)
    if top <= 1:
        return bool(look.high[column] > 1 or look.low[column] < low.min())
    # One scale for all others, such as 0 to 255, which many of them reach.
    shared = bool((high[varying] >= _SAME_TOP * top).mean() >= 0.25)
    mine = float(look.high[column])
    return shared and not _SAME_TOP * top <= mine <= top


def _is_alone(look: _Look, others: list[int]) -> bool:
    """Whether no other column that varies has as few values."""
    few = look.whole[others] & (look.high[others] - look.low[others] < _MOST_CLASSES)
    return not (few & (look.low[others] < look.high[others])).any()


def array_warnings(array: NDArray[Any], *, shape: tuple[int, ...] | None, named: str) -> list[str]:
    """Warnings about columns of an array that may be labels or row numbers; an array's columns are never left out.

    Args:
        array: examples first.
        shape: the image that an example is, where the user says so.
        named: the array, for messages.
    """
    if array.ndim != 2:
        return []
    width = array.shape[1]
    pixels = [width - 1, width - 2]
    # The look costs a pass, so there must be a reason.
    if not any(each == math.prod(shape) if shape else math.isqrt(max(each, 0)) ** 2 == each > 1 for each in pixels):
        return []
    found = judge(array, shape=shape)
    if not found:
        return []
    columns = sorted({verdict.column for verdict in found})
    kept = [column for column in range(width) if column not in columns]
    inner = f"{kept[0]}:{kept[-1] + 1}" if kept == list(range(kept[0], kept[-1] + 1)) else str(kept)
    signs = "; ".join(f"{told([each.column], ())} seems to be {each.role} ({each.why})" for each in found)
    return [
        f"{named} has {width} values an example, and {signs}. It was kept: if it is no value, save x[:, {inner}] of "
        "the array x, with the examples first, and import that"
    ]


def cut(array: NDArray[Any], kept: Sequence[int], scratch: Scratch, *, where: str) -> NDArray[Any]:
    """Some columns of an array, never held in memory at once.

    Args:
        array: (N, columns).
        kept: places from 0, rising.
        scratch: where they are put if they do not lie together.
        where: the source, for messages.
    """
    if list(kept) == list(range(kept[0], kept[-1] + 1)):
        return array[:, kept[0] : kept[-1] + 1]
    pieces = (np.ascontiguousarray(piece[:, list(kept)]) for _, piece in chunks_of(array))
    return scratch.array(pieces, (-1, len(kept)), array.dtype, where=where)
