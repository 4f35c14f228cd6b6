"""Whose a file of the data folder is, so that dreg replaces and removes none but its own."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

import h5py

from dregcli.data.cache_writer import ENCODING_TYPE

HDF5_RAISES: Final = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError)
"""What h5py raises on damage: it depends on the byte that is wrong."""

_SEARCHED: Final = 1 << 20


class Owner(StrEnum):
    """Whose a file of the data folder is, by what it says of itself and not by its name."""

    DREG = "dreg"
    """It says that it is a data set of dreg; its values may be damaged all the same."""
    WAS_DREG = "damaged"
    """It cannot be read, and the mark of dreg's files is still in it."""
    OTHER = "other"
    """It says that it is something else, or is no regular file: dreg did not make it."""
    UNKNOWN = "unknown"
    """It cannot be read, so that nobody can tell."""


def owner_of(path: Path) -> Owner | None:
    """Whose a file is; None where there is none. A pipe or folder is never opened."""
    # A link that leads nowhere is something too.
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
