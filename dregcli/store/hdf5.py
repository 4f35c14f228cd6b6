"""HDF5 files with a digest at their start: built in memory, and checked before they are parsed.

The first 512 bytes are an HDF5 user block, which every HDF5 program skips; it holds the length and the SHA-256 of all
following bytes. So a truncation or a changed byte anywhere in the file is found without trusting the file.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from dregcli.store import documents, layout

Array: TypeAlias = NDArray[Any]

_low: Any = h5py  # its low-level interface ships no types

ENCODING_VERSION: Final = "1"
SIZE_LIMIT: Final = 4 * 1024**3
_USER_BLOCK: Final = 512
_KINDS: Final = "biuf"
_ENCODING: Final = ("encoding-type", "encoding-version")
_PLAIN: Final[tuple[int, ...]] = (_low.h5d.COMPACT, _low.h5d.CONTIGUOUS)


@dataclass(frozen=True)
class Content:
    """The content of a file.

    Args:
        attrs: a JSON-able mapping about the whole file.
        arrays: arrays by path, e.g. ``bound`` or ``train/bound``.
    """

    attrs: dict[str, Any]
    arrays: dict[str, Array]


def encode(
    kind: str, *, arrays: Mapping[str, Array], attrs: Mapping[str, Any], units: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of a file.

    Args:
        kind: ``encoding-type`` of the file.
        arrays: numbers or booleans by path; a path has at most one '/', between a group and a name.
        attrs: a JSON-able mapping, stored as JSON in the attribute ``attrs``.
        units: by name of an array, the value of its attribute ``units``.

    Raises:
        ValueError: an array holds text or objects, or a path is not valid.
    """
    # In memory, because the digest of the whole body is written before it, and because h5py would write to the disk
    # past dregcli.filesystem. HDF5's own "core" driver would do too, but with HDF5 1.14, against which h5py may be
    # built, it writes a wrong checksum of the superblock.
    memory = io.BytesIO()
    # libver: attributes above 64 kB need the newer header. Times are not tracked, so equal content gives equal bytes.
    with h5py.File(memory, "w", userblock_size=_USER_BLOCK, libver=("v110", "v110")) as opened:
        file: Any = opened
        file.attrs["encoding-type"] = kind
        file.attrs["encoding-version"] = ENCODING_VERSION
        file.attrs["attrs"] = documents.encode(attrs).decode("ascii")
        for path, array in arrays.items():
            _check_path(path)
            values = np.asarray(array)
            if values.dtype.kind not in _KINDS:
                what = f"array '{path}' holds {values.dtype}, not numbers"
                raise ValueError(what)
            dataset: Any = file.create_dataset(path, data=values)
            if units and (unit := units.get(path.rpartition("/")[2])):
                dataset.attrs["units"] = unit
    body = memory.getvalue()[_USER_BLOCK:]
    return _header(body) + body


def decode(content: bytes, kind: str, path: Path, *, with_arrays: bool = True) -> Content:
    """Return the content of a file, given its bytes.

    Args:
        content: bytes of the whole file.
        kind: ``encoding-type`` of the file.
        path: path of the file, for messages.
        with_arrays: False leaves out the arrays, which take nearly all the time.

    Raises:
        StoreCorrupt: the file is truncated, altered or has another type; the error names it.
        StoreFormatError: the file has a newer encoding version.
    """
    header, body = content[:_USER_BLOCK], memoryview(content)[_USER_BLOCK:]
    if header != _header(body):
        raise documents.corrupt(path, "The file's digest does not match its content")
    try:
        with h5py.File(_low.h5f.open_file_image(content)) as opened:
            file: Any = opened
            layout.check_encoding({key: _text(file.id, key) for key in _ENCODING}, kind, path)
            arrays: dict[str, Array] = {}
            if with_arrays:
                _collect(file.id, "", arrays, limit=len(content))
            attrs = _text(file.id, "attrs")
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise documents.corrupt(path, f"The file has a valid digest, but cannot be parsed: {error}") from error
    return Content(attrs=documents.decode(attrs.encode("utf-8"), path), arrays=arrays)


def read(path: Path, kind: str, *, with_arrays: bool = True) -> Content:
    """Return the content of a file; see ``decode``.

    Raises:
        StoreCorrupt: the file is missing, truncated, altered or has another type; the error names it.
        StoreFormatError: the file has a newer encoding version.
    """
    return decode(documents.read_bytes(path, limit=SIZE_LIMIT), kind, path, with_arrays=with_arrays)


def _header(body: bytes | memoryview) -> bytes:
    text = json.dumps({"sha256": documents.sha256(body), "size": len(body)})
    return text.encode("ascii").ljust(_USER_BLOCK, b"\0")


def _check_path(path: str) -> None:
    parts = path.split("/")
    if len(parts) > 2 or any(part in ("", ".", "..") or "\0" in part for part in parts):
        what = f"'{path}' cannot be the name of an array"
        raise ValueError(what)


def _text(file: Any, name: str) -> str:  # noqa: ANN401 - h5py is untyped
    """Return the text of an attribute that this module wrote."""
    attribute: Any = _low.h5a.open(file, name.encode())
    if attribute.shape or _low.check_string_dtype(attribute.dtype) is None:
        what = f"the attribute '{name}' is not text"
        raise ValueError(what)
    value = np.empty((), attribute.dtype)
    attribute.read(value)
    found: Any = value[()]
    return found.decode("utf-8") if isinstance(found, bytes) else str(found)


def _collect(group: Any, prefix: str, into: dict[str, Array], *, limit: int) -> None:  # noqa: ANN401 - h5py is untyped
    """Read the arrays below ``group``; accept only plain arrays inside the file, as this module writes them.

    This uses h5py's low-level interface, which takes a third of the time: a report reads a thousand arrays.
    """
    for name in (each.decode() for each in group):
        if group.links.get_info(name.encode()).type != _low.h5l.TYPE_HARD:
            what = f"'{prefix}{name}' is a link"
            raise ValueError(what)
        item: Any = _low.h5o.open(group, name.encode())
        if isinstance(item, _low.h5g.GroupID):
            if prefix:
                what = f"'{prefix}{name}' is nested too deep"
                raise ValueError(what)
            _collect(item, f"{name}/", into, limit=limit)
        else:
            into[prefix + name] = _array(item, prefix + name, limit)


def _array(dataset: Any, name: str, limit: int) -> Array:  # noqa: ANN401 - h5py is untyped
    plan, dtype = dataset.get_create_plist(), dataset.dtype
    size = dtype.itemsize * math.prod(dataset.shape)
    # Chunks may have filters, which may be foreign plugins; a size larger than the file means storage elsewhere.
    if plan.get_layout() not in _PLAIN or plan.get_external_count() or size > limit:
        what = f"'{name}' is not a plain array"
        raise ValueError(what)
    if dtype.kind not in _KINDS:
        what = f"'{name}' does not hold numbers"
        raise ValueError(what)
    values = np.empty(dataset.shape, dtype)
    if size:
        dataset.read(_low.h5s.ALL, _low.h5s.ALL, values)
    return values
