"""Examines the values of a source in one pass, decides their kind, and converts them to stored values."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.contract import Watch, pieces, watched
from dregcli.data.importing.request import FULL_LEVELS
from dregcli.data.scan import Values
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind

_STEP_TOLERANCE: Final = 1e-6
_EXACT_INTEGER: Final = 1 << 53
"""A 64-bit float holds every integer up to here, so that the error of a 32-bit float can be measured."""
_MOST_MOVED: Final = 1e-3
"""The largest change of a value when it is stored, as a share of its column's range: a column with more than 1,000
distinguishable values keeps them apart. A 32-bit float changes a value by at most 6e-8 of it."""


@dataclass
class Survey:
    """Facts about the values of a source.

    Attributes:
        levels: the value that means intensity 1.
        low: the smallest value.
        high: the largest value.
        offenders: by the name of a test, the first value that fails it, in words; no entry where all values pass.
        columns: by array, for each place in an example, the smallest value, the largest value, the largest error of
            a 32-bit float, and 1 where all values are the smallest or the largest; shape (4, values).
    """

    levels: int
    low: float | int = np.inf
    high: float | int = -np.inf
    offenders: dict[str, str] = field(default_factory=dict[str, str])
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict[str, NDArray[np.float64]])

    def all(self, *tests: str) -> bool:
        """Whether all values pass these tests."""
        return not any(test in self.offenders for test in tests)

    @property
    def is_stepped(self) -> bool:
        """Whether the values are level / levels, and not merely all close to one level."""
        return self.all("unit", "stepped") and round(self.low * self.levels) < round(self.high * self.levels)

    @property
    def outside(self) -> str:
        """The value to show: preferably one that is too large or negative, and not one that is only not whole."""
        names = ("unit", "stepped", "whole") if self.all("level") else ("level", "unit", "stepped")
        return next(self.offenders[name] for name in names if name in self.offenders)

    def span(self, key: str) -> tuple[float, float]:
        """Return the smallest and the largest value of an array."""
        low, high, *_ = self.columns[key]
        return float(low.min()), float(high.max())

    def add(self, key: str, values: NDArray[Any]) -> None:
        """Add some examples of an array, (n, values)."""
        # Integers stay integers: large different integers could be equal as floats.
        self.low, self.high = min(self.low, values.min().item()), max(self.high, values.max().item())
        wide = values.astype(np.float64, copy=False)
        # Values beyond the range of a 32-bit float become infinite, for which there is a test. Types of 1 or 2 bytes
        # lose nothing.
        with np.errstate(over="ignore"):
            moved = np.abs(wide - wide.astype(np.float32)).max(axis=0) if values.itemsize > 2 else wide[0] * 0.0
        low, high = wide.min(axis=0), wide.max(axis=0)
        found = np.stack([low, high, moved, ((wide == low) | (wide == high)).all(axis=0)])
        self.columns[key] = _together(self.columns[key], found) if key in self.columns else found


def _together(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the facts about the columns of two groups of examples; see ``Survey.columns``."""
    low, high = np.minimum(one[0], other[0]), np.maximum(one[1], other[1])
    ends = np.stack([*one[:2], *other[:2]])
    is_pair = ((ends == low) | (ends == high)).all(axis=0) & (one[3] > 0) & (other[3] > 0)
    return np.stack([low, high, np.maximum(one[2], other[2]), is_pair])


def _tests(levels: int) -> dict[str, Callable[[NDArray[Any]], NDArray[np.bool_]]]:
    def stepped(values: NDArray[Any]) -> NDArray[np.bool_]:
        wide = values.astype(np.float64)
        # A step is stored as the nearest number of its type: up to half a unit in the last place away.
        coarse = float(np.finfo(values.dtype).eps) / 2 if values.dtype.kind == "f" else 0.0
        return np.abs(wide - np.rint(wide * levels) / levels) <= max(_STEP_TOLERANCE, coarse)

    return {
        "binary": lambda values: (values == 0) | (values == 1),
        "extreme": lambda values: (values == 0) | (values == levels),
        "whole": lambda values: np.equal(values, np.floor(values)),
        "level": lambda values: (values >= 0) & (values <= levels),
        "unit": lambda values: (values >= 0) & (values <= 1),
        "stepped": stepped,
        "exact": lambda values: (
            np.array(values.dtype.kind == "f") | ((values >= -_EXACT_INTEGER) & (values <= _EXACT_INTEGER))
        ),
        "single": lambda values: np.abs(values.astype(np.float64)) <= np.finfo(np.float32).max,
    }


def survey(arrays: Mapping[str, NDArray[Any]], *, levels: int, watch: Watch) -> Survey:
    """Examine every value once.

    Args:
        arrays: the arrays by key, (N, ...).
        levels: the value that means intensity 1.
        watch: receives the progress.

    Raises:
        DataCorrupt: a value is not finite, or all are the same.
    """
    found, pending, done = Survey(levels), _tests(levels), 0

    def named(key: str, example: int) -> str:
        return f"example {example}{f' of array {key!r}' if key else ''}"

    with watched(watch, "look", sum(len(array) for array in arrays.values()), "examples"):
        for key, array in arrays.items():
            for first, piece in pieces(array):
                values = piece.reshape(len(piece), -1)
                values = values.view(np.uint8) if values.dtype == np.bool_ else values
                if not (math.isfinite(values.min()) and math.isfinite(values.max())):
                    example = named(key, first + int(np.argmin(np.isfinite(values).all(axis=1))))
                    raise DataCorrupt(
                        what=f"{example} has a value that is not finite (NaN or infinite)",
                        hint="remove such examples, or fill the gaps, and import again",
                    )
                found.add(key, values)
                # The largest floats overflow in these tests, but the answers are still right.
                with np.errstate(over="ignore", invalid="ignore"):
                    failed = {name: good for name in pending if not (good := pending[name](values)).all()}
                for name, good in failed.items():
                    at = int(np.argmin(good))
                    value = values.reshape(-1)[at].item()
                    shown = repr(value) if isinstance(value, int) else f"{value:.9g}"
                    found.offenders[name] = f"{shown} in {named(key, first + at // values.shape[1])}"
                    # One failing value is enough: this test need not run on the other values.
                    del pending[name]
                done += len(values)
                watch.update(done)
    if found.low == found.high:
        raise DataCorrupt(
            what=f"every value is {found.low:g}: there is nothing to learn",
            hint="check that the right array was chosen (--key) and that it was written correctly",
        )
    return found


@dataclass(frozen=True)
class Conversion:
    """The conversion of the source's values to stored values.

    Attributes:
        kind: kind of the values.
        levels: the stored value that means intensity 1.
        dtype: type of the stored values.
        convert: converts values of the source.
        notes: assumptions, and the alternatives.
    """

    kind: DataKind
    levels: int
    dtype: np.dtype[Any]
    convert: Callable[[NDArray[Any]], Values]
    notes: tuple[str, ...] = ()


def conversion(found: Survey, *, kind: DataKind | None, invert: bool) -> Conversion:
    """Decide what the values are and how to store them.

    Args:
        found: facts about the values.
        kind: the kind that the user gives; None to recognise it.
        invert: whether to exchange black and white.

    Raises:
        UsageError: the values do not have the kind that the user gives.
        DataCorrupt: the values cannot be stored.
    """
    picked = _picked(found, kind)
    low, high = picked.convert(np.array([found.low, found.high]))
    if low == high:
        span = f"{found.low:.9g} to {found.high:.9g}"
        what = f"the values {span} would all be stored as {low:g}: nothing could be learned"
        raise DataCorrupt(what, hint="scale them before the import")
    if not invert:
        return picked
    if not picked.kind.is_bounded:
        what = "--invert only applies to images: real values have neither black nor white"
        raise UsageError(what, hint="leave --invert out, or give --kind intensity or binary")
    white = picked.dtype.type(picked.levels)
    notes = (*picked.notes, "inverted: black and white changed places")

    def inverted(values: NDArray[Any]) -> Values:
        return np.asarray(white - picked.convert(values))

    return replace(picked, convert=inverted, notes=notes)


def _picked(found: Survey, asked: DataKind | None) -> Conversion:
    """Return the narrowest conversion that all values pass, among those of the kind that the user gives."""
    levels, span = found.levels, f"{found.low:g} to {found.high:g}"
    if asked is not DataKind.REAL and found.all("binary"):
        note = "all values are 0 or 1: taken as " + ("intensities" if asked is DataKind.INTENSITY else "binary")
        return _bytes(asked or DataKind.BINARY, 1, lambda values: values != 0, note)
    if asked is DataKind.BINARY and found.all("extreme"):
        return _bytes(asked, 1, lambda values: values != 0, f"{levels} was taken as 1")
    if asked in (None, DataKind.INTENSITY) and found.all("whole", "level"):
        notes = [f"whole numbers {span}: taken as grey levels of {levels} (--kind real keeps them as numbers)"]
        if found.all("extreme"):
            notes.append(f"only 0 and {levels} occur: --kind binary takes them as 0 and 1")
        elif found.high < levels / 2:
            notes.append(f"the brightest value is {found.high:g}: if that is white, give --levels {found.high:g}")
        return _bytes(DataKind.INTENSITY, levels, lambda values: values, *notes)
    if asked in (None, DataKind.INTENSITY) and found.is_stepped:
        note = f"multiples of 1/{levels} from {span}: taken as grey levels"
        return _bytes(DataKind.INTENSITY, levels, lambda values: np.rint(values.astype(np.float64) * levels), note)
    if asked is DataKind.REAL or (asked is DataKind.INTENSITY and found.all("unit")):
        return _floats(found, asked)
    if asked is None and levels == FULL_LEVELS:
        hint = " (--kind intensity takes them as intensities)" if found.all("unit") else ""
        return _floats(found, DataKind.REAL, f"values from {span}: taken as real{hint}")
    option, offender = f"--kind {asked}" if asked else f"--levels {levels}", found.outside
    wanted = f"whole numbers 0 to {levels}, or " + ("from 0 to 1" if asked else f"multiples of 1/{levels}")
    if asked is DataKind.BINARY:
        wanted, offender = "0 or 1", found.offenders["binary"]
    elif asked and found.all("whole"):
        wanted = f"0 to {levels}"
    what = f"{option}: such values are {wanted}, but there is {offender}"
    raise UsageError(what, hint="leave the option out to let dreg recognise the kind, or give --kind real")


def _bytes(kind: DataKind, levels: int, convert: Callable[[NDArray[Any]], NDArray[Any]], *notes: str) -> Conversion:
    return Conversion(kind, levels, np.dtype(np.uint8), lambda values: convert(values).astype(np.uint8), notes)


def _floats(found: Survey, kind: DataKind, *notes: str) -> Conversion:
    for test, reason in (("exact", "above 2^53 is not exact"), ("single", "is beyond its range")):
        if not found.all(test):
            what = f"values are stored as 32-bit floats, but {found.offenders[test]} {reason}"
            raise DataCorrupt(what, hint="scale or shift the values before the import")
    for key, (low, high, moved, _) in found.columns.items():
        # In a column that never varies, a small change does no harm.
        if (bad := np.flatnonzero((moved > _MOST_MOVED * (high - low)) & (high > low))).size:
            i, array = int(bad[0]), f" of array '{key}'" if key else ""
            raise DataCorrupt(
                what=f"values are stored as 32-bit floats, which would change value {i} of the examples{array} by up "
                f"to {moved[i]:.3g}: too much for values from {low[i]:.12g} to {high[i]:.12g}",
                hint=f"before the import, subtract {low[i] + (high[i] - low[i]) / 2:.12g} from these values, or "
                "scale them",
            )
    notes = (*notes, *_pair_notes(found)) if kind is DataKind.REAL else notes
    return Conversion(kind, 1, np.dtype(np.float32), lambda values: values.astype(np.float32), notes)


def _pair_notes(found: Survey) -> list[str]:
    """Note places that always hold one of two numbers: a density at them has no upper limit."""
    arrays = list(found.columns.values())
    if found.all("binary") or len({each.shape for each in arrays}) > 1:
        return []
    low, high, _, is_pair = functools.reduce(_together, arrays)
    if not (pairs := np.flatnonzero((is_pair > 0) & (low < high))).size:
        return []
    i = int(pairs[0])
    return [
        f"{pairs.size:,} of {low.size:,} values of the examples take only two values (the first is value {i}: "
        f"{low[i]:g} and {high[i]:g}): as real values their gaussian bound means nothing. If all values are such, "
        "store them as 0 and 1: dreg then takes them as binary"
    ]
