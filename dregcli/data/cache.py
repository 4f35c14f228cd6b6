"""Reads the data folder, which has one HDF5 file for each data set: its splits, and attributes that describe them.

Format 2. The root has the attributes ``encoding-type`` ("dreg-dataset"), ``encoding-version`` ("2"), ``name``,
``kind``, ``source``, ``provenance`` (JSON), ``checksum``, ``split-convention``, ``train-hash``, ``valid-hash``,
``test-hash``, ``moments-hash`` (UTF-8 text of fixed length) and ``height``, ``width``, ``levels`` (64-bit integers);
the contiguous data sets ``train``, ``valid`` and ``test`` of shape (N, height * width), uint8 or little-endian
float32; and the training split's ``train-mean`` and ``train-deviation``, float64 of shape (height * width,).

Format 2.1 is the same for images with several channels: it has the attribute ``channels``, 3 or 4, and every row
holds channels * height * width values, channel after channel. Images with one channel are written in format 2.

A data set that fits into memory is loaded whole and compared with its checksum. A larger one is mapped: the structure
of its file is checked, but its values are checked only by ``verify_cache``.
"""

import errno
import json
import operator
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from dregcli.data.cache_writer import COLOUR_VERSION, ENCODING_TYPE, ENCODING_VERSION
from dregcli.data.dataset import Dataset, Draft
from dregcli.data.folders import NO_FOLDER, cache_path, data_command, download_command, place_of
from dregcli.data.owner import HDF5_RAISES, Owner, owner_of
from dregcli.data.scan import Moments, Scanned, Scanner, Values, chunks
from dregcli.errors import DataCorrupt, DatasetMissing, StoreFormatError
from dregcli.names import DataKind, Split

RESIDENT_BYTES: Final = 1 << 30
"""Data sets up to this size are loaded whole; larger ones are mapped."""

_READABLE: Final = (ENCODING_VERSION, COLOUR_VERSION)
_NOT_THE_FILES_FAULT: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES)


def read_cache(name: str, data_dir: Path, *, resident_bytes: int | None = None) -> Dataset:
    """Read a data set of the data folder.

    Args:
        name: the data set.
        data_dir: the data folder.
        resident_bytes: up to this size (default: ``RESIDENT_BYTES``) the values are loaded and compared with their
            checksum; larger data sets are mapped, and the checksum in the file is trusted.

    Returns:
        The data set, with the splits that the file holds.

    Raises:
        DatasetMissing: the data set is not in the folder, or its file cannot be read.
        DataCorrupt: the file is truncated or altered, or does not hold a cached data set.
        StoreFormatError: the file has another version of the format.
    """
    path = cache_path(name, data_dir)
    if data_dir == NO_FOLDER:
        raise _missing(name, data_dir)
    try:
        # HDF5 reports every failure to open in the same way, so common failures are recognised first.
        # This comes before opening the file, because opening a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unreadable(name, path, os.strerror(errno.EISDIR) if path.is_dir() else "it is not a file")
        opened = path.open("rb")
    except FileNotFoundError as error:
        raise _missing(name, data_dir) from error
    except OSError as error:
        raise _unreadable(name, path, error.strerror or str(error)) from error
    try:
        # A cache file never changes once it has its name, so no lock is needed; some network disks have no locks. But
        # another file may take its name: what the file says and its values come from one open file.
        with opened as raw, h5py.File(cast("Any", raw), "r") as file:
            return _read(file, name, raw, RESIDENT_BYTES if resident_bytes is None else resident_bytes)
    except MemoryError as error:
        raise _unreadable(name, path, "there is not enough memory") from error
    except StoreFormatError as error:
        raise StoreFormatError(
            error.what,
            where=str(path),
            hint=f"update dreg (git pull in its clone), or delete this file and fetch or import '{name}' again",
        ) from error
    except (DataCorrupt, *HDF5_RAISES) as error:
        if isinstance(error, OSError) and error.errno in _NOT_THE_FILES_FAULT:
            raise _unreadable(name, path, os.strerror(error.errno)) from error
        what = error.what if isinstance(error, DataCorrupt) else f"HDF5 cannot read it ({error})"
        raise DataCorrupt(
            what=f"the cached data set '{name}' is damaged: {what}",
            where=str(path),
            hint=_advice(name, data_dir),
        ) from error


def _missing(name: str, data_dir: Path) -> DatasetMissing:
    fetch, without = download_command(name, data_dir), download_command(name, data_dir, source="FOLDER")
    return DatasetMissing(
        what=f"the data set '{name}' is not on this machine",
        where=place_of(name, data_dir),
        hint=f"{fetch}\nwithout a network, with its files in FOLDER: {without}",
    )


def _advice(name: str, data_dir: Path) -> str:
    """Return the advice for a damaged file."""
    owner = owner_of(cache_path(name, data_dir))
    if owner is Owner.OTHER:
        return "dreg did not write this file: move it away, and fetch or import the data set again"
    # An unreadable file may belong to somebody else, so removing it needs --force.
    force = [] if owner is Owner.DREG else ["--force"]
    return f"fetch or import it again after: {data_command('data', 'rm', name, *force, data_dir=data_dir)}"


def _unreadable(name: str, path: Path, why: str) -> DatasetMissing:
    """Return the error for a file that cannot be read now but may be undamaged."""
    return DatasetMissing(
        what=f"the data set '{name}' cannot be read: {why}",
        where=str(path),
        hint="correct that, or choose another data folder with --data-dir FOLDER",
    )


def verify_cache(name: str, data_dir: Path) -> Dataset:
    """Read every value of a data set, however large, and compare it with the file's checksums and moments.

    Args:
        name: the data set.
        data_dir: the data folder.

    Raises:
        DatasetMissing, DataCorrupt, StoreFormatError: as in ``read_cache``.
    """
    dataset = read_cache(name, data_dir)
    try:
        found = _scan(dataset.splits, dataset.as_draft().scanner())
        _compare(found, dataset.scanned)
        if not (
            np.array_equal(found.moments.mean, dataset.scanned.moments.mean)
            and np.allclose(found.moments.deviation, dataset.scanned.moments.deviation, rtol=1e-9, atol=0.0)
        ):
            raise DataCorrupt(what="its pixels do not have the mean and deviation that the file states")
    except DataCorrupt as error:
        raise DataCorrupt(
            what=f"the cached data set '{name}' is damaged: {error.what}",
            where=str(cache_path(name, data_dir)),
            hint=_advice(name, data_dir),
        ) from error
    return dataset


def _read(file: h5py.File, name: str, raw: IO[bytes], resident_bytes: int) -> Dataset:
    """Read the data set in a file; its values are mapped from ``raw``. HDF5's errors on damage pass through."""
    version = _version(file, name)
    if _text(file, "name") != name:
        raise DataCorrupt(what=f"the file holds '{_text(file, 'name')}', not '{name}'")
    stored = {split: _stored(file, split.value) for split in Split}
    mapped = sum(each.nbytes for each in stored.values()) > resident_bytes
    draft = Draft(
        name=name,
        kind=DataKind(_text(file, "kind")),
        height=_integer(file, "height"),
        width=_integer(file, "width"),
        levels=_integer(file, "levels"),
        channels=_integer(file, "channels") if version == COLOUR_VERSION else 1,
        splits={split: _mapped(each, raw) if mapped else each[()] for split, each in stored.items()},
        split_convention=_text(file, "split-convention"),
        source=_text(file, "source"),
        provenance=_provenance(file),
    )
    arrays = cast("Mapping[Split, Values]", draft.splits)
    stated = _stated(file, draft.channels * draft.height * draft.width)
    # The moments have their own checksum: computing them again would double the time of a load.
    scanner = draft.scanner(stated.moments)
    if mapped:
        for split in Split:
            scanner.begin(split, arrays[split])
        return Dataset.of(draft, arrays, stated)
    found = _scan(arrays, scanner)
    _compare(found, stated)
    for array in arrays.values():
        array.setflags(write=False)
    return Dataset.of(draft, arrays, found)


def _scan(splits: Mapping[Split, Values], scanner: Scanner) -> Scanned:
    """Pass all values through a scanner."""
    for split in Split:
        scanner.begin(split, splits[split])
        for chunk in chunks(splits[split]):
            scanner.add(chunk)
    return scanner.result()


def _version(file: h5py.File, name: str) -> str:
    encoding = (_text(file, "encoding-type"), _text(file, "encoding-version"))
    if encoding[0] != ENCODING_TYPE:
        raise DataCorrupt(what=f"the file is '{encoding[0]}', not '{ENCODING_TYPE}'")
    if encoding[1] not in _READABLE:
        raise StoreFormatError(
            what=f"the cached data set '{name}' has format {encoding[1]}; "
            f"this dreg reads formats {' and '.join(_READABLE)}"
        )
    return encoding[1]


def _compare(found: Scanned, stated: Scanned) -> None:
    if (found.checksum, found.split_hashes) != (stated.checksum, stated.split_hashes):
        raise DataCorrupt(what="its pixels do not have the checksum that the file states")


def _stated(file: h5py.File, pixels: int) -> Scanned:
    """Return the checksums and moments that the file states."""
    found: list[NDArray[np.float64]] = []
    for key in ("train-mean", "train-deviation"):
        item = _stored(file, key)
        if item.dtype != np.float64 or item.shape != (pixels,):
            raise DataCorrupt(what=f"'{key}' is {item.dtype} of shape {item.shape}")
        found.append(item[()])
        if not np.isfinite(found[-1]).all():
            raise DataCorrupt(what=f"'{key}' is not finite")
    moments = Moments(*found)
    if moments.sha256() != _text(file, "moments-hash"):
        raise DataCorrupt(what="its mean and deviation do not have the checksum that the file states")
    hashes = {split: _text(file, f"{split}-hash") for split in Split}
    return Scanned(_text(file, "checksum"), hashes, moments)


def _stored(file: h5py.File, key: str) -> Any:  # noqa: ANN401 - h5py has no types
    """Return one array, if its values lie in one piece inside this file."""
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataCorrupt(what=f"'{key}' is missing or is a link to another place")
    stored: Any = file[key]
    if not isinstance(stored, h5py.Dataset):
        raise DataCorrupt(what=f"'{key}' is not an array")
    stored = cast("Any", stored)
    if stored.external or stored.is_virtual or stored.chunks is not None:
        raise DataCorrupt(what=f"'{key}' is not stored as one piece inside the file")
    if stored.dtype not in (np.uint8, np.dtype("<f4"), np.dtype("<f8")):
        raise DataCorrupt(what=f"'{key}' is {stored.dtype}, neither bytes nor floats")
    # A few bytes of header can promise terabytes: accept only a size that the file has room for.
    offset: int | None = stored.id.get_offset()
    if offset is None or offset + stored.nbytes > cast("Any", file.id).get_filesize():
        raise DataCorrupt(what=f"'{key}' promises {stored.nbytes:,} bytes, more than the file has")
    return stored


def _mapped(stored: Any, raw: IO[bytes]) -> Values:  # noqa: ANN401 - h5py has no types
    """Map the values from the file: read-only, and without using the process's memory."""
    return np.memmap(
        cast("Any", raw), dtype=stored.dtype, mode="r", offset=stored.id.get_offset(), shape=stored.shape
    )


def _provenance(file: h5py.File) -> dict[str, Any]:
    found = json.loads(_text(file, "provenance"))
    if not isinstance(found, dict):
        raise DataCorrupt(what="its attribute 'provenance' is not a JSON object")
    return cast("dict[str, Any]", found)


def _text(file: h5py.File, key: str) -> str:
    value = cast("object", file.attrs.get(key))
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        raise DataCorrupt(what=f"its attribute '{key}' is missing or not text")
    return value


def _integer(file: h5py.File, key: str) -> int:
    try:
        return operator.index(cast("Any", file.attrs.get(key)))
    except TypeError as error:
        raise DataCorrupt(what=f"its attribute '{key}' is missing or not an integer") from error
