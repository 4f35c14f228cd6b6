"""The rows of a split, cut and converted as they are asked for: nothing is held but one piece."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.kinds import Conversion
from dregcli.data.scan import Values


class ConvertedRows:
    """Some examples of a source as stored values (a ``dregcli.data.scan.StoredRows``).

    Args:
        array: the source's, (N, ...), in memory or mapped.
        order: which examples, and in which order; None is all of them as they lie.
        conversion: from the source's values.
        on_rows: told how many rows were read by each call.
    """

    def __init__(
        self,
        array: NDArray[Any],
        order: NDArray[np.int64] | None,
        conversion: Conversion,
        on_rows: Callable[[int], None],
    ) -> None:
        self._array, self._order, self._conversion, self._on_rows = array, order, conversion, on_rows
        count = len(array) if order is None else len(order)
        self.shape: tuple[int, ...] = (count, array[0].size)
        self.dtype = conversion.dtype
        self.fingerprints: NDArray[np.uint64] = np.zeros(count, np.uint64)
        """64 bits of a digest of each row that has been read: equal rows have equal ones."""

    def __getitem__(self, rows: slice) -> Values:
        """Some consecutive rows."""
        values = np.asarray(self._array[rows if self._order is None else self._order[rows]])
        values = values.reshape(len(values), -1).astype(values.dtype.newbyteorder("="), copy=False)
        found = np.ascontiguousarray(self._conversion.convert(values))
        digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in found)
        self.fingerprints[rows] = np.frombuffer(digests, np.uint64)
        self._on_rows(len(found))
        return found
