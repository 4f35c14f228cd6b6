"""Finds out who wrote a file in the data folder, so that dreg replaces and removes only its own files."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

import h5py

from dregcli.data.cache_writer import ENCODING_TYPE

HDF5_RAISES: Final = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError)
"""The errors that h5py raises on damage; which one depends on the damaged byte."""

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

_SEARCHED: Final = 1 << 20


class Owner(StrEnum):
    """Who wrote a file in the data folder, judged by its content and not by its name."""

    DREG = "dreg"
    """The file is marked as a data set of dreg; its values may still be damaged."""
    MAYBE_DREG = "damaged"
    """The file cannot be read, but it may be a data set of dreg: it has the mark of dreg's files; or it begins as
    HDF5 files do, as far as it goes; or the system refuses to read it."""
    OTHER = "other"
    """The file has another mark or none, or is not a regular file: dreg did not write it."""
    UNKNOWN = "unknown"
    """The file is not HDF5, and nothing in it is of dreg: its writer is unknown."""


def owner_of(path: Path) -> Owner | None:
    """Return who wrote a file; None where there is no file. A pipe or folder is never opened."""
    # A link that leads nowhere counts as a file.
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        return Owner.OTHER
    try:
        with h5py.File(path, "r", locking=False) as file:
            return Owner.DREG if file.attrs.get("encoding-type") == ENCODING_TYPE.encode() else Owner.OTHER
    except HDF5_RAISES:
        pass
    try:
        with path.open("rb") as raw:
            head = raw.read(_SEARCHED)
            raw.seek(max(0, path.stat().st_size - _SEARCHED))
            tail = raw.read(_SEARCHED)
    except OSError:
        return Owner.MAYBE_DREG
    # The mark lies at the end of a file, which is the first part that a truncation takes.
    is_like = ENCODING_TYPE.encode() in head + tail or head.startswith(HDF5_MAGIC[: len(head)])
    return Owner.MAYBE_DREG if is_like else Owner.UNKNOWN
