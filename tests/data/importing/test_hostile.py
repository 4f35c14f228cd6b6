"""Hostile and damaged sources are refused with the reason, no memory is spent on promises, and nothing is kept."""

import contextlib
import gzip
import io
import os
import pickle
import stat
import struct
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io
from scipy import sparse

from dregcli.errors import DataCorrupt, DregError, UsageError
from tests.support.data_idx import idx_bytes
from tests.support.data_import import assert_holds, bring, refuse, seeded

VALUES = np.random.RandomState(2).rand(20, 9)


class Exploding:
    """Unpickling it would leave a file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (os.mkdir, (str(self.witness),))


def npy_bytes(values, **options):
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def header(shape, descr="'<f8'", version=b"\x01\x00"):
    """An .npy header that says anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(text)) + text


class TestPickle:
    def test_of_an_npy(self, tmp_path):
        values = np.empty(3, object)
        values[:] = [Exploding(tmp_path / "witness")] * 3
        np.save(tmp_path / "a.npy", values, allow_pickle=True)
        refuse(tmp_path / "a.npy", tmp_path / "data", "Python objects, which would have to be unpickled", DataCorrupt)
        assert not (tmp_path / "witness").exists()

    @pytest.mark.parametrize("keys", [[], ["evil"]])
    def test_of_an_npz(self, tmp_path, keys):
        values = np.empty(3, object)
        values[:] = [Exploding(tmp_path / "witness")] * 3
        np.savez(tmp_path / "a.npz", evil=values, allow_pickle=True)
        refuse(tmp_path / "a.npz", tmp_path / "data", "unpickled", DataCorrupt, keys=keys)
        assert not (tmp_path / "witness").exists()

    def test_a_bare_pickle(self, tmp_path):
        (tmp_path / "a.npy").write_bytes(pickle.dumps(Exploding(tmp_path / "witness")))
        refuse(tmp_path / "a.npy", tmp_path / "data", "format is not known", DataCorrupt)
        assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (VALUES.astype(np.complex128), "complex numbers"),
        (np.zeros(4, [("a", "f4"), ("b", "i4")]), "records"),
        (np.array([["a", "b"]] * 3), "<U1"),
        (np.array([["2020-01-01"] * 3] * 3, "M8[D]"), "datetime64"),
        (VALUES.astype(np.longdouble), "not booleans, integers or floats of up to 64 bits"),
    ],
)
def test_types_that_are_no_numbers(values, reason, tmp_path):
    if values.dtype.itemsize <= 8 and values.dtype == np.float64:
        pytest.skip("long double is double here")
    (tmp_path / "a.npy").write_bytes(npy_bytes(values))
    refuse(tmp_path / "a.npy", tmp_path / "data", reason, DataCorrupt)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the source is empty"),
        (b"   \n\n", "the source has no numbers"),
        (b"<html>not here</html>", "format is not known: it starts with 3c 68 74 6d 6c"),
        (b"\x93NUMPY", "malformed or cut short"),
        (npy_bytes(VALUES)[:100], "malformed or cut short"),
        (npy_bytes(VALUES)[:-8], "promises 20 x 9 values of float64 = 1,440 bytes, but 1,432 follow"),
        (npy_bytes(VALUES) + b"x", "but 1,441 follow"),
        (header((1 << 40, 1 << 40)) + bytes(64), "but 64 follow"),
        (header((-5, 9)) + bytes(64), "empty"),
        (header(()) + bytes(8), "empty"),
        (header((0, 9)), "empty"),
        (header("(3, __import__('os'))"), "malformed"),
        (header((3, 3), descr="'|O'"), "unpickled"),
        (header((3, 3), descr="('<f8', (2,))") + bytes(144), "records"),
        (header((3, 3), version=b"\x03\x00") + bytes(72), "version"),
        (header((3, 3), version=b"\x09\x00") + bytes(72), "malformed|version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 5000, "malformed"),
        (idx_bytes(np.zeros((3, 2, 2), np.uint8))[:-1], "promises 3 x 2 x 2 = 12 bytes, but 11 follow"),
        (struct.pack(">I3I", 0x803, *[2**32 - 1] * 3) + bytes(24), "but 24 follow"),
        (b"1 2 3\n4 5\n6 7 8\n", "line 2 has 2 numbers, not 3"),
        (b"1 2 3\n4 nan 6\n", "not finite"),
        (b"1 2 3\n4 e e\n", "line 2, column 2 holds 'e', which is not a number"),
        (b"1 2\n3 4\n" * 200 + b"5 <script>", "line 401, column 2 holds '<script>', which is not a number"),
        (b"\x1f\x8b\x08", "truncated"),
        (gzip.compress(npy_bytes(VALUES), mtime=0)[:-20], "truncated"),
        (gzip.compress(b"", mtime=0), "packed content of the source is empty"),
        (gzip.compress(gzip.compress(npy_bytes(VALUES), mtime=0), mtime=0), "format is not known"),
        (b"PK\x03\x04rubbish", "zip archive cannot be read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "HDF5 cannot read the file"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM\x0f\x00\x00\x00\xff\xff\xff\x7f", "truncated"),
    ],
)  # fmt: skip
def test_content_that_is_not_what_it_says(content, reason, tmp_path, frugal):
    (tmp_path / "source").write_bytes(content)
    refuse(tmp_path / "source", tmp_path / "data", reason, DataCorrupt)


def test_every_truncation_of_every_format(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=VALUES)
    scipy_io.savemat(tmp_path / "a.mat", {"x": VALUES})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = VALUES
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", data=VALUES, compression="gzip")
    for name in ("a.npz", "a.mat", "a.h5", "b.h5"):
        good = (tmp_path / name).read_bytes()
        for length in range(1, len(good), len(good) // 12):
            (tmp_path / "cut").write_bytes(good[:length])
            refuse(tmp_path / "cut", tmp_path / "data", ".", DataCorrupt)


class TestSourcesThatAreNone:
    def test_not_there(self, tmp_path):
        refuse(tmp_path / "nowhere.npy", tmp_path / "data", "not a file or folder on this machine", UsageError)
        refuse("", tmp_path / "data", "no source is named", UsageError)
        refuse("~nobody-has-this-name/x.npy", tmp_path / "data", "cannot be found", UsageError)

    def test_a_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.npy")
        refuse(tmp_path / "pipe.npy", tmp_path / "data", "neither a file nor a folder", UsageError)

    def test_unreadable(self, tmp_path, monkeypatch):
        path = tmp_path / "a.npy"
        path.write_bytes(npy_bytes(VALUES))
        path.chmod(0)
        if os.access(path, os.R_OK):
            # Root reads everything; a folder that refuses is what is left to try.
            def denied(*_, **__):
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr("dregcli.data.importing.detect.Path.open", denied)
        refuse(path, tmp_path / "data", "cannot be read: Permission denied", UsageError)

    def test_one_image(self, tmp_path):
        Image.new("L", (8, 8)).save(tmp_path / "a.png")
        refuse(tmp_path / "a.png", tmp_path / "data", "this is one image", UsageError)


class TestValues:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, bad, tmp_path):
        values = VALUES.copy()
        values[13, 4] = bad
        (tmp_path / "a.npy").write_bytes(npy_bytes(values))
        refuse(tmp_path / "a.npy", tmp_path / "data", "example 13 has a value that is not finite", DataCorrupt)
        np.savez(tmp_path / "b.npz", train=VALUES, test=values)
        refuse(tmp_path / "b.npz", tmp_path / "data", "example 13 of array 'test' has", DataCorrupt)

    @pytest.mark.parametrize("value", [0.0, 7.5])
    def test_constant(self, value, tmp_path):
        (tmp_path / "a.npy").write_bytes(npy_bytes(np.full((20, 9), value)))
        refuse(
            tmp_path / "a.npy", tmp_path / "data", f"every value is {value:g}: there is nothing to learn", DataCorrupt
        )

    @pytest.mark.parametrize("count", [1, 2])
    def test_too_few(self, count, tmp_path):
        (tmp_path / "a.npy").write_bytes(npy_bytes(VALUES[:count]))
        refuse(tmp_path / "a.npy", tmp_path / "data", f"{count} examples? cannot make 3 splits", UsageError)


def hostile_zip(path, name="a.npy", content=None, *, mode=None, flags=0, twice=False):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        if mode:
            info.external_attr = mode << 16
        for _ in range(2 if twice else 1):
            archive.writestr(info, npy_bytes(VALUES) if content is None else content)
    if flags:
        raw = bytearray(path.read_bytes())
        raw[raw.index(b"PK\x01\x02") + 8] |= flags
        path.write_bytes(raw)
    return path


class TestZip:
    @pytest.mark.parametrize("ending", [".npy", ".png"])
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"name": "../../escaped"}, "with a path outside the archive"),
            ({"name": "/etc/escaped"}, "with a path outside the archive"),
            ({"name": "C:escaped"}, "with a path outside the archive"),
            ({"name": "a/../../b"}, "with a path outside the archive"),
            ({"mode": stat.S_IFLNK | 0o777, "content": b"/etc/passwd"}, "a link or another special file"),
            ({"mode": stat.S_IFIFO | 0o644}, "a link or another special file"),
            ({"flags": 1}, "encrypted"),
        ],
    )
    def test_hostile_entries(self, ending, changes, reason, tmp_path):
        changes = {"name": "a", **changes}
        path = hostile_zip(tmp_path / "a.zip", **{**changes, "name": changes["name"] + ending})
        refuse(path, tmp_path / "data", reason, DataCorrupt)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip"]

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_one_name_twice(self, tmp_path):
        refuse(hostile_zip(tmp_path / "a.zip", twice=True), tmp_path / "data", "has a member twice", DataCorrupt)

    def test_a_wrong_crc(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, x=VALUES)
        raw = bytearray(path.read_bytes())
        raw[500] ^= 1
        path.write_bytes(raw)
        refuse(path, tmp_path / "data", "cannot be read.*CRC", DataCorrupt)

    def test_a_size_that_lies(self, tmp_path):
        path = hostile_zip(tmp_path / "a.zip", content=npy_bytes(VALUES))
        raw = bytearray(path.read_bytes())
        at = raw.index(b"PK\x01\x02") + 24
        raw[at : at + 4] = struct.pack("<I", struct.unpack("<I", raw[at : at + 4])[0] - 8)
        path.write_bytes(raw)
        refuse(path, tmp_path / "data", "cannot be read|promise", DataCorrupt)

    def test_content_that_is_shorter_than_promised(self, tmp_path):
        """Its CRC is right: only counting tells."""
        buffer = io.BytesIO()
        Image.fromarray((VALUES * 255).astype(np.uint8)).save(buffer, "PNG")
        path = hostile_zip(tmp_path / "a.zip", "a.png", buffer.getvalue())
        raw = bytearray(path.read_bytes())
        at = raw.index(b"PK\x01\x02") + 24
        raw[at : at + 4] = struct.pack("<I", len(buffer.getvalue()) + 8)
        path.write_bytes(raw)
        size = len(buffer.getvalue())
        refuse(path, tmp_path / "data", f"does not unpack to the {size + 8} bytes", DataCorrupt)

    @pytest.mark.parametrize("packed", ["npz", "zip", "gz", "h5", "mat"])
    def test_a_bomb_gets_no_memory(self, packed, tmp_path, frugal):
        """80 MB of zeros in less than 100 kB, or 5 GB in 6 MB."""
        path = tmp_path / f"bomb.{packed}"
        size = 80_000_000

        def pieces():
            yield header((size // 8, 1))
            for _ in range(size // 1_000_000):
                yield bytes(1_000_000)

        if packed in ("npz", "zip"):
            name = "x.npy" if packed == "npz" else "x.png"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as out:
                for piece in pieces():
                    out.write(piece)
        elif packed == "gz":
            with gzip.open(path, "wb", 9) as out:
                for piece in pieces():
                    out.write(piece)
        elif packed == "h5":
            with h5py.File(path, "w") as file:
                # 5 GB; less is believed where each piece is what it promises.
                item = file.create_dataset("x", (80, 1 << 26), "u1", chunks=(1, 1 << 26), compression="gzip")
                piece = zlib.compress(bytes(1 << 26))
                for i in range(80):
                    item.id.write_direct_chunk((i, 0), piece)
        else:
            scipy_io.savemat(path, {"x": np.zeros((80, 1_000_000), np.uint8)}, do_compression=True)
        assert path.stat().st_size < (6_000_000 if packed == "h5" else 100_000)
        tracemalloc.reset_peak()
        refuse(path, tmp_path / "data", "archive bomb|exceed the|more than the", DataCorrupt)


def _external_link(file, elsewhere):
    file["x"] = h5py.ExternalLink(str(elsewhere), "x")


def _external_storage(file, elsewhere):
    file.create_dataset("x", VALUES.shape, "f8", external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)])


def _virtual(file, elsewhere):
    layout = h5py.VirtualLayout(VALUES.shape, "f8")
    layout[:] = h5py.VirtualSource(str(elsewhere), "x", VALUES.shape)
    file.create_virtual_dataset("x", layout)


def _references(file, elsewhere):
    file.create_dataset("x", (3, 3), h5py.ref_dtype)


def _strings(file, elsewhere):
    file.create_dataset("x", (3, 3), h5py.string_dtype())


def _compound(file, elsewhere):
    file.create_dataset("x", (3,), np.dtype([("a", "f4"), ("b", "i4")]))


def _complex(file, elsewhere):
    file["x"] = VALUES.astype(np.complex64)


def _terabytes(file, elsewhere):
    file.create_dataset("x", (1 << 40, 9), "f8")


def _chunked_terabytes(file, elsewhere):
    file.create_dataset("x", (1 << 24, 9), "f8", chunks=(1 << 12, 9))


def _never_written(file, elsewhere):
    file.create_dataset("x", (20, 9), "f8")


def _empty(file, elsewhere):
    file.create_dataset("x", (0, 9), "f8")


def _scalar(file, elsewhere):
    file["x"] = 3.0


def _nothing(file, elsewhere):
    pass


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (_external_link, "link to another file"),
        (_external_storage, "values in another file"),
        (_virtual, "view of other files"),
        (_references, "unpickled"),
        (_strings, "unpickled"),
        (_compound, "records"),
        (_complex, "complex"),
        (_terabytes, "promises .* but 0 were written"),
        (_chunked_terabytes, "promises .* pieces, but 0 were written"),
        (_never_written, "but 0 were written"),
        (_empty, "empty"),
        (_scalar, "empty|one axis|has 0 axes"),
        (_nothing, "no examples"),
    ],
)
@pytest.mark.parametrize("keys", [[], ["x"]])
def test_hdf5_gives_only_what_lies_in_it(hostile, reason, keys, tmp_path, frugal):
    with h5py.File(tmp_path / "elsewhere", "w") as file:
        file["x"] = VALUES
    with h5py.File(tmp_path / "a.h5", "w") as file:
        hostile(file, tmp_path / "elsewhere")
    if keys and hostile is _nothing:
        reason = "no array is called 'x'"
    refuse(tmp_path / "a.h5", tmp_path / "data", reason, keys=keys)


def test_hdf5_links_in_a_circle_and_soft_links_do_no_harm(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("group")
        group["again"] = group
        group["up"] = file
        file["x"] = VALUES
        file["group/same"] = file["x"]
        file["soft"] = h5py.SoftLink("/x")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink("/etc/passwd", "x")
    assert_holds(bring(tmp_path / "a.h5", tmp_path / "data").dataset, seeded(VALUES.astype(np.float32)))


@pytest.mark.parametrize("kind", ["cell", "struct", "char", "sparse", "complex"])
def test_mat_objects_are_not_read(kind, tmp_path):
    value = {
        "cell": np.array([[VALUES, "text"]], dtype=object),
        "struct": {"field": VALUES},
        "char": "text",
        "sparse": sparse.csc_matrix(VALUES),
        "complex": VALUES.astype(complex),
    }[kind]
    scipy_io.savemat(tmp_path / "a.mat", {"x": value})
    for keys in ([], ["x"]):
        refuse(tmp_path / "a.mat", tmp_path / "data", f"{kind}|complex", DataCorrupt, keys=keys)


def test_no_flipped_byte_gets_through_as_a_crash(tmp_path):
    """Every import of a damaged file ends with data that are whole by themselves, or with a reason."""
    np.savez_compressed(tmp_path / "a.npz", x=VALUES[:5])
    (tmp_path / "a.npy").write_bytes(npy_bytes(VALUES[:5]))
    scipy_io.savemat(tmp_path / "a.mat", {"x": VALUES[:5]})
    for name in ("a.npz", "a.npy", "a.mat"):
        good = (tmp_path / name).read_bytes()
        for at in range(0, len(good), max(1, len(good) // 60)):
            bad = bytearray(good)
            bad[at] ^= 0xFF
            (tmp_path / "bad").with_suffix(name[-4:]).write_bytes(bad)
            with contextlib.suppress(DregError):
                bring((tmp_path / "bad").with_suffix(name[-4:]), tmp_path / "data", replace=True)
