import dataclasses
import errno
import os
import resource

import h5py
import numpy as np
import pytest

from dregcli.data import cache
from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import write_cache
from dregcli.data.catalogue import load_dataset
from dregcli.data.dataset import Dataset
from dregcli.data.folders import cache_path
from dregcli.errors import DataCorrupt, DatasetMissing, DregError, StoreFormatError, StoreWriteError
from dregcli.names import Split


@pytest.fixture
def dataset():
    random = np.random.RandomState(3)
    splits = {
        split: random.randint(0, 256, (n, 6)).astype(np.uint8) for split, n in zip(Split, (8, 3, 2), strict=True)
    }
    return Dataset.build(
        name="toy", height=2, width=3, levels=255, splits=splits, split_convention="dreg", source="café/über"
    )


@pytest.fixture
def cached(dataset, tmp_path):
    """The path of a good cache file of ``dataset``, in ``tmp_path``."""
    return write_cache(dataset, tmp_path)


def test_comes_back_as_it_was(dataset, cached, tmp_path):
    back = read_cache("toy", tmp_path)
    for field in ("name", "height", "width", "levels", "split_convention", "source", "checksum"):
        assert getattr(back, field) == getattr(dataset, field)
    for split in Split:
        np.testing.assert_array_equal(back.splits[split], dataset.splits[split])
        assert not back.splits[split].flags.writeable


@pytest.mark.parametrize("resident_bytes", [0, 1000])
def test_a_file_that_another_replaces_meanwhile(dataset, cached, tmp_path, monkeypatch, resident_bytes):
    """A mapped data set trusts the checksum that its file states, so the values must be of the same file."""
    other = {split: 255 - rows for split, rows in dataset.splits.items()}
    draft = dataclasses.replace(dataset.as_draft(), splits=other)
    find = cache._text

    def replaced(*given):
        monkeypatch.setattr(cache, "_text", find)
        write_cache(draft, tmp_path)
        return find(*given)

    monkeypatch.setattr(cache, "_text", replaced)
    back = read_cache("toy", tmp_path, resident_bytes=resident_bytes)
    assert (back.checksum, back.is_mapped) == (dataset.checksum, resident_bytes == 0)
    np.testing.assert_array_equal(back.splits[Split.TRAIN], dataset.splits[Split.TRAIN])
    assert read_cache("toy", tmp_path).checksum != dataset.checksum


def test_the_file_says_what_it_is(dataset, cached):
    with h5py.File(cached) as file:
        assert file.attrs["encoding-type"] == b"dreg-dataset"
        assert file.attrs["encoding-version"] == b"2"
        assert file.attrs["checksum"] == dataset.checksum.encode()
        assert file.attrs["split-convention"] == b"dreg"
        assert file.attrs["kind"] == b"intensity"
        assert file.attrs["valid-hash"] == dataset.split_hashes[Split.VALID].encode()
        assert {name: file[name].shape for name in file} == {
            "train": (8, 6),
            "valid": (3, 6),
            "test": (2, 6),
            "train-mean": (6,),
            "train-deviation": (6,),
        }
        assert all(file[name].chunks is None for name in file)


def test_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DREG_DATA_DIR", str(tmp_path))
    with pytest.raises(DatasetMissing) as caught:
        load_dataset("mnist", tmp_path)
    assert caught.value.where == str(tmp_path / "mnist.h5")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("dreg download mnist\n")
    assert "dreg download mnist --source FOLDER" in caught.value.hint


def test_unreadable_is_not_called_damaged(tmp_path):
    cache_path("toy", tmp_path).mkdir()
    with pytest.raises(DatasetMissing, match="cannot be read: Is a directory"):
        read_cache("toy", tmp_path)


class TestDamage:
    def test_no_flipped_byte_passes_unseen(self, dataset, cached, tmp_path):
        """Each fifth byte. HDF5 without checksums of its own crashed the interpreter here."""
        good = cached.read_bytes()
        refused = 0
        for at in range(0, len(good), 5):
            bad = bytearray(good)
            bad[at] ^= 0xFF
            cached.write_bytes(bad)
            try:
                back = read_cache("toy", tmp_path)
            except DataCorrupt:
                refused += 1
            else:
                assert back.checksum == dataset.checksum
                assert (back.source, back.split_convention) == (dataset.source, dataset.split_convention)
        assert refused > 0.5 * len(good) / 5

    def test_every_truncation_is_refused(self, cached, tmp_path):
        good = cached.read_bytes()
        for length in range(0, len(good), 11):
            cached.write_bytes(good[:length])
            with pytest.raises(DataCorrupt):
                read_cache("toy", tmp_path)

    def test_names_the_file_and_the_way_out(self, cached, tmp_path):
        cached.write_bytes(b"<html>")
        with pytest.raises(DataCorrupt) as caught:
            read_cache("toy", tmp_path)
        assert caught.value.where == str(cached)
        assert "dreg data rm toy" in str(caught.value.hint)

    def test_an_altered_pixel_is_refused(self, cached, tmp_path):
        with h5py.File(cached, "a") as file:
            file["test"][0, 0] ^= 1
        with pytest.raises(DataCorrupt, match="checksum"):
            read_cache("toy", tmp_path)

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("encoding-type", "metrics", "the file is 'metrics'"),
            ("name", "mnist", "the file holds 'mnist'"),
            ("levels", 0, "1 to 255"),
            ("kind", "real", "1 level"),
            ("kind", "binary", "1 level"),
            ("kind", "grey", "grey"),
            ("provenance", "[]", "not a JSON object"),
            ("provenance", "{", "cannot read"),
            ("train-hash", "0" * 64, "checksum"),
            ("levels", 254, "checksum|above"),
            ("levels", 255.0, "not an integer"),
            ("height", 3, "shape"),
            ("height", [2, 2], "not an integer"),
            ("source", h5py.Empty("f"), "not text"),
            ("source", 3, "not text"),
            ("checksum", np.bytes_(b"\xff"), "cannot read"),
        ],
    )
    def test_a_wrong_attribute_is_refused(self, cached, tmp_path, key, value, reason):
        with h5py.File(cached, "a") as file:
            file.attrs[key] = value
        with pytest.raises(DataCorrupt, match=reason):
            read_cache("toy", tmp_path)

    def test_a_missing_attribute_is_refused(self, cached, tmp_path):
        with h5py.File(cached, "a") as file:
            del file.attrs["checksum"]
        with pytest.raises(DataCorrupt, match="'checksum' is missing"):
            read_cache("toy", tmp_path)

    def test_an_unknown_version_says_what_to_do(self, cached, tmp_path):
        with h5py.File(cached, "a") as file:
            file.attrs["encoding-version"] = "3"
        with pytest.raises(StoreFormatError, match="format 3") as caught:
            read_cache("toy", tmp_path)
        assert caught.value.where == str(cached)
        assert "update dreg (git pull in its clone)" in str(caught.value.hint)


def _external_link(file, data, elsewhere):
    file["train"] = h5py.ExternalLink(str(elsewhere), "train")


def _soft_link(file, data, elsewhere):
    file["hidden"] = data
    file["train"] = h5py.SoftLink("/hidden")


def _group(file, data, elsewhere):
    file.create_group("train")


def _external_storage(file, data, elsewhere):
    file.create_dataset("train", data.shape, np.uint8, external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)])


def _virtual(file, data, elsewhere):
    layout = h5py.VirtualLayout(data.shape, np.uint8)
    layout[:] = h5py.VirtualSource(str(elsewhere), "train", data.shape)
    file.create_virtual_dataset("train", layout)


def _compressed(file, data, elsewhere):
    file.create_dataset("train", data=data, compression="gzip")


def _unallocated_terabytes(file, data, elsewhere):
    file.create_dataset("train", (1 << 40, data.shape[1]), np.uint8)


def _wide(file, data, elsewhere):
    file.create_dataset("train", data=data.astype(np.int64))


def _absent(file, data, elsewhere):
    pass


@pytest.mark.parametrize(
    "hostile",
    [
        _external_link,
        _soft_link,
        _group,
        _external_storage,
        _virtual,
        _compressed,
        _unallocated_terabytes,
        _wide,
        _absent,
    ],
)
def test_pixels_come_from_inside_the_file_or_not_at_all(dataset, cached, tmp_path, hostile):
    """The pixels that each reaches for are the right ones; it is the way to them that is refused."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(cached.read_bytes())
    with h5py.File(cached, "a") as file:
        del file["train"]
        hostile(file, dataset.splits[Split.TRAIN], elsewhere)
    with pytest.raises(DataCorrupt, match="'train'"):
        read_cache("toy", tmp_path)


class TestWriting:
    """The old file survives, no temporary file is left, and the error says what to do."""

    def left(self, folder):
        return sorted(path.name for path in folder.iterdir())

    def test_a_disk_that_fills_up(self, dataset, cached, tmp_path, monkeypatch):
        def full(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        before = cached.read_bytes()
        monkeypatch.setattr("dregcli.filesystem.seam.os.fsync", full)
        with pytest.raises(StoreWriteError, match="No space left on the disk") as caught:
            write_cache(dataset, tmp_path)
        assert caught.value.where == str(cached)
        assert "free some space" in str(caught.value.hint)
        assert cached.read_bytes() == before
        assert self.left(tmp_path) == ["toy.h5"]

    def test_a_file_size_limit(self, dataset, cached, tmp_path):
        """A real refusal by the operating system, in the middle of the write."""
        before = cached.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(StoreWriteError, match="File too large"):
                write_cache(dataset, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert cached.read_bytes() == before
        assert self.left(tmp_path) == ["toy.h5"]

    def test_a_data_folder_that_cannot_be_one(self, dataset, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DregError, match="is a file, not a folder") as caught:
            write_cache(dataset, tmp_path / "file" / "data")
        assert isinstance(caught.value, StoreWriteError)
        assert "--data-dir" in str(caught.value.hint)
