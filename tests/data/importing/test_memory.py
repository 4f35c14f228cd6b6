"""Sources larger than the memory pass through it piece by piece, also when their rows are shuffled."""

import tracemalloc
from contextlib import ExitStack

import h5py
import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.importing.contract import Scratch
from dregcli.data.importing.request import ImportWords, read_request
from dregcli.data.importing.run import import_data
from dregcli.errors import DataCorrupt
from dregcli.names import Split
from tests.support.data_idx import idx_bytes
from tests.support.listener import Recorder

N, D = 24_000, 1024


def rows(first, last):
    """Bytes that tell their row and column."""
    i, j = np.arange(first, last)[:, None], np.arange(D)[None]
    return ((i * 31 + j * 7 + i * j // 97) % 251).astype(np.uint8)


def make(kind, folder):
    path = folder / f"a.{kind}"
    if kind == "npy":
        out = np.lib.format.open_memmap(path, "w+", np.uint8, (N, D))
        for first in range(0, N, 1000):
            out[first : first + 1000] = rows(first, first + 1000)
        out.flush()
    elif kind == "idx":
        with path.open("wb") as file:
            file.write(idx_bytes(np.zeros((1, 1), np.uint8))[:4])
            file.write(N.to_bytes(4, "big") + D.to_bytes(4, "big"))
            for first in range(0, N, 1000):
                file.write(rows(first, first + 1000).tobytes())
    else:
        options = {"chunks": (100, D), "compression": "gzip", "compression_opts": 1} if kind == "packed.h5" else {}
        with h5py.File(path, "w") as file:
            item = file.create_dataset("x", (N, D), np.uint8, **options)
            for first in range(0, N, 1000):
                item[first : first + 1000] = rows(first, first + 1000)
    return path


@pytest.mark.parametrize("kind", ["npy", "idx", "h5", "packed.h5"])
def test_memory_stays_far_below_the_size(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("dregcli.data.importing.contract.RESIDENT_BYTES", N * D // 8)
    path = make(kind, tmp_path)
    request = read_request(ImportWords(source=path, name="mine", shape="32x32"), taken={})
    tracemalloc.start()
    try:
        import_data(request, tmp_path / "data", Recorder())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Pieces are of 1 MiB, of which some conversions are held at once.
    assert peak < N * D / 2, f"{peak:,} bytes for a source of {N * D:,}"
    dataset = read_cache("mine", tmp_path / "data", resident_bytes=0)
    assert dataset.is_mapped
    order = np.random.RandomState(0).permutation(N)
    for split, start in ((Split.TRAIN, 0), (Split.VALID, 19_200), (Split.TEST, 21_600)):
        for at in (0, 1, 2399):
            row = order[start + at]
            np.testing.assert_array_equal(dataset.splits[split][at], rows(row, row + 1)[0])


@pytest.mark.parametrize(("pieces", "came"), [(2, 16), (4, 32)])
def test_unpacked_content_fills_its_array_exactly(pieces, came, tmp_path):
    with ExitStack() as stack:
        scratch = Scratch(tmp_path, stack)
        with pytest.raises(DataCorrupt, match=f"the array has {came} bytes where 24 were promised"):
            scratch.array([bytes(8)] * pieces, (3, 2), np.dtype(np.float32))
        whole = scratch.array([np.arange(4, dtype=np.uint8)] * 3, (-1, 4), np.dtype(np.uint8))
        np.testing.assert_array_equal(whole, [[0, 1, 2, 3]] * 3)
        assert not whole.flags.writeable
    assert list(tmp_path.iterdir()) == []
