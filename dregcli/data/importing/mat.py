"""Reads MATLAB's .mat files of versions 4 to 7; version 7.3 is HDF5."""

from typing import Final

from dregcli.data.formats.mat import mat_variables, parse_mat
from dregcli.data.importing.contract import Named, Source, most_bytes, refused
from dregcli.errors import DataCorrupt

_LARGEST: Final = 4 << 30
"""Largest file in bytes, because these files are unpacked in memory; MATLAB writes larger ones as version 7.3."""


def mat_arrays(source: Source) -> list[Named]:
    """Return the variables of a file.

    Raises:
        DataCorrupt: the file is damaged, truncated or an archive bomb.
    """
    if source.size > _LARGEST:
        raise DataCorrupt(
            what=f"a .mat file of {source.size:,} bytes is more than can be unpacked in memory",
            hint="save it in MATLAB with -v7.3, or from Python as .npy",
        )
    content, where, limit = source.head(source.size), source.where, min(most_bytes(source.size), _LARGEST)

    def named(name: str) -> Named:
        shape, kind = variables[name].shape, variables[name].kind
        if not variables[name].is_numeric:
            return refused(name, f"is MATLAB's {kind}, not an array of numbers", shape)
        if 0 in shape:
            return refused(name, "is empty", shape, kind)
        return Named(name, shape, kind, lambda: parse_mat(content, names=[name], where=where, limit=limit)[name])

    variables = mat_variables(content, where=where, limit=limit)
    return [named(name) for name in variables]
