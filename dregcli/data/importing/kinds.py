"""What the values of a source are taken for, and how they become stored ones."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.request import FULL_LEVELS
from dregcli.data.importing.survey import Offender, Survey
from dregcli.data.scan import Values
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind

_MOST_MOVED: Final = 1e-3
"""How much of its column's spread a value may move when it is kept: a column of more than 1,000 values that could be
told apart stays one. A 32-bit float moves a value by 6e-8 of itself at most."""


@dataclass(frozen=True)
class Conversion:
    """How values are stored.

    Attributes:
        kind: what they are.
        levels: the stored value of full intensity.
        dtype: of stored values.
        convert: from values of the source.
        notes: what was assumed, and what else could be.
    """

    kind: DataKind
    levels: int
    dtype: np.dtype[Any]
    convert: Callable[[NDArray[Any]], Values]
    notes: tuple[str, ...] = ()


def conversion(found: Survey, *, kind: DataKind | None, invert: bool, where: str) -> Conversion:
    """Decide what the values are.

    Args:
        found: what is true of them.
        kind: what the user says they are.
        invert: whether black and white change places.
        where: the source, for messages.

    Raises:
        UsageError: the values are not what the user says.
        DataCorrupt: they cannot be stored.
    """
    chosen = _assumed(found, where) if kind is None else _asked(found, kind, where)
    stored = chosen.convert(np.array([found.low, found.high]))
    if stored[0] == stored[1]:
        raise DataCorrupt(
            what=f"the values {found.low:.9g} to {found.high:.9g} would all be kept as {stored[0]:g}: there would be "
            "nothing to learn",
            where=where,
            hint="scale them before the import",
        )
    if not invert:
        return chosen
    if chosen.kind is DataKind.REAL:
        raise UsageError(
            what="--invert is for images: real values have neither black nor white",
            where=where,
            hint="leave --invert out, or give --kind intensity or binary",
        )
    return Conversion(
        chosen.kind,
        chosen.levels,
        chosen.dtype,
        lambda values: np.asarray(chosen.dtype.type(chosen.levels) - chosen.convert(values)),
        (*chosen.notes, "inverted: black and white changed places"),
    )


def _binary(*notes: str) -> Conversion:
    return Conversion(DataKind.BINARY, 1, np.dtype(np.uint8), lambda values: (values != 0).astype(np.uint8), notes)


def _levels(levels: int, *notes: str) -> Conversion:
    dtype = np.dtype(np.uint8)
    return Conversion(DataKind.INTENSITY, levels, dtype, lambda values: values.astype(np.uint8), notes)


def _steps(levels: int, *notes: str) -> Conversion:
    def convert(values: NDArray[Any]) -> Values:
        return np.rint(values.astype(np.float64) * levels).astype(np.uint8)

    return Conversion(DataKind.INTENSITY, levels, np.dtype(np.uint8), convert, notes)


def _single(found: Survey, kind: DataKind, where: str, *notes: str) -> Conversion:
    for key, columns in found.columns.items():
        spread = columns.high - columns.low
        # Of a column that never varies one number moves a little, and stays one.
        if (bad := np.flatnonzero((columns.moved > _MOST_MOVED * spread) & (spread > 0))).size:
            i = int(bad[0])
            low, high = float(columns.low[i]), float(columns.high[i])
            array = f" of array '{key}'" if key else ""
            raise DataCorrupt(
                what=f"values are kept as 32-bit floats, which would move value {i} of the examples{array} by up to "
                f"{columns.moved[i]:.3g}: too much for values from {low:.12g} to {high:.12g}",
                where=where,
                hint=f"before the import, subtract {low + (high - low) / 2:.12g} from these values, or scale them",
            )
    return Conversion(kind, 1, np.dtype(np.float32), lambda values: values.astype(np.float32), notes)


def _assumed(found: Survey, where: str) -> Conversion:
    """By the values alone, the narrowest kind first."""
    span = f"{found.low:g} to {found.high:g}"
    if found.all("binary"):
        return _binary("all values are 0 or 1: taken as binary")
    if found.all("whole") and found.all("level"):
        notes = [f"whole numbers {span}: taken as grey levels of {found.levels} (--kind real keeps them as numbers)"]
        if found.all("extreme"):
            notes.append(f"only 0 and {found.levels} occur: --kind binary takes them as 0 and 1")
        elif found.high < found.levels / 2:
            notes.append(f"the brightest is {found.high:g}: if that is white, give --levels {found.high:g}")
        return _levels(found.levels, *notes)
    if _is_stepped(found):
        return _steps(found.levels, f"multiples of 1/{found.levels} from {span}: taken as grey levels")
    if found.levels != FULL_LEVELS:
        raise UsageError(
            what=f"--levels {found.levels}: such values are whole numbers 0 to {found.levels} or multiples of "
            f"1/{found.levels}, and there is {_outside(found)}",
            where=where,
            hint="give the value of full intensity as --levels, or leave it out",
        )
    hint = " (--kind intensity takes them as intensities)" if found.all("unit") else ""
    return _real(found, where, f"values from {span}: taken as real{hint}")


def _is_stepped(found: Survey) -> bool:
    """Whether the values are levels divided by the number of them, and not merely all close to one level."""
    if not (found.all("unit") and found.all("stepped")):
        return False
    return round(found.low * found.levels) < round(found.high * found.levels)


def _real(found: Survey, where: str, *notes: str) -> Conversion:
    if not found.all("single"):
        offender = found.offenders["single"]
        reason = "above 2^53 is not exact" if isinstance(offender.value, int) else "is beyond its range"
        raise DataCorrupt(
            what=f"real values are kept as 32-bit floats, and {offender} {reason}",
            where=where,
            hint="scale or shift the values before the import",
        )
    return _single(found, DataKind.REAL, where, *notes, *_pair_notes(found))


def _pair_notes(found: Survey) -> list[str]:
    """A hint where the values are bits in disguise: a density has no bound on values that are always one of two."""
    if found.all("binary"):
        return []
    if not found.all("pair"):
        return _column_notes(found)
    shift = f"(x {'-' if found.low > 0 else '+'} {abs(found.low):g})" if found.low else "x"
    span = found.high - found.low
    # As it is shown: of 32-bit floats the difference of 1.3 and 0.3 is not quite 1.
    formula = shift if f"{span:g}" == "1" else f"{shift} / {span:g}"
    return [
        f"only {found.low:g} and {found.high:g} occur: as real values their gaussian bound means nothing; "
        f"{formula} would be binary"
    ]


def _column_notes(found: Survey) -> list[str]:
    """The same of single columns."""
    arrays = list(found.columns.values())
    if not arrays or len({len(columns.low) for columns in arrays}) > 1:
        return []
    columns = functools.reduce(lambda one, other: one.with_(other), arrays)
    # A column that never varies is none of two values.
    pairs = np.flatnonzero(columns.is_pair & (columns.low < columns.high))
    if not pairs.size:
        return []
    i = int(pairs[0])
    return [
        f"{pairs.size:,} of {len(columns.low):,} values of the examples take only two values (the first is "
        f"value {i}: {columns.low[i]:g} and {columns.high[i]:g}): as real values their gaussian bound means nothing"
    ]


def _asked(found: Survey, kind: DataKind, where: str) -> Conversion:
    if kind is DataKind.REAL:
        return _real(found, where)
    if kind is DataKind.BINARY:
        if found.all("binary"):
            return _binary()
        if found.all("extreme"):
            return _binary(f"{found.levels} was taken as 1")
        raise _refused(kind, "0 or 1", found.offenders["binary"], where)
    if found.all("binary"):
        return _levels(1, "the intensities are only 0 and 1")
    if found.all("whole") and found.all("level"):
        return _levels(found.levels)
    if found.all("unit"):
        return _steps(found.levels) if _is_stepped(found) else _single(found, kind, where)
    if found.all("whole"):
        raise _refused(kind, f"0 to {found.levels}", found.offenders["level"], where)
    raise _refused(kind, f"whole numbers 0 to {found.levels}, or from 0 to 1", _outside(found), where)


def _outside(found: Survey) -> Offender:
    """The value to show: the one that is too large or negative rather than one that is just not whole."""
    names = ("level", "unit", "stepped") if not found.all("level") else ("unit", "stepped", "whole")
    return next(found.offenders[name] for name in names if name in found.offenders)


def _refused(kind: DataKind, wanted: str, offender: Offender, where: str) -> UsageError:
    return UsageError(
        what=f"--kind {kind}: such values are {wanted}, and there is {offender}",
        where=where,
        hint="leave --kind out to have the kind found, or give --kind real",
    )
