"""A strict reader for MATLAB's .mat files, versions 4 to 7: only plain arrays of real numbers.

The file's declarations are checked before anything is allocated: other variables are never read, and no array may be
larger than the caller allows. Version 7.3 is another format, HDF5, and is recognised and refused here.
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.unpack import inflated_size
from dregcli.errors import DataCorrupt

NUMERIC_BYTES: Final = {
    "double": 8,
    "single": 4,
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "logical": 1,
}
"""Bytes of a value, by the class of an array of numbers."""
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_HDF5_AT: Final = 512
_COMPRESSED: Final = 15
_HEADER: Final = 128
_BEGINNING: Final = 1024
"""Bytes of a variable that are looked at to learn its class: far more than its names take."""
_SPARSE: Final = 5
_OPAQUE: Final = 17
"""Classes, by the format's own numbers. Opaque variables are objects, such as strings and tables."""
_WORKSPACE: Final = "__function_workspace__"
"""scipy's name for what has none: it belongs to the objects, and is no variable."""


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
        return self.kind in NUMERIC_BYTES

    @property
    def nbytes(self) -> int:
        """Bytes of the variable in memory, where it is numeric."""
        return math.prod(self.shape) * NUMERIC_BYTES[self.kind]


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
    elements = list(_elements(content, where))
    _check_unpacked_size(content, elements, where, limit)
    beginnings = {element: _beginning(content, element) for element in elements}
    plain = {element: head for element, head in beginnings.items() if _class(head, element) != _OPAQUE}
    # scipy lists none of the variables if one of them is opaque.
    listed = content if len(plain) == len(elements) else _without_others(content, plain)
    found: list[tuple[str, tuple[int, ...], str]] = _scipy(listed, where, "whosmat")
    # scipy calls a sparse array logical, if it is, but does not read it as a full one.
    sparse = {at for at, (element, head) in enumerate(plain.items()) if _class(head, element) == _SPARSE}
    found = [(name, shape, "sparse" if at in sparse else kind) for at, (name, shape, kind) in enumerate(found)]
    found += [_opaque(beginnings[element], element) for element in elements if element not in plain]
    variables: dict[str, MatVariable] = {}
    for name, shape, kind in found:
        if name in variables:
            raise DataCorrupt(what=f"the .mat file has two variables '{name}'", where=where)
        if name not in ("", _WORKSPACE):
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


class _Element(NamedTuple):
    """One part of a version 5 file, which holds a variable: its byte order, its type, and where its content is."""

    order: str
    kind: int
    start: int
    end: int


def _elements(content: bytes, where: str) -> Iterator[_Element]:
    """Yield the parts of a version 5 file; nothing for version 4."""
    order, at = {b"IM": "<", b"MI": ">"}.get(content[126:128]), _HEADER
    while order and at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        at += 8
        if at + size > len(content):
            raise DataCorrupt(what="the .mat file ends inside a variable: truncated", where=where)
        yield _Element(order, kind, at, at + size)
        at += size


def _check_unpacked_size(content: bytes, elements: Sequence[_Element], where: str, limit: int) -> None:
    """Refuse a version 5 file whose compressed elements unpack to more than ``limit`` bytes.

    scipy unpacks everything that a compressed element holds, whatever the variable's shape is.
    """
    total = 0
    for each in elements:
        if each.kind == _COMPRESSED:
            try:
                total += inflated_size(content[each.start : each.end], limit=limit - total)
            except zlib.error as error:
                what = f"a compressed variable of the .mat file is damaged: {error}"
                raise DataCorrupt(what=what, where=where) from error
            if total > limit:
                raise DataCorrupt(
                    what=f"the unpacked variables exceed the {limit:,} bytes they may have", where=where
                )


def _beginning(content: bytes, element: _Element) -> bytes:
    """Return the first bytes of a variable, unpacked."""
    if element.kind == _COMPRESSED:
        return zlib.decompressobj().decompress(content[element.start : element.end], _BEGINNING)
    return content[element.start - 8 : element.start + _BEGINNING]


def _class(head: bytes, element: _Element) -> int | None:
    """Return the class of a variable, which follows the tags of the variable and of its flags."""
    return struct.unpack_from(f"{element.order}I", head, 16)[0] & 0xFF if len(head) >= 20 else None


def _without_others(content: bytes, elements: Iterable[_Element]) -> bytes:
    """Return the file with only these parts."""
    view = memoryview(content)
    return b"".join([view[:_HEADER], *(view[each.start - 8 : each.end] for each in elements)])


def _opaque(head: bytes, element: _Element) -> tuple[str, tuple[int, ...], str]:
    """Return name, shape and class of an opaque variable, as whosmat does; its shape is not known."""
    words, at = list[str](), 24
    # Its name, the name of the system of objects, and the name of the class.
    while len(words) < 3 and at + 8 <= len(head):
        tag, size = struct.unpack_from(f"{element.order}II", head, at)
        # A text of up to four bytes lies in its tag.
        is_short = tag >> 16
        start, size = (at + 4, tag >> 16) if is_short else (at + 8, size)
        words.append(head[start : start + size].decode("latin1"))
        at = at + 8 if is_short else start + size + -size % 8
    name, _, kind = (*words, "", "", "")[:3]
    return name, (), kind or "object"
