import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from dregcli.errors import StoreCorrupt, StoreFormatError
from dregcli.store import hdf5

PATH = Path("x.h5")
ARRAYS = {
    "train/bound": np.array([0.1, np.nan]),
    "keep": np.array([True, False]),
    "n": np.zeros((0, 3), dtype=np.int64),
}


def write(**attrs: object) -> bytes:
    return hdf5.encode("evals", arrays=ARRAYS, attrs=attrs, units={"bound": "nats per example"})


def forge(build) -> bytes:
    """A file made by other means, with a digest that fits."""
    with h5py.File("x", "w", driver="core", backing_store=False, userblock_size=512) as file:
        file.attrs["encoding-type"] = "evals"
        file.attrs["encoding-version"] = "1"
        file.attrs["attrs"] = "{}"
        build(file)
        file.flush()
        body = file.id.get_file_image()
    return hdf5._header(body) + body


def test_arrays_and_attributes_come_back() -> None:
    content = hdf5.decode(write(seed=3, text="x" * 200_000, nan=float("nan")), "evals", PATH)
    assert content.attrs["seed"] == 3
    assert len(content.attrs["text"]) == 200_000
    assert np.isnan(content.attrs["nan"])
    assert content.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(content.arrays[name], array, strict=True)


def test_any_hdf5_program_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(write())
    with h5py.File(path) as file:
        assert file["train/bound"][0] == 0.1
        assert file["train/bound"].attrs["units"] == "nats per example"
        assert (file.attrs["encoding-type"], file.attrs["encoding-version"]) == ("evals", "1")


def test_every_flipped_byte_and_every_truncation_is_found() -> None:
    whole = write()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        with pytest.raises(StoreCorrupt, match="digest"):
            hdf5.decode(bytes(changed), "evals", PATH)
    for length in range(0, len(whole), 7):
        with pytest.raises(StoreCorrupt, match="digest"):
            hdf5.decode(whole[:length], "evals", PATH)
    with pytest.raises(StoreCorrupt, match="digest"):
        hdf5.decode(whole + b"\0", "evals", PATH)


def test_another_type_and_a_newer_version_are_refused() -> None:
    with pytest.raises(StoreCorrupt, match="type 'metrics'"):
        hdf5.decode(write(), "metrics", PATH)
    newer = forge(lambda file: file.attrs.modify("encoding-version", "2"))
    with pytest.raises(StoreFormatError) as caught:
        hdf5.decode(newer, "evals", PATH)
    assert "newer dreg" in str(caught.value)


HOSTILE = {
    "external link": lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
    "soft link": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
    "loop": lambda file: file.create_group("a").__setitem__("b", file["a"]),
    "deep": lambda file: file.create_group("a/b/c"),
    "filter": lambda file: file.create_dataset("x", data=np.zeros(100), compression="gzip"),
    "storage elsewhere": lambda file: file.create_dataset("x", (100,), "u1", external=[("/etc/passwd", 0, 100)]),
    "huge": lambda file: file.create_dataset("x", (10**15,), "f8"),
    "text": lambda file: file.create_dataset("x", data="text"),
    "type": lambda file: file.__setitem__("x", np.dtype("f8")),
    "attrs": lambda file: file.attrs.modify("attrs", "{"),
    "attrs of another type": lambda file: file.attrs.__setitem__("attrs", 3.5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_behind_a_right_digest_is_refused(name: str) -> None:
    with pytest.raises(StoreCorrupt) as caught:
        hdf5.decode(forge(HOSTILE[name]), "evals", PATH)
    assert caught.value.where == "x.h5"


def test_the_forger_makes_readable_files() -> None:
    content = hdf5.decode(forge(lambda file: file.create_dataset("x", data=np.ones(3))), "evals", PATH)
    assert content.arrays["x"].sum() == 3


def test_digest_over_no_hdf5_at_all_is_refused() -> None:
    with pytest.raises(StoreCorrupt, match="cannot be parsed"):
        hdf5.decode(hdf5._header(b"nothing") + b"nothing", "evals", PATH)


@pytest.mark.parametrize("name", ["", "/x", "a/b/c", "../x", "a//b", "."])
def test_names_that_are_no_path_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        hdf5.encode("evals", arrays={name: np.zeros(1)}, attrs={})


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([object()]), np.array([1j])])
def test_only_numbers_are_written(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not numbers"):
        hdf5.encode("evals", arrays={"x": array}, attrs={})


def test_equal_content_is_equal_bytes() -> None:
    assert write(a=1) == write(a=1)
    assert io.BytesIO(write(a=1)).read(512).rstrip(b"\0").endswith(b"}")
