"""Finds out who wrote a file in the data folder, so that dreg replaces and removes only its own files."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

import h5py

from dregcli.data.cache_writer import ENCODING_TYPE

HDF5_RAISES: Final = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError)
"""The errors that h5py raises on damage; which one depends on the damaged byte."""

_SEARCHED: Final = 1 << 20


class Owner(StrEnum):
    """Who wrote a file in the data folder, judged by its content and not by its name."""

    DREG = "dreg"
    """The file is marked as a data set of dreg; its values may still be damaged."""
    WAS_DREG = "damaged"
    """The file cannot be read, but it still contains the mark of dreg's files."""
    OTHER = "other"
    """The file has another mark or none, or is not a regular file: dreg did not write it."""
    UNKNOWN = "unknown"
    """The file cannot be read, so its writer is unknown."""


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
            found = raw.read(_SEARCHED)
            raw.seek(max(0, path.stat().st_size - _SEARCHED))
            found += raw.read(_SEARCHED)
    except OSError:
        return Owner.UNKNOWN
    return Owner.WAS_DREG if ENCODING_TYPE.encode() in found else Owner.UNKNOWN
