"""Reads IDX files, the format of MNIST and its relatives."""

import mmap
from typing import Any, cast

from dregcli.data.formats.idx import parse_idx_values
from dregcli.data.importing.contract import Named, Source


def idx_arrays(source: Source) -> list[Named]:
    """Return the one array of an IDX file, mapped from the file.

    Raises:
        DataCorrupt: the header does not fit the file.
    """
    content: Any = mmap.mmap(source.stream.fileno(), 0, access=mmap.ACCESS_READ)
    values = parse_idx_values(cast("bytes", content), where=source.where)
    return [Named("", values.shape, str(values.dtype), lambda: values)]
