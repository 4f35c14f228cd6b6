"""HDF5 files whose pieces lie about their size, and types that only HDF5 has: read right, or refused by name."""

import zlib

import h5py
import numpy as np
import pytest

from dregcli.errors import DataCorrupt
from tests.support.data_import import assert_holds, bring, refuse, seeded

VALUES = np.random.RandomState(4).randint(0, 256, (50, 36)).astype(np.uint8)


@pytest.mark.parametrize("declared", [1, 2])
def test_a_piece_that_unpacks_to_more_than_it_says_is_never_given_to_hdf5(declared, tmp_path, frugal):
    """HDF5 would unpack all of it: 200 MB of a piece declared as 36 bytes."""
    layers = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layers.set_chunk((1, 36))
    for _ in range(declared):
        layers.set_deflate(9)
    stream = zlib.compressobj(9)
    content = b"".join([*(stream.compress(bytes(1_000_000)) for _ in range(200)), stream.flush()])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((50, 36))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, space, layers)
        for i in range(50):
            made.write_direct_chunk((i, 0), content if i == 30 else zlib.compress(VALUES[i].tobytes()))
    reason = "the piece at 30, 0 unpacks to more than the 36 bytes" if declared == 1 else "packed twice, which"
    refuse(tmp_path / "a.h5", tmp_path / "data", reason, DataCorrupt)


@pytest.mark.parametrize(("size", "said"), [(35, "less"), (37, "more")])
def test_a_piece_of_another_size_is_refused(size, said, tmp_path):
    """A shorter one would have HDF5 read what lies behind it in memory."""
    for packed in (True, False):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            item = file.create_dataset("x", (50, 36), "u1", chunks=(1, 36), compression="gzip")
            item[:] = VALUES
            raw = bytes(range(size))
            # The mask says that this piece was not packed.
            item.id.write_direct_chunk((7, 0), zlib.compress(raw) if packed else raw, 0 if packed else 1)
        reason = f"unpacks to {said} than the 36" if packed else f"has {size} bytes, not the 36"
        refuse(tmp_path / "a.h5", tmp_path / "data", reason, DataCorrupt)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf", "shuffle": True},
        {"fletcher32": True},
        {"scaleoffset": 0},
        {"scaleoffset": 0, "compression": "gzip"},
        {"chunks": (7, 5), "compression": "gzip"},
        {"chunks": (50, 36)},
        {},
    ],
)
@pytest.mark.parametrize("dtype", [">u2", "u1", "f4", "i8"])
def test_every_honest_packing_is_read(options, dtype, tmp_path):
    if dtype == "f4" and "scaleoffset" in options:
        options = {**options, "scaleoffset": 3}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=VALUES.astype(dtype), **options)
    assert_holds(bring(tmp_path / "a.h5", tmp_path / "data").dataset, seeded(VALUES))


def test_filters_that_are_not_here_are_named(tmp_path):
    layers = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layers.set_chunk((1, 36))
    layers.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((50, 36)), layers)
        for i in range(50):
            made.write_direct_chunk((i, 0), VALUES[i].tobytes())
    refuse(tmp_path / "a.h5", tmp_path / "data", "needs filter 32001", DataCorrupt)


def test_pieces_far_larger_than_their_array(tmp_path, frugal):
    """Each piece is unpacked whole: 3.6 GB for 1,800 values."""
    layers = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layers.set_chunk((60_000, 60_000))
    layers.set_deflate(9)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((50, 36), (h5py.h5s.UNLIMITED, h5py.h5s.UNLIMITED))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, space, layers)
        made.write_direct_chunk((0, 0), zlib.compress(VALUES.tobytes()))
    refuse(tmp_path / "a.h5", tmp_path / "data", "3,600,000,000 bytes or more would come out", DataCorrupt)


@pytest.mark.parametrize("chunked", [False, True])
def test_integers_of_fewer_bits_than_their_bytes(chunked, tmp_path):
    """8 bits that lie 4 bits up in 2 bytes: only HDF5 knows where they are."""
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(8)
    kind.set_offset(4)
    layers = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunked:
        layers.set_chunk((7, 36))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((50, 36)), layers)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, VALUES.astype(np.uint16))
    assert VALUES.astype("<u2").tobytes() not in (tmp_path / "a.h5").read_bytes()
    assert_holds(bring(tmp_path / "a.h5", tmp_path / "data").dataset, seeded(VALUES))


def test_more_objects_than_an_honest_file_has(tmp_path, monkeypatch):
    monkeypatch.setattr("dregcli.data.importing.hdf5._MOST_OBJECTS", 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(4):
            file.create_group(f"group-{i}")
    refuse(tmp_path / "a.h5", tmp_path / "data", "more than 3 objects", DataCorrupt)
