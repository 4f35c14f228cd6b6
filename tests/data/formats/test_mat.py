import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from dregcli.data.formats.mat import mat_variables, parse_mat
from dregcli.errors import DataCorrupt
from tests.support import data_mat
from tests.support.data_mat import compressed, element, mat_bytes, matrix, opaque

VALUES = np.arange(12.0).reshape(3, 4) / 11


def parse(content: bytes, name: str = "data", **options):
    return parse_mat(content, names=(name,), where="file", **options)[name]


@pytest.mark.parametrize("pack", [lambda variable: variable, compressed], ids=["plain", "compressed"])
@pytest.mark.parametrize("kind", ["double", "single", "uint8", "int16"])
def test_reads_what_the_format_says(pack, kind):
    values = VALUES if kind in ("double", "single") else np.rint(VALUES * 100)
    found = parse(mat_bytes(pack(matrix("other", VALUES.T)), pack(matrix("data", values, kind))))
    np.testing.assert_allclose(found, values, rtol=1e-6)
    assert found.shape == (3, 4)


def test_logical():
    found = parse(mat_bytes(matrix("data", VALUES > 0.5, "uint8", flags=data_mat.LOGICAL)))
    np.testing.assert_array_equal(found, VALUES > 0.5)


def test_tells_what_is_there_without_reading_it():
    content = mat_bytes(matrix("data", VALUES), matrix("bits", VALUES > 0.5, "uint8", flags=data_mat.LOGICAL))
    found = mat_variables(content, where="file", limit=10_000)
    assert {name: (each.shape, each.kind, each.nbytes) for name, each in found.items()} == {
        "data": ((3, 4), "double", 96),
        "bits": ((3, 4), "logical", 12),
    }


def test_other_variables_may_be_anything():
    cell = element(14, element(6, struct.pack("<II", 1, 0)) + element(5, bytes(8)) + element(1, b"notes"))
    np.testing.assert_array_equal(parse(mat_bytes(cell, matrix("data", VALUES))), VALUES)


@pytest.mark.parametrize("pack", [lambda variable: variable, compressed], ids=["plain", "compressed"])
@pytest.mark.parametrize("first", [True, False])
def test_objects_of_matlab_are_listed_and_never_read(pack, first):
    """Strings and tables, whose values are in a part without a name, which is no variable."""
    data, objects = [pack(matrix("data", VALUES))], [pack(opaque("s", "string")), pack(opaque("grades", "table"))]
    parts = [*objects, *data] if first else [*data, *objects]
    content = mat_bytes(*parts, pack(matrix("", VALUES, "uint8")))
    found = mat_variables(content, where="file", limit=10_000)
    assert {name: (each.kind, each.shape) for name, each in found.items()} == {
        "data": ("double", (3, 4)),
        "s": ("string", ()),
        "grades": ("table", ()),
    }
    np.testing.assert_allclose(parse(content), VALUES)
    with pytest.raises(DataCorrupt, match="'grades' is a table, not an array of numbers"):
        parse(content, "grades")
    with pytest.raises(DataCorrupt, match="two variables 's'"):
        parse(mat_bytes(*parts, objects[0]))


def object_named(kind: int) -> bytes:
    parts = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"data")
    if kind == data_mat.STRUCT:
        parts += struct.pack("<HHi", 5, 4, 8) + element(1, b"field\0\0\0")
    if kind == data_mat.OBJECT:
        parts += element(1, b"evil") + struct.pack("<HHi", 5, 4, 8) + element(1, b"field\0\0\0")
    if kind == data_mat.CHAR:
        parts += element(4, b"a\0")
    else:
        parts += matrix("", VALUES)
    return mat_bytes(element(14, parts))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (data_mat.CELL, "cell"),
        (data_mat.STRUCT, "struct"),
        (data_mat.OBJECT, "object"),
        (data_mat.CHAR, "char"),
        (data_mat.SPARSE, "sparse"),
        (data_mat.SPARSE | data_mat.LOGICAL << 8, "sparse"),
        (data_mat.FUNCTION, "function"),
    ],
)
def test_what_is_no_array_of_numbers_is_never_read(kind, word, monkeypatch):
    import scipy.io

    content = object_named(kind)
    monkeypatch.setattr(scipy.io, "loadmat", None)
    with pytest.raises(DataCorrupt, match=f"'data' is a {word}, not an array of numbers"):
        parse(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"<html>log in</html>" * 20, "cannot be read"),
        (mat_bytes(matrix("other", VALUES)), "no variable 'data'; it has: other"),
        (mat_bytes(), "no variable 'data'; it has: none"),
        (mat_bytes(matrix("data", VALUES), matrix("data", VALUES)), "two variables|cannot be read: Duplicate"),
        (mat_bytes(matrix("data", VALUES[:0])), "'data' is empty: 0 x 4"),
        (mat_bytes(matrix("data", np.where(VALUES > 0.5, np.nan, 0))), "not finite"),
        (mat_bytes(matrix("data", np.where(VALUES > 0.5, np.inf, 0))), "not finite"),
        (mat_bytes(matrix("data", VALUES, flags=data_mat.COMPLEX, imaginary=True)), "'data' is complex128"),
        (mat_bytes(matrix("data", VALUES))[:-40], "truncated|cannot be read"),
        (mat_bytes(compressed(matrix("data", VALUES)))[:-4], "truncated"),
        (mat_bytes(compressed(matrix("data", VALUES))[:-30] + bytes(30)), "damaged|cannot be read"),
        (mat_bytes(matrix("data", VALUES, shape=(4, 4))), "cannot be read"),
        # More values than the file has room for: refused by what it says of itself.
        (mat_bytes(matrix("data", VALUES, shape=(100_000, 100_000))), "promises 100000 x 100000 double, more than"),
        (mat_bytes(matrix("data", VALUES, shape=(-3, -4))), "empty|cannot be read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "version 7.3, which is HDF5"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(600), "version 7.3, which is HDF5"),
    ],
)
def test_refuses_with_the_reason(content, reason):
    with pytest.raises(DataCorrupt, match=reason) as caught:
        parse(content, limit=1 << 20)
    assert caught.value.where == "file"


def test_a_bomb_never_gets_its_memory():
    """A small array that claims to be followed by 200 MB of the same variable."""
    inner = struct.pack("<II", 14, 200_000_000)
    packer = zlib.compressobj()
    packed = packer.compress(inner) + b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    content = mat_bytes(struct.pack("<II", 15, len(packed)) + packed)
    assert len(content) < 300_000
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupt, match="exceed the 1,048,576 bytes"):
            parse(content, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_every_truncation_is_refused():
    content = mat_bytes(compressed(matrix("data", VALUES)))
    for length in range(0, len(content), 3):
        with pytest.raises(DataCorrupt):
            parse(content[:length])
