"""Writes the one HDF5 file of a data set; ``dregcli.data.cache`` describes its content and reads it.

HDF5 lays the file out in memory, and plain file calls bring everything to the disk, because HDF5 itself does not
handle a full disk well.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

import h5py
import numpy as np

from dregcli.data.dataset import Dataset, Draft
from dregcli.data.folders import WRITE_ELSEWHERE, cache_path
from dregcli.data.scan import Scanned, chunks
from dregcli.data.sparse import SparseImage
from dregcli.errors import DataCorrupt
from dregcli.filesystem import LOCAL, written_aside
from dregcli.names import Split
from dregcli.redaction import redacted, redacted_values

ENCODING_TYPE: Final = "dreg-dataset"
ENCODING_VERSION: Final = "2"
COLOUR_VERSION: Final = "2.1"
"""Format version for images with several channels, which older programs cannot read. Files for other images stay the
same to the byte."""
_TEXT_LIMIT: Final = 60_000
"""Most bytes of an attribute. HDF5 keeps attributes of up to 64 KiB in the header, which has a checksum."""


def write_cache(draft: Draft | Dataset, data_dir: Path, *, new: bool = False) -> Path:
    """Write a data set to the data folder, replacing an older file with its name.

    The values are read and checked chunk by chunk, so that they need not fit into memory.

    Args:
        draft: the data set to write.
        data_dir: the data folder, created if it is missing.
        new: whether the name must be free when the file is written: of several writers at once, one gets it.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: the name must be free and is taken.
        DataCorrupt: a value, a shape or a type does not fit the kind of data; an older file stays unchanged.
        StoreWriteError: the file system refuses; an older file stays unchanged.
    """
    if isinstance(draft, Dataset):
        draft = draft.as_draft()
    path = cache_path(draft.name, data_dir)
    scanner = draft.scanner()
    image = SparseImage()
    with written_aside(LOCAL, path, new=new, hint=WRITE_ELSEWHERE) as (out, _):
        offsets = _lay_out(draft, image)
        for split in Split:
            rows = draft.splits[split]
            scanner.begin(split, rows)
            out.seek(offsets[split])
            for chunk in chunks(rows):
                scanner.add(chunk)
                out.write(chunk.astype("<f4", copy=False).data if chunk.dtype == np.float32 else chunk.data)
        _describe(draft, scanner.result(), image)
        _put_around(out, image, draft, offsets)
    return path


def as_text(words: str | Path) -> str:
    """Return a path as valid UTF-8: a path may hold other bytes, but the file's attributes may not."""
    return os.fsencode(words).decode("utf-8", "replace")


def _lay_out(draft: Draft, image: SparseImage) -> dict[Split, int]:
    """Create the file with room for every split, and return the byte at which each split begins."""
    # Since 1.10 the format has checksums for its own structures, except for variable-length text; so text has a
    # fixed length here. Without checksums one flipped bit can crash or hang the HDF5 library itself (measured).
    offsets: dict[Split, int] = {}
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        for split in Split:
            rows = draft.splits[split]
            dtype = np.dtype("<f4") if rows.dtype == np.float32 else np.dtype(np.uint8)
            # Contiguous and not compressed: loading is one read, and a large file can be mapped.
            layout = cast("Any", h5py.h5p.create(h5py.h5p.DATASET_CREATE))
            layout.set_layout(h5py.h5d.CONTIGUOUS)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = cast("Any", h5py.h5s).create_simple(rows.shape)
            kind = cast("Any", h5py.h5t).py_create(dtype)
            made = cast("Any", h5py.h5d).create(file.id, split.value.encode(), kind, space, layout)
            offsets[split] = made.get_offset()
    return offsets


def _put_around(out: IO[bytes], image: SparseImage, draft: Draft, offsets: Mapping[Split, int]) -> None:
    """Write HDF5's own structures around the values, which are already in the file."""
    values = sorted(
        (offsets[split], offsets[split] + rows.shape[0] * rows.shape[1] * rows.dtype.itemsize)
        for split, rows in draft.splits.items()
    )
    for start, content in image.pages():
        at, end = start, start + len(content)
        for first, last in [*values, (end, end)]:
            if at < min(first, end):
                out.seek(at)
                out.write(content[at - start : min(first, end) - start])
            at = max(at, min(last, end))
    out.truncate(image.size)


def _describe(draft: Draft, scanned: Scanned, image: SparseImage) -> None:
    """Add the attributes that describe the values."""
    with h5py.File(image, "r+", libver=("v110", "v110")) as file:
        attributes: Any = file.attrs
        texts = {
            "encoding-type": ENCODING_TYPE,
            "encoding-version": ENCODING_VERSION if draft.channels == 1 else COLOUR_VERSION,
            "name": draft.name,
            "kind": draft.kind.value,
            "source": redacted(draft.source),
            "provenance": json.dumps(redacted_values(draft.provenance), sort_keys=True),
            "checksum": scanned.checksum,
            "split-convention": draft.split_convention,
            **{f"{split}-hash": scanned.split_hashes[split] for split in Split},
            "moments-hash": scanned.moments.sha256(),
        }
        for key, text in texts.items():
            encoded = text.encode()
            if len(encoded) > _TEXT_LIMIT:
                raise DataCorrupt(what=f"its {key} is longer than {_TEXT_LIMIT:,} bytes", where=draft.name)
            attributes[key] = np.bytes_(encoded)
        for key in ("height", "width", "levels", *(["channels"] if draft.channels > 1 else [])):
            attributes[key] = np.int64(getattr(draft, key))
        file.create_dataset("train-mean", data=scanned.moments.mean.astype("<f8"))
        file.create_dataset("train-deviation", data=scanned.moments.deviation.astype("<f8"))
