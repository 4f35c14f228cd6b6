"""One HDF5 file for each downloaded data set: uint8 splits, and attributes that say what they are.

Format 1. The root has the attributes ``encoding-type`` ("dreg-dataset"), ``encoding-version`` ("1"), ``name``,
``source``, ``checksum``, ``split-convention`` (UTF-8 text of fixed length) and ``height``, ``width``, ``levels``
(64-bit integers), and the contiguous uint8 data sets ``train``, ``valid`` and ``test`` of shape
(N, height * width).
"""

import io
import operator
from pathlib import Path
from typing import Any, Final, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from dregcli.data.dataset import Dataset
from dregcli.data.files import written_aside
from dregcli.data.folders import cache_path, download_command
from dregcli.errors import DataCorrupt, DatasetMissing, StoreFormatError
from dregcli.names import Split

_ENCODING_TYPE: Final = "dreg-dataset"
_ENCODING_VERSION: Final = "1"


def write_cache(dataset: Dataset, data_dir: Path) -> Path:
    """Keep a data set in the cache, in place of an older file of its name.

    The file is made in memory and written in one go: HDF5 copes badly with a disk that fills up under it.

    Args:
        dataset: what to keep.
        data_dir: the data folder, made if need be.

    Returns:
        The file.

    Raises:
        StoreWriteError: the file system refuses; an older file stays as it was.
    """
    image = io.BytesIO()
    # From 1.10 on the format keeps checksums of its own structures, except of variable-length text; so text has
    # a fixed length here. Without them one flipped bit can crash or hang the HDF5 library itself (measured).
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        attributes: Any = file.attrs
        attributes["encoding-type"] = np.bytes_(_ENCODING_TYPE.encode())
        attributes["encoding-version"] = np.bytes_(_ENCODING_VERSION.encode())
        attributes["name"] = np.bytes_(dataset.name.encode())
        attributes["height"] = np.int64(dataset.height)
        attributes["width"] = np.int64(dataset.width)
        attributes["levels"] = np.int64(dataset.levels)
        attributes["source"] = np.bytes_(dataset.source.encode())
        attributes["checksum"] = np.bytes_(dataset.checksum.encode())
        attributes["split-convention"] = np.bytes_(dataset.split_convention.encode())
        for split, array in dataset.splits.items():
            # Contiguous and unpacked: a load is one read, and a later version may map the file.
            file.create_dataset(split.value, data=array)
    path = cache_path(dataset.name, data_dir)
    with written_aside(path) as (out, _):
        out.write(image.getbuffer())
    return path


def read_cache(name: str, data_dir: Path) -> Dataset:
    """Read a data set from the cache and hold its pixels against their checksum.

    Args:
        name: the data set.
        data_dir: the data folder.

    Returns:
        The data set, resident in memory.

    Raises:
        DatasetMissing: it is not in the cache, or the file may not be read.
        DataCorrupt: the file is truncated or altered, or holds what no cache holds.
        StoreFormatError: the file is of another version of the format.
    """
    path = cache_path(name, data_dir)
    command = download_command(name, data_dir)
    try:
        # HDF5 reports every failure to open in the same way, so the plain ones are sorted out first.
        path.open("rb").close()
    except FileNotFoundError as error:
        without = download_command(name, data_dir, source="FOLDER")
        raise DatasetMissing(
            what=f"the data set '{name}' is not on this machine",
            where=str(path),
            hint=f"{command}  (without a network: {without}, where FOLDER holds its files)",
        ) from error
    except OSError as error:
        raise DatasetMissing(
            what=f"the data set '{name}' cannot be read: {error.strerror or error}",
            where=str(path),
            hint="make the file readable, or choose another data folder with --data-dir FOLDER",
        ) from error
    try:
        # Nothing writes to a cache file once it has its name, so no lock is needed; some network disks have none.
        with h5py.File(path, "r", locking=False) as file:
            return _read(file, name)
    except StoreFormatError as error:
        raise StoreFormatError(
            error.what, where=str(path), hint=f"upgrade dreg, or delete this file and type: {command}"
        ) from error
    except (DataCorrupt, OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        what = error.what if isinstance(error, DataCorrupt) else f"HDF5 cannot read it ({error})"
        raise DataCorrupt(
            what=f"the cached data set '{name}' is damaged: {what}",
            where=str(path),
            hint=f"delete this file and fetch it again: {command}",
        ) from error


def _read(file: h5py.File, name: str) -> Dataset:
    """The data set in an open file. What HDF5 itself raises on damage passes through."""
    encoding = (_text(file, "encoding-type"), _text(file, "encoding-version"))
    if encoding[0] != _ENCODING_TYPE:
        raise DataCorrupt(what=f"it is '{encoding[0]}', not '{_ENCODING_TYPE}'")
    if encoding[1] != _ENCODING_VERSION:
        raise StoreFormatError(
            what=f"the cached data set '{name}' is of format {encoding[1]}; "
            f"this dreg reads format {_ENCODING_VERSION}"
        )
    if _text(file, "name") != name:
        raise DataCorrupt(what=f"it holds '{_text(file, 'name')}', not '{name}'")
    dataset = Dataset.build(
        name=name,
        height=_integer(file, "height"),
        width=_integer(file, "width"),
        levels=_integer(file, "levels"),
        splits={split: _pixels(file, split) for split in Split},
        split_convention=_text(file, "split-convention"),
        source=_text(file, "source"),
    )
    if dataset.checksum != _text(file, "checksum"):
        raise DataCorrupt(what="its pixels do not have the checksum that it states")
    return dataset


def _pixels(file: h5py.File, split: Split) -> NDArray[np.uint8]:
    """One split, only if it is plain bytes inside this very file."""
    if not isinstance(file.get(split.value, getlink=True), h5py.HardLink):
        raise DataCorrupt(what=f"'{split}' is missing or is a link to elsewhere")
    item: Any = file[split.value]
    if not isinstance(item, h5py.Dataset):
        raise DataCorrupt(what=f"'{split}' is not an array")
    stored: Any = item
    if stored.external or stored.is_virtual or stored.chunks is not None:
        raise DataCorrupt(what=f"'{split}' is not stored as one piece inside the file")
    if stored.dtype != np.uint8 or stored.ndim != 2:
        raise DataCorrupt(what=f"'{split}' is {stored.dtype} of shape {stored.shape}, not uint8 images")
    # A few bytes of header can promise terabytes: believe only what the file has room for.
    if stored.nbytes > cast("Any", file.id).get_filesize():
        raise DataCorrupt(what=f"'{split}' promises {stored.nbytes:,} bytes, more than the file has")
    pixels: NDArray[np.uint8] = stored[()]
    return pixels


def _text(file: h5py.File, key: str) -> str:
    value = cast("object", file.attrs.get(key))
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        raise DataCorrupt(what=f"its attribute '{key}' is missing or no text")
    return value


def _integer(file: h5py.File, key: str) -> int:
    try:
        return operator.index(cast("Any", file.attrs.get(key)))
    except TypeError as error:
        raise DataCorrupt(what=f"its attribute '{key}' is missing or no integer") from error
