"""One pass over the values of a source: what is true of all of them, and where it first is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt
from dregcli.names import Split

Test = Callable[[NDArray[Any]], NDArray[np.bool_]]

_PIECE_VALUES: Final = 1 << 18
_SAME_SCALE: Final = 10
_STEP_TOLERANCE: Final = 1e-6
_EXACT_INTEGER: Final = 1 << 53
"""Up to here a 64-bit float holds every integer, so that what a 32-bit float does to it can be measured."""


@dataclass(frozen=True)
class Offender:
    """The first value of which something is not true.

    Attributes:
        value: itself.
        example: its example's number in its array, from 0.
        key: the array.
    """

    value: float | int
    example: int
    key: str

    def __str__(self) -> str:
        array = f" of array '{self.key}'" if self.key else ""
        value = repr(self.value) if isinstance(self.value, int) else f"{self.value:.9g}"
        return f"{value} in example {self.example}{array}"


@dataclass
class Columns:
    """What is true of each column of an array, and what 32-bit floats would do to it; each of shape (values,).

    Attributes:
        low: the smallest value.
        high: the largest.
        moved: the most by which a value moves when it is kept.
        is_pair: whether every value is the smallest or the largest.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    moved: NDArray[np.float64]
    is_pair: NDArray[np.bool_]

    def with_(self, other: "Columns") -> "Columns":
        """Of both together."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        is_pair = self.is_pair & other.is_pair
        for each in (self.low, self.high, other.low, other.high):
            is_pair &= (each == low) | (each == high)
        return Columns(low, high, np.maximum(self.moved, other.moved), is_pair)


@dataclass
class Survey:
    """What was found.

    Attributes:
        levels: the value of full intensity.
        low: the smallest value.
        high: the largest.
        ranges: the smallest and the largest value of each array.
        offenders: by the name of a test, the first value that fails it; a test without one is passed by all.
        columns: what is true of each value's place in an example, by array.
    """

    levels: int
    low: float | int = np.inf
    high: float | int = -np.inf
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    offenders: dict[str, Offender] = field(default_factory=dict[str, Offender])
    columns: dict[str, "Columns"] = field(default_factory=dict[str, "Columns"])

    def all(self, test: str) -> bool:
        """Whether all values pass a test."""
        return test not in self.offenders


def tests(levels: int) -> dict[str, Test]:
    """The tests by name, for one source: the test for a pair remembers what it saw.

    Args:
        levels: the value of full intensity.
    """

    def stepped(values: NDArray[Any]) -> NDArray[np.bool_]:
        wide = values.astype(np.float64)
        # A step is kept as the nearest number of its type: half a unit in the last place away, if the type is coarse.
        coarse = np.finfo(values.dtype).eps / 2 if values.dtype.kind == "f" else 0.0
        return np.abs(wide - np.rint(wide * levels) / levels) <= max(_STEP_TOLERANCE, float(coarse))

    def single(values: NDArray[Any]) -> NDArray[np.bool_]:
        if values.dtype.kind == "f":
            return np.abs(values) <= np.finfo(np.float32).max
        return (values >= -_EXACT_INTEGER) & (values <= _EXACT_INTEGER)

    seen: list[float | int] = []

    def pair(values: NDArray[Any]) -> NDArray[np.bool_]:
        # The first two values that occur; all others must be one of them.
        if len(seen) < 2:
            seen.extend(value for value in np.unique(values)[:3].tolist() if value not in seen)
            del seen[2:]
        return (values == seen[0]) | (values == seen[-1])

    return {
        "pair": pair,
        "binary": lambda values: (values == 0) | (values == 1),
        "extreme": lambda values: (values == 0) | (values == levels),
        "whole": lambda values: np.equal(values, np.floor(values)),
        "level": lambda values: (values >= 0) & (values <= levels),
        "unit": lambda values: (values >= 0) & (values <= 1),
        "stepped": stepped,
        "single": single,
    }


def chunks_of(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The examples of an array in pieces of a few megabytes, (n, values), native; with the first one's number."""
    step = max(1, _PIECE_VALUES // max(1, array[:1].size))
    for first in range(0, len(array), step):
        piece = np.asarray(array[first : first + step])
        yield first, piece.reshape(len(piece), -1).astype(piece.dtype.newbyteorder("="), copy=False)


def survey(arrays: Mapping[str, NDArray[Any]], *, levels: int, where: str, watch: Watch) -> Survey:
    """Look at every value once.

    Args:
        arrays: by key, (N, ...).
        levels: the value of full intensity.
        where: the source, for messages.
        watch: told of progress.

    Raises:
        DataCorrupt: a value is not finite, or all are the same.
    """
    found = Survey(levels)
    pending = tests(levels)
    done = 0
    with watched(watch, "look", sum(len(array) for array in arrays.values()), "examples"):
        for key, array in arrays.items():
            for first, values in chunks_of(array):
                _look(found, pending, key, first, values, where)
                done += len(values)
                watch.update(done)
    if found.low == found.high:
        raise DataCorrupt(
            what=f"every value is {found.low:g}: there is nothing to learn",
            where=where,
            hint="look whether the right array was taken (--key) and written",
        )
    return found


def scale_warnings(ranges: Mapping[Split | None, tuple[float, float]]) -> list[str]:
    """A warning where the values of one split span less than a tenth of another's.

    Args:
        ranges: the smallest and the largest value of each split.
    """
    spans = [high - low for low, high in ranges.values()]
    if min(spans) * _SAME_SCALE >= max(spans):
        return []
    told = ", ".join(f"{split} has {low:g} to {high:g}" for split, (low, high) in ranges.items())
    return [f"the splits seem to be on different scales: {told}; if so, bring them to one and import again"]


def _columns(values: NDArray[Any]) -> Columns:
    """What is true of each column, the same of the same values whatever their type."""
    least, most = values.min(axis=0), values.max(axis=0)
    is_pair = ((values == least) | (values == most)).all(axis=0)
    moved = np.zeros(values.shape[1])
    # The smaller types lose nothing as 32-bit floats.
    if values.dtype.itemsize > (4 if values.dtype.kind == "f" else 2):
        wide = values.astype(np.float64, copy=False)
        # Values beyond its range become infinite, which has its own test.
        with np.errstate(over="ignore"):
            moved = np.abs(wide - wide.astype(np.float32)).max(axis=0)
    return Columns(least.astype(np.float64), most.astype(np.float64), moved, is_pair)


def _look(found: Survey, pending: dict[str, Test], key: str, first: int, values: NDArray[Any], where: str) -> None:
    low, high = values.min().item(), values.max().item()
    if not (np.isfinite(low) and np.isfinite(high)):
        example = first + int(np.argmin(np.isfinite(values).all(axis=1)))
        array = f" of array '{key}'" if key else ""
        raise DataCorrupt(
            what=f"example {example}{array} has a value that is not finite (NaN or infinite)",
            where=where,
            hint="remove such examples, or fill the gaps, and import again",
        )
    # Integers stay integers: as floats, large ones that differ would be equal.
    found.low, found.high = min(found.low, low), max(found.high, high)
    lowest, highest = found.ranges.get(key, (low, high))
    found.ranges[key] = min(lowest, low), max(highest, high)
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    columns = _columns(values)
    found.columns[key] = found.columns[key].with_(columns) if key in found.columns else columns
    for name in list(pending):
        # The largest floats overflow on the way to an answer, which is right all the same.
        with np.errstate(over="ignore", invalid="ignore"):
            good = pending[name](values)
        if not good.all():
            at = int(np.argmin(good))
            value = values.reshape(-1)[at].item()
            found.offenders[name] = Offender(value, first + at // values.shape[1], key)
            # One is enough: the rest of the source need not be asked.
            del pending[name]
