"""A strict reader for MATLAB's .mat files, versions 4 to 7: only plain arrays of real numbers.

The file's declarations are checked before anything is allocated: other variables are never read, and no array may be
larger than the caller allows. Version 7.3 is another format, HDF5, and is recognised and refused here.
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.unpack import inflated_size
from dregcli.errors import DataCorrupt

_BYTES: Final = {
    "double": 8,
    "single": 4,
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "logical": 1,
}
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_HDF5_AT: Final = 512
_COMPRESSED: Final = 15
_HEADER: Final = 128


@dataclass(frozen=True)
class MatVariable:
    """A variable as the file declares it.

    Attributes:
        shape: its dimensions; MATLAB has at least two.
        kind: MATLAB's name of its type: double, uint8, logical, cell, struct, char, ...
    """

    shape: tuple[int, ...]
    kind: str

    @property
    def is_numeric(self) -> bool:
        """Whether the variable is a full array of numbers."""
        return self.kind in _BYTES

    @property
    def nbytes(self) -> int:
        """Bytes of the variable in memory, where it is numeric."""
        return math.prod(self.shape) * _BYTES[self.kind]


def mat_variables(content: bytes, *, where: str, limit: int) -> dict[str, MatVariable]:
    """Return the declared variables of a .mat file, by name. No value is read.

    Args:
        content: the whole file.
        where: its name, for messages.
        limit: the most bytes that all its variables may unpack to.

    Raises:
        DataCorrupt: the file is not a .mat file of versions 4 to 7, or is damaged, truncated or an archive bomb.
    """
    if content[:8] == _HDF5_MAGIC or content[_HDF5_AT : _HDF5_AT + 8] == _HDF5_MAGIC:
        raise DataCorrupt(
            what="the file is a .mat file of version 7.3, which is HDF5; save it in MATLAB with -v7", where=where
        )
    _check_unpacked_size(content, where, limit)
    found: list[tuple[str, tuple[int, ...], str]] = _scipy(content, where, "whosmat")
    variables: dict[str, MatVariable] = {}
    for name, shape, kind in found:
        if name in variables:
            raise DataCorrupt(what=f"the .mat file has two variables '{name}'", where=where)
        variables[name] = MatVariable(tuple(int(size) for size in shape), kind)
    return variables


def parse_mat(content: bytes, *, names: Sequence[str], where: str, limit: int = 1 << 30) -> dict[str, NDArray[Any]]:
    """Read some variables of a .mat file.

    Args:
        content: the whole file.
        names: the variables that must be there.
        where: its name, for messages.
        limit: the most bytes that all its variables may unpack to.

    Returns:
        The arrays by name, in MATLAB's shape (pixels or examples may come first).

    Raises:
        DataCorrupt: as for ``mat_variables``; or a variable is missing, is empty, is not a full array of real
            numbers, or holds NaN or an infinity.
    """
    variables = mat_variables(content, where=where, limit=limit)
    for name in names:
        _check_declared(variables, name, where, limit)
    loaded: Mapping[str, Any] = _scipy(content, where, "loadmat", variable_names=list(names))
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        array: NDArray[Any] = np.asarray(loaded.get(name))
        if array.dtype.kind not in "fiub" or array.shape != variables[name].shape:
            raise DataCorrupt(what=f"the variable '{name}' is {array.dtype} of shape {array.shape}", where=where)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataCorrupt(
                what=f"the variable '{name}' has a value that is not finite (NaN or infinite)", where=where
            )
        arrays[name] = array
    return arrays


def _check_declared(variables: Mapping[str, MatVariable], name: str, where: str, limit: int) -> None:
    """Check that a variable can be read, judging by its declaration in the file."""
    if name not in variables:
        has = ", ".join(variables) or "none"
        raise DataCorrupt(what=f"the .mat file has no variable '{name}'; it has: {has}", where=where)
    variable = variables[name]
    if not variable.is_numeric:
        raise DataCorrupt(what=f"the variable '{name}' is a {variable.kind}, not an array of numbers", where=where)
    said = " x ".join(str(size) for size in variable.shape)
    if min(variable.shape, default=0) < 1:
        raise DataCorrupt(what=f"the variable '{name}' is empty: {said}", where=where)
    if variable.nbytes > limit:
        raise DataCorrupt(
            what=f"the variable '{name}' promises {said} {variable.kind}, more than the {limit:,} bytes allowed",
            where=where,
        )


def _scipy(content: bytes, where: str, function: str, **options: object) -> Any:  # noqa: ANN401 - scipy's types
    # Imported here because the import takes a good part of a second.
    from scipy import io as scipy_io

    try:
        with warnings.catch_warnings():
            # For example, scipy warns of two variables with one name, and would keep the last.
            warnings.simplefilter("error")
            return getattr(scipy_io, function)(io.BytesIO(content), **options)
    # scipy's errors on damage have no common class: they depend on the damaged byte.
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise DataCorrupt(what=f"the .mat file cannot be read: {reason[0]}", where=where) from error


def _check_unpacked_size(content: bytes, where: str, limit: int) -> None:
    """Refuse a version 5 file whose compressed elements unpack to more than ``limit`` bytes.

    scipy unpacks everything that a compressed element holds, whatever the variable's shape is.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        return
    at, total = _HEADER, 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        at += 8
        if at + size > len(content):
            raise DataCorrupt(what="the .mat file ends inside a variable: truncated", where=where)
        if kind == _COMPRESSED:
            try:
                total += inflated_size(content[at : at + size], limit=limit - total)
            except zlib.error as error:
                what = f"a compressed variable of the .mat file is damaged: {error}"
                raise DataCorrupt(what=what, where=where) from error
            if total > limit:
                raise DataCorrupt(
                    what=f"the unpacked variables exceed the {limit:,} bytes they may have", where=where
                )
        at += size
