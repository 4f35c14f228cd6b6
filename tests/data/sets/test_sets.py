"""Every published format the whole way, from files to the cache; and the real ones where this machine has them."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.catalogue import conventions_of, find_entry, load_dataset
from dregcli.data.fetching.download import Outcome, download_entry
from dregcli.data.sets.caltech101 import SILHOUETTES
from dregcli.data.sets.omniglot import CHARDATA, rows_first, stored
from dregcli.data.sets.omniglot_lake import BACKGROUND, EVALUATION, SMALL
from dregcli.errors import DataCorrupt, DownloadFailed, UsageError
from dregcli.names import DataKind, Split
from tests.support import data_mat
from tests.support.data_images import png_bytes, zip_bytes
from tests.support.data_mat import mat_bytes, matrix
from tests.support.data_server import serving
from tests.support.data_sets import (
    SIDE,
    amat_entry,
    amat_files,
    amat_splits,
    caltech_entry,
    chardata,
    drawings,
    lake_entry,
    omniglot_entry,
    random_bits,
    silhouettes,
)

SHARED = Path(__file__).parents[3] / "../shared/data"
FASHION = Path("/usr/share/datasets/fashion-mnist")


def folder_with(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder)


def refused(entry, tmp_path, files, reason, error=DataCorrupt):
    """The files of a folder are refused, and nothing is cached."""
    source = folder_with(tmp_path / "source", files)
    with pytest.raises(error, match=reason) as caught:
        download_entry(entry, tmp_path / "data", source=source)
    assert not (tmp_path / "data").exists()
    return caught.value


class TestBinarizedMnist:
    def test_from_a_folder(self, tmp_path):
        source = folder_with(tmp_path / "source", amat_files())
        dataset = download_entry(amat_entry(), tmp_path, source=source).dataset
        assert (dataset.kind, dataset.levels, dataset.split_convention) == (DataKind.BINARY, 1, "larochelle")
        for split, rows in amat_splits().items():
            np.testing.assert_array_equal(dataset.splits[split], rows)

    def test_from_a_mirror_that_has_no_gz(self, tmp_path, monkeypatch):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving() as site:
            for name, content in amat_files().items():
                site.put(f"/{name}", content)
            download_entry(amat_entry((f"{site.url}/",)), tmp_path)
            assert site.asked == [f"/{name}" for name in amat_files()]
        assert read_cache("binarized-mnist", tmp_path).kind is DataKind.BINARY

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda text: text[:-2] + b" ", "line 2 has 783 numbers, not 784"),
            (lambda text: text[:-2] + b"x\n", "line 2 holds 'x', neither 0 nor 1"),
            (lambda text: text[:-2] + b"2\n", "line 2 holds '2', neither 0 nor 1"),
            (lambda text: bytes([text[0] ^ 1]) + text[1:], "SHA-256 is .*, not "),
            (lambda text: text + b"0\n", "exceeds the 3,136 bytes"),
            (lambda _: b"<!DOCTYPE html>", "a web page"),
        ],
    )
    def test_refuses(self, tmp_path, change, reason):
        name = "binarized_mnist_test.amat"
        files = amat_files()
        error = refused(amat_entry(), tmp_path, files | {name: change(files[name])}, reason)
        assert str(error.where).endswith(name)
        assert f"http://mirror.invalid/{name}" in str(error.hint)


class TestOmniglot:
    train = np.random.RandomState(2).randint(0, 256, (20, SIDE, SIDE)) / 255
    test = np.random.RandomState(3).randint(0, 256, (7, SIDE, SIDE)) / 255

    def made(self, tmp_path, content, **counts):
        entry = omniglot_entry(content, **{"train": 20, "test": 7, "valid": 4, **counts})
        return download_entry(entry, tmp_path, source=folder_with(tmp_path / "source", {CHARDATA: content}))

    def test_the_references_line_gives_the_transposed_image(self):
        """On a tiny array: Burda's own expression, and ours."""
        columns = np.arange(2 * 4).reshape(2, 4)
        expected = columns.reshape((-1, 2, 2)).reshape((-1, 4), order="F")
        np.testing.assert_array_equal(expected, [[0, 2, 1, 3], [4, 6, 5, 7]])
        np.testing.assert_array_equal(rows_first(columns, height=2, width=2), expected)
        odd = np.arange(2 * 6).reshape(2, 6)
        np.testing.assert_array_equal(rows_first(odd, height=3, width=2), [[0, 3, 1, 4, 2, 5], [6, 9, 7, 10, 8, 11]])

    def test_is_cut_and_ordered_as_the_reference_does(self, tmp_path):
        dataset = self.made(tmp_path, chardata(self.train, self.test)).dataset
        # The reference, written out: transposed images, permuted by RandomState(123), the last for validation.
        order = np.random.RandomState(seed=123).permutation(20)
        rows = np.rint(self.train * 255).astype(np.uint8).reshape(20, -1)[order]
        np.testing.assert_array_equal(dataset.splits[Split.TRAIN], rows[:-4])
        np.testing.assert_array_equal(dataset.splits[Split.VALID], rows[-4:])
        np.testing.assert_array_equal(dataset.splits[Split.TEST], np.rint(self.test * 255).reshape(7, -1))
        assert (dataset.levels, dataset.kind, dataset.split_convention) == (255, DataKind.INTENSITY, "burda")

    def test_intensities_that_are_no_grey_levels_stay_floats(self, tmp_path):
        finer = self.train.copy()
        finer[3, 1, 1] = 0.5001
        dataset = self.made(tmp_path, chardata(finer, self.test)).dataset
        assert dataset.levels == 1
        assert {rows.dtype.name for rows in dataset.splits.values()} == {"float32"}
        np.testing.assert_array_equal(dataset.splits[Split.TEST], self.test.reshape(7, -1).astype(np.float32))

    def test_an_address_of_the_only_file_may_end_in_anything(self, tmp_path, monkeypatch):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        content = chardata(self.train, self.test)
        entry = omniglot_entry(content, train=20, test=7, valid=4)
        with serving() as site:
            site.put("/records/77?download=1", content)
            source = f"{site.url}/records/77?download=1"
            assert download_entry(entry, tmp_path, source=source).dataset.source == source
            assert site.asked[0] == f"/records/77/{CHARDATA}?download=1"

    def test_every_grey_level_is_found_again(self):
        levels = np.arange(256, dtype=np.uint8)
        np.testing.assert_array_equal(stored(levels.astype(np.float32) / 255), levels)

    def test_the_wrong_blob_is_never_unpacked(self, tmp_path, monkeypatch):
        content = chardata(self.train, self.test)
        entry = omniglot_entry(content, train=20, test=7, valid=4)
        monkeypatch.setattr("scipy.io.whosmat", None)
        refused(entry, tmp_path, {CHARDATA: content[:-1]}, "its git blob SHA-1 is ")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (chardata(train * 1.5, test), "from 0 to 1.5, not within 0 to 1"),
            (chardata(np.where(train > 0.9, np.nan, train), test), "'data' has a value that is not finite"),
            (chardata(train[1:], test), r"'data' has shape \(9, 19\), not \(9, 20\)"),
            (chardata(train, test[:, :2]), r"'testdata' has shape \(6, 7\), not \(9, 7\)"),
            (mat_bytes(matrix("data", train[0])), "no variable 'testdata'"),
            (chardata(train, test, data=matrix("data", train[0], mat_class=data_mat.CELL)), "'data' is a cell"),
            (
                chardata(train, test, data=matrix("data", train[0], shape=(9, 10**9))),
                "promises 9 x 1000000000 double",
            ),
            (b"\x89HDF\r\n\x1a\n" + bytes(600), "version 7.3"),
        ],
    )
    def test_refuses(self, tmp_path, content, reason):
        entry = omniglot_entry(content, train=20, test=7, valid=4)
        refused(entry, tmp_path, {CHARDATA: content}, reason)


class TestCaltech101:
    images: ClassVar = {
        "train_data": random_bits(1, 5, SIDE, SIDE),
        "val_data": random_bits(2, 3, SIDE, SIDE),
        "test_data": random_bits(3, 2, SIDE, SIDE),
    }

    def test_is_inverted_and_turned(self, tmp_path):
        content = silhouettes({**self.images, "train_labels": random_bits(1, 5, 1, 1)})
        source = folder_with(tmp_path / "source", {SILHOUETTES: content})
        result = download_entry(caltech_entry((5, 3, 2)), tmp_path, source=source)
        for rows, images in zip(result.dataset.splits.values(), self.images.values(), strict=True):
            np.testing.assert_array_equal(rows, 1 - images.reshape(len(images), -1))
        assert (result.dataset.kind, result.dataset.levels) == (DataKind.BINARY, 1)
        assert result.notes == (f"no checksum is published for {SILHOUETTES}: structure and sizes were checked",)
        (file,) = result.dataset.provenance["files"]
        assert file["published_checksum"] is None
        assert len(file["sha256_unpacked"]) == 64

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"val_data": random_bits(2, 4, SIDE, SIDE)}, "valid split has 4 examples, not 3"),
            ({"test_data": random_bits(2, 2, SIDE, SIDE) * 255}, "'test_data' holds other values than 0 and 1"),
            ({"test_data": random_bits(2, 2, SIDE, SIDE + 1)}, r"'test_data' has shape \(2, 12\), not \(N, 9\)"),
        ],
    )
    def test_refuses(self, tmp_path, changes, reason):
        files = {SILHOUETTES: silhouettes({**self.images, **changes})}
        refused(caltech_entry((5, 3, 2)), tmp_path, files, reason)


class TestOmniglotLake:
    files: ClassVar = {
        BACKGROUND: drawings({"Greek": 4, "Latin": 4}, root="images_background", seed=1),
        EVALUATION: drawings({"Oriya": 2, "Avesta": 3}, root="images_evaluation", seed=2),
    }
    small: ClassVar = {
        SMALL[0]: drawings({"Greek": 4, "Korean": 4}, root="images_background_small1", seed=1),
        SMALL[1]: drawings({"Greek": 2, "Sanskrit": 3}, root="images_background_small2", seed=2),
    }

    def fetched(self, tmp_path, files, **changes):
        return download_entry(lake_entry({**self.files, **changes}), tmp_path, source=folder_with(tmp_path, files))

    def test_published(self, tmp_path):
        result = self.fetched(tmp_path, self.files)
        dataset = result.dataset
        assert (dataset.split_convention, dataset.levels, dataset.kind) == ("dreg", 255, DataKind.INTENSITY)
        assert [len(rows) for rows in dataset.splits.values()] == [6, 2, 5]
        # In the order of their paths, permuted by RandomState(123).
        drawn = lake_entry(self.files).published.files[0].parse(self.files[BACKGROUND], where="file").images
        rows = drawn[np.random.RandomState(123).permutation(8)]
        np.testing.assert_array_equal(dataset.splits[Split.TRAIN], rows[:6])
        np.testing.assert_array_equal(dataset.splits[Split.VALID], rows[6:])
        for told in (dataset.source, dataset.provenance["converted"], *result.notes):
            assert "resized from 105x105" in told
        assert "bilinear" in dataset.source
        assert all(file["published_checksum"] for file in dataset.provenance["files"])

    def test_black_ink_is_bright_and_where_it_was(self, tmp_path):
        """A blot over the upper left quarter, in every drawing."""
        ink = np.zeros((105, 105), np.uint8)
        ink[:52, :52] = 1
        archives = {
            BACKGROUND: drawings({"Greek": 8}, root="b", ink=ink),
            EVALUATION: drawings({"Oriya": 5}, root="e", ink=ink),
        }
        dataset = self.fetched(tmp_path, archives, **archives).dataset
        image = dataset.splits[Split.TEST][0].reshape(28, 28)
        np.testing.assert_array_equal(image[:13, :13], 255)
        np.testing.assert_array_equal(image[15:], 0)
        np.testing.assert_array_equal(image[:, 15:], 0)
        # Antialiased: the border at 52 of 105 falls into the 14th pixel.
        assert 0 < image[5, 13] < 255

    def test_small_archives_are_tested_on_other_alphabets(self, tmp_path):
        result = self.fetched(tmp_path, self.small)
        assert result.dataset.split_convention == "lake-small"
        assert [len(rows) for rows in result.dataset.splits.values()] == [6, 2, 3]
        assert any("small" in note and "Greek and Latin" in note for note in result.notes)
        assert any("no checksum is published for" in note for note in result.notes)

    def test_the_published_ones_are_preferred(self, tmp_path):
        assert self.fetched(tmp_path, self.files | self.small).dataset.split_convention == "dreg"

    @pytest.mark.parametrize("name", SMALL)
    def test_a_small_archive_brings_its_neighbour(self, tmp_path, name):
        folder_with(tmp_path / "source", self.files | self.small)
        source = str(tmp_path / "source" / name)
        result = download_entry(lake_entry(self.files), tmp_path / "data", source=source)
        assert result.dataset.split_convention == "lake-small"

    def test_the_missing_files_of_each_set_are_named(self, tmp_path):
        files = {BACKGROUND: self.files[BACKGROUND], SMALL[1]: self.small[SMALL[1]]}
        error = refused(lake_entry(self.files), tmp_path, files, "lacks", DownloadFailed)
        assert f"lacks {EVALUATION}, or {SMALL[0]} (plain or .gz)" in error.what

    def test_an_image_in_two_splits(self, tmp_path):
        same = np.zeros((105, 105), np.uint8)
        same[10:60, 20:80] = 1
        files = {**self.small, SMALL[1]: drawings({"Sanskrit": 5}, root="s", ink=same)}
        files[SMALL[0]] = drawings({"Korean": 8}, root="s", ink=same)
        refused(lake_entry(self.files), tmp_path, files, "occurs in the train split and in the valid split")

    def test_nothing_left_to_test_on(self, tmp_path):
        files = {**self.small, SMALL[1]: drawings({"Greek": 5}, root="s")}
        refused(lake_entry(self.files), tmp_path, files, "no alphabet that the other archive lacks")

    def test_published_alphabets_must_differ(self, tmp_path):
        files = {**self.files, EVALUATION: drawings({"Greek": 5}, root="e")}
        refused(lake_entry(files), tmp_path, files, "both archives have the alphabet Greek")

    def test_an_altered_archive_is_never_unpacked(self, tmp_path, monkeypatch):
        monkeypatch.setattr("zipfile.ZipFile", None)
        files = {**self.files, BACKGROUND: self.files[BACKGROUND][:-1]}
        refused(lake_entry(self.files), tmp_path, files, "its MD5 is ")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (drawings({"Greek": 7}, root="s"), "holds 7 drawings, not 8"),
            (drawings({"Greek": 9}, root="s"), "holds 9 such files, more than 8"),
            (zip_bytes({"s/Greek/character01/1.png": png_bytes(random_bits(1, 28, 28))}), "28 x 28, not 105 x 105"),
            (
                zip_bytes({"s/Greek/character01/1.png": png_bytes(random_bits(1, 9, 9), size=(60_000, 60_000))}),
                r"too large|more than 11,025",
            ),
            (zip_bytes({"s/Greek/character01/1.png": b"no image"}), "not a PNG image"),
            (zip_bytes({"s/Greek/character01/1.png": bytes(100_000)}), "promises 100,000 bytes"),
            # Each of them is small enough, and not all together.
            (zip_bytes({f"s/Greek/character01/{n}.png": bytes(60_000) for n in range(8)}), "480,000 bytes"),
            (zip_bytes({"../evil": b""}), "path outside the archive"),
            (b"", "zip archive cannot be read"),
        ],
    )
    def test_refuses(self, tmp_path, content, reason):
        refused(lake_entry(self.files), tmp_path, {**self.small, SMALL[0]: content}, reason)


@pytest.mark.skipif(
    not (SHARED / "omniglot" / SMALL[0]).is_file(), reason="Lake's small archives are not beside the repository"
)
def test_the_real_small_archives(tmp_path):
    result = download_entry(find_entry("omniglot-lake"), tmp_path, source=str(SHARED / "omniglot"))
    assert [len(rows) for rows in result.dataset.splits.values()] == [2_500, 220, 2_120]
    assert conventions_of("omniglot-lake", tmp_path) == ("lake-small",)
    # 5,840 drawings, of which the 1,000 of Greek and Latin are in both archives.
    assert sum(len(rows) for rows in result.dataset.splits.values()) == 5_840 - 480 - 520
    images = [image.tobytes() for rows in result.dataset.splits.values() for image in rows]
    assert len(set(images)) == len(images)
    # Thin black strokes on white paper, once inverted, are dark almost everywhere.
    assert 0.05 < result.dataset.scanned.moments.mean.mean() < 0.1
    # Golden, with torchvision 0.29.2 and Pillow 13.0.0.
    assert result.dataset.checksum == "240eff8182db3f273c5d57dafae893f583ac9ed0461c1c0e3c07b5fb7e4da72a"


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
class TestRealFashionMnist:
    def test_comes_from_the_systems_package_before_any_mirror(self, tmp_path, monkeypatch):
        monkeypatch.setattr("dregcli.data.fetching.download.fetch_all", None)
        result = download_entry(find_entry("fashion-mnist"), tmp_path)
        assert result.outcome == Outcome.STORED
        assert str(FASHION) in result.dataset.source
        whole = load_dataset("fashion-mnist", tmp_path)
        assert [len(rows) for rows in whole.splits.values()] == [50_000, 10_000, 10_000]
        burda = load_dataset("fashion-mnist", tmp_path, "burda")
        assert [len(rows) for rows in burda.splits.values()] == [59_600, 400, 10_000]
        np.testing.assert_array_equal(burda.splits[Split.VALID], whole.splits[Split.VALID][-400:])
        np.testing.assert_array_equal(burda.splits[Split.TRAIN][50_000:], whole.splits[Split.VALID][:-400])
        assert burda.split_hashes[Split.TEST] == whole.split_hashes[Split.TEST]
        with pytest.raises(UsageError, match="fashion-mnist has no split 'larochelle'"):
            load_dataset("fashion-mnist", tmp_path, "larochelle")

    def test_is_not_taken_for_mnist(self, tmp_path):
        with pytest.raises(DataCorrupt, match="MD5"):
            download_entry(find_entry("mnist"), tmp_path, source=str(FASHION))


def test_a_table_of_another_entry_does_no_harm(tmp_path):
    """Exact sizes: files that pass every check, of an entry that states other numbers."""
    entry = amat_entry()
    wrong = replace(entry.published.conventions["larochelle"], sizes={**dict.fromkeys(Split, 1)})
    entry = replace(entry, published=replace(entry.published, conventions={"larochelle": wrong}))
    refused(entry, tmp_path, amat_files(), "train split has 6 examples, not 1")
