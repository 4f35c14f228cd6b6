"""Read examples from the file of a data set that is not loaded into memory."""

import os
import weakref
from typing import cast

import numpy as np
import torch
from torch import Tensor

from dregcli.data.binarisation import FixedPixels
from dregcli.data.scan import Values


class MappedExamples:
    """Examples that are read from the cache file only when they are needed.

    Args:
        values: memory map of the file.
        device: the device for the rows.
        fixed: how the values become pixels, if each value always gives the same pixel; else None.
    """

    def __init__(
        self,
        values: "np.memmap[tuple[int, int], np.dtype[np.uint8 | np.float32]]",
        device: torch.device,
        fixed: FixedPixels | None,
    ) -> None:
        self._values = values
        self._fixed = fixed
        self.device = device
        self._file = os.open(cast("str", values.filename), os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._row_bytes = values.shape[1] * values.dtype.itemsize

    def __len__(self) -> int:
        return self._values.shape[0]

    def rows(self, indices: Tensor) -> Tensor:
        """See ``Examples.rows``."""
        wanted = indices.cpu().numpy()
        rows: Values = np.asarray(self._values[wanted])
        if self._fixed is not None:
            rows = self._fixed.rows(wanted, rows)
        return torch.from_numpy(rows).to(self.device)

    def expect(self, indices: Tensor) -> None:
        """Ask the system to read these rows in advance, while the processor is busy."""
        if not hasattr(os, "posix_fadvise"):
            return
        starts: list[int] = (self._values.offset + self._row_bytes * indices.cpu().numpy()).tolist()
        for start in starts:
            os.posix_fadvise(self._file, start, self._row_bytes, os.POSIX_FADV_WILLNEED)
