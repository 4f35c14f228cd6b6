"""Writes a data set's one HDF5 file; ``dregcli.data.cache`` says what is in it, and reads it.

HDF5 lays the file out in memory, and everything reaches the disk by plain file calls: HDF5 itself copes badly with a
disk that fills up under it.
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
"""Of images with several channels, which only later programs can read; others stay as they were, to the byte."""
_TEXT_LIMIT: Final = 60_000
"""Bytes of an attribute. HDF5 keeps attributes of up to 64 KiB in the header, whose checksum it keeps too."""


def write_cache(draft: Draft | Dataset, data_dir: Path) -> Path:
    """Keep a data set in the data folder, in place of an older file of its name.

    Its values pass through memory chunk by chunk, and are checked as they pass.

    Args:
        draft: what to keep.
        data_dir: the data folder, made if need be.

    Returns:
        The file.

    Raises:
        DataCorrupt: a value, a shape or a type is none that such a data set has; an older file stays as it was.
        StoreWriteError: the file system refuses; an older file stays as it was.
    """
    if isinstance(draft, Dataset):
        draft = draft.as_draft()
    path = cache_path(draft.name, data_dir)
    scanner = draft.scanner()
    image = SparseImage()
    with written_aside(LOCAL, path, hint=WRITE_ELSEWHERE) as (out, _):
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
    """A path may hold bytes that are no text; what is kept must be."""
    return os.fsencode(words).decode("utf-8", "replace")


def _lay_out(draft: Draft, image: SparseImage) -> dict[Split, int]:
    """Make the file with room for every split; where each begins, in bytes."""
    # From 1.10 on the format keeps checksums of its own structures, except of variable-length text; so text has
    # a fixed length here. Without them one flipped bit can crash or hang the HDF5 library itself (measured).
    offsets: dict[Split, int] = {}
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        for split in Split:
            rows = draft.splits[split]
            dtype = np.dtype("<f4") if rows.dtype == np.float32 else np.dtype(np.uint8)
            # Contiguous and unpacked: a load is one read, and a large file can be mapped.
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
    """Write what HDF5 wrote, everywhere but where the values lie."""
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
    """Add what the values are."""
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
