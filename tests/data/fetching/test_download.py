"""What a download is of, and what it leaves alone and says."""

import hashlib

import h5py
import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.catalogue import find_entry
from dregcli.data.fetching.download import Outcome, download_entry
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import (
    UsageError,
)
from tests.support.data_download import assert_whole
from tests.support.data_idx import tiny_entry, tiny_files, tiny_folder


class TestNames:
    def test_digits_needs_no_download(self, data_dir):
        result = download_entry(find_entry("digits"), data_dir)
        assert (result.outcome, result.path, result.dataset.name) == (Outcome.EMBEDDED, None, "digits")
        assert not data_dir.exists()

    def test_unknown(self, data_dir):
        with pytest.raises(UsageError, match="Did you mean 'mnist'"):
            download_entry(find_entry("minst"), data_dir)


def test_provenance_names_every_file(tmp_path, data_dir):
    folder = tiny_folder(tmp_path / "source")
    provenance = download_entry(tiny_entry(), data_dir, source=str(folder)).dataset.provenance
    assert [file["name"] for file in provenance["files"]] == [TRAIN_IMAGES, TEST_IMAGES]
    for file in provenance["files"]:
        content = tiny_files()[file["name"]]
        assert file["sha256_unpacked"] == hashlib.sha256(content).hexdigest()
        assert file["published_checksum"] == f"MD5 {hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        assert file["origin"] == str(folder / f"{file['name']}.gz")
    assert read_cache("tiny", data_dir).provenance == provenance


class TestForeignFiles:
    """What lies where the data set would, and is not dreg's."""

    @pytest.mark.parametrize("from_folder", [False, True])
    @pytest.mark.parametrize("kind", ["hdf5", "folder", "dangling"])
    def test_are_left_alone_and_nothing_is_fetched(self, site, tmp_path, data_dir, kind, from_folder):
        path = data_dir / "tiny.h5"
        data_dir.mkdir()
        if kind == "folder":
            path.mkdir()
        elif kind == "dangling":
            path.symlink_to("nowhere")
        else:
            with h5py.File(path, "w") as file:
                file["precious"] = np.arange(9)
        before = path.read_bytes() if kind == "hdf5" else None
        source = str(tiny_folder(tmp_path / "source")) if from_folder else None
        with pytest.raises(
            UsageError, match=r"dreg did not write 'tiny\.h5' in the data folder, and does not replace it"
        ) as caught:
            download_entry(tiny_entry(f"{site.url}/good/"), data_dir, source=source)
        assert caught.value.where == str(path)
        assert str(caught.value.hint).startswith("move that file away and repeat the command, or ")
        assert site.asked == []
        assert list(data_dir.iterdir()) == [path]
        assert before is None or path.read_bytes() == before

    def test_what_cannot_be_read_is_replaced(self, site, data_dir):
        """It can be downloaded again, whatever it was."""
        data_dir.mkdir()
        (data_dir / "tiny.h5").write_bytes(b"<html>")
        assert_whole(download_entry(tiny_entry(f"{site.url}/good/"), data_dir).dataset)
