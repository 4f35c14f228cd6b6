"""Reads IDX files, the format of MNIST and its relatives."""

from dregcli.data.formats.idx import LONGEST_HEADER, idx_header
from dregcli.data.importing.contract import Named, Source


def idx_arrays(source: Source) -> list[Named]:
    """Return the one array of an IDX file.

    Raises:
        DataCorrupt: the header does not fit the file.
    """
    start, shape, dtype = idx_header(source.head(LONGEST_HEADER), source.size, where=source.where)
    return [Named("", shape, str(dtype), lambda: source.values(start, shape, dtype))]
