"""The log-weights of one evaluation as a file of their own: they are many, and no report needs them.

The file is plain HDF5 with dimension scales, which xarray reads. It is written batch by batch, so that memory does
not grow with it, and continued after a stop. Its digest lies beside it, as for a picture.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from dregcli.filesystem import write_errors, write_exclusive
from dregcli.store import documents, hdf5, layout, results
from dregcli.store.hdf5 import Array
from dregcli.store.run import Run

FOLDER: Final = "log_w"
SIZE_LIMIT: Final = hdf5.SIZE_LIMIT
"""Largest size of a file in bytes: that of every file of a run."""

_low: Any = h5py  # its low-level interface ships no types


def read_weights(path: Path, first: int = 0, count: int | None = None) -> Array:
    """Return the log-weights of some examples, (K, count), nats; memory does not grow with the other examples.

    Raises:
        StoreCorrupt: there is no such file, or it cannot be read.
    """
    end = None if count is None else first + count
    try:
        with h5py.File(path) as opened:
            file: Any = opened
            return file["log_w"][:, first:end]
    except (OSError, KeyError) as error:
        raise documents.corrupt(path, f"The log-weights cannot be read: {error}") from error


class KeptWeights:
    """Log-weights that are being written.

    Args:
        run: the run of the evaluation.
        key: name of the unfinished evaluation; see ``Run.put_partial``.
        k: samples per example.
        examples: number of examples.
        batch: examples that are written at once.
        kind: float32 or float64.
    """

    def __init__(self, run: Run, key: str, *, k: int, examples: int, batch: int, kind: str) -> None:
        self._run = run
        self._folder = run.path / FOLDER
        self._temporary = self._folder / f".{key}.tmp"
        self._shape, self._batch, self._kind = (k, examples), min(batch, examples), kind
        self._opened: Any = None
        self._held = contextlib.ExitStack()

    def open(self, done: int) -> bool:
        """Begin, or continue after the first examples.

        Args:
            done: number of examples that an earlier process has saved.

        Returns:
            Whether the log-weights of these examples are there; if not, nothing is open, and the evaluation must
            start over.

        Raises:
            StoreWriteError: the disk refuses, or another process writes the same file.
        """
        layout.make_home(self._run.fs, self._folder)
        if done:
            return self._continue()
        with write_errors(self._temporary):
            if self._temporary.exists():
                self._run.fs.remove(self._temporary)
            file = self._held.enter_context(self._run.fs.open(self._temporary, "x+b"))
            self._opened = self._held.enter_context(h5py.File(file, "w"))
            self._describe()
            self._opened.flush()
        return True

    def add(self, first: int, log_w: Array) -> None:
        """Write the log-weights of the next examples, (K, B').

        Args:
            first: index of the first of them.
            log_w: log-weights, nats.
        """
        with write_errors(self._temporary):
            self._opened["log_w"][:, first : first + log_w.shape[1]] = log_w

    def save(self) -> None:
        """Bring everything to the disk, so that another process can continue.

        Raises:
            StoreWriteError: the disk refuses, or the run was removed.
        """
        layout.make_home(self._run.fs, self._folder)
        with write_errors(self._temporary):
            self._opened.flush()
            self._run.fs.sync(self._temporary)

    def finish(self, stem: str, attrs: Mapping[str, Any]) -> Path:
        """Give a closed file its name: ``log_w/STEM.h5``, or ``STEM-2.h5`` ... where the name is taken.

        Args:
            stem: first part of the name.
            attrs: what was evaluated, a JSON-able mapping.

        Returns:
            The path of the file.

        Raises:
            StoreWriteError: the disk refuses, or the run was removed.
        """
        layout.make_home(self._run.fs, self._folder)
        self._continue()
        with write_errors(self._temporary):
            self._opened.attrs["attrs"] = documents.encode(attrs).decode("ascii")
            self._held.close()
            self._run.fs.sync(self._temporary)
        digest, number = results.file_sha256(self._temporary), 1
        while True:
            path = self._folder / f"{stem}{'' if number == 1 else f'-{number}'}.h5"
            number += 1
            with write_errors(path):
                try:  # the digest claims the name
                    write_exclusive(self._run.fs, results.digest_path(path), results.digest_line(path, digest))
                except FileExistsError:
                    continue
                self._run.fs.sync(results.digest_path(path))
                self._run.fs.rename(self._temporary, path)
                self._run.fs.sync(self._folder)
            return path

    def close(self) -> None:
        """Close the file; what was not saved may be lost."""
        with contextlib.suppress(OSError, ValueError):
            self._held.close()

    def _continue(self) -> bool:
        if not self._temporary.exists():
            return False
        with write_errors(self._temporary):
            file = self._held.enter_context(self._run.fs.open(self._temporary, "r+b"))
            try:
                self._opened = self._held.enter_context(h5py.File(file, "r+"))
                whole = self._opened["log_w"].shape == self._shape
            except (OSError, KeyError):
                whole = False
        if not whole:
            self._held.close()
        return whole

    def _describe(self) -> None:
        """Make the array and its axes.

        All space is allocated now: then adding examples changes no other part of the file, and a kill damages none.
        """
        k, examples = self._shape
        plan = _low.h5p.create(_low.h5p.DATASET_CREATE)
        plan.set_alloc_time(_low.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(_low.h5d.FILL_TIME_NEVER)
        dims = {"k": np.arange(k), "example": np.arange(examples)}
        log_w = self._opened.create_dataset("log_w", self._shape, self._kind, chunks=(k, self._batch), dcpl=plan)
        log_w.attrs["units"] = "nats"
        log_w.attrs["long_name"] = "log p(x, z) - log q(z | x)"
        for axis, (name, values) in enumerate(dims.items()):
            scale = self._opened.create_dataset(name, data=values)
            scale.make_scale(name)
            log_w.dims[axis].attach_scale(scale)
        self._opened.attrs["encoding-type"] = FOLDER
        self._opened.attrs["encoding-version"] = hdf5.ENCODING_VERSION
