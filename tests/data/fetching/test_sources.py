"""Sources that the user names, and what an operating system's package has."""

import gzip

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching.download import DownloadProgress, download_entry
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import (
    DataCorrupt,
    DownloadFailed,
    UsageError,
)
from tests.support.data_download import GOOD, PATHS, assert_nothing_left, assert_whole
from tests.support.data_idx import idx_bytes, tiny_entry, tiny_files, tiny_folder


class TestUrlSource:
    def test_folder_and_file(self, site, tmp_path):
        for number, source in enumerate((f"{site.url}/good", f"{site.url}/good/", site.url + PATHS[1])):
            result = download_entry(tiny_entry(), tmp_path / str(number), source=source)
            assert_whole(result.dataset)

    def test_is_asked_whatever_an_earlier_call_left(self, site, data_dir):
        tiny_folder(downloads_dir("tiny", data_dir))
        result = download_entry(tiny_entry(), data_dir, source=f"{site.url}/good/")
        assert site.asked == PATHS
        assert result.dataset.source == ", ".join(site.url + path for path in PATHS)

    def test_other_spellings_are_found(self, site, data_dir):
        for name, content in tiny_files().items():
            site.put(f"/dots/{name.replace('-idx3', '.idx3')}", content)
        assert_whole(download_entry(tiny_entry(), data_dir, source=f"{site.url}/dots").dataset)

    def test_the_mirrors_are_not_asked_instead(self, site, data_dir):
        with pytest.raises(DownloadFailed, match=r"/nothing/.*HTTP 404"):
            download_entry(tiny_entry(f"{site.url}/good/"), data_dir, source=f"{site.url}/nothing/")
        assert not set(PATHS) & set(site.asked)

    @pytest.mark.parametrize("source", ["ftp://host/mnist", "file:///mnist", "s3://bucket/mnist"])
    def test_other_schemes_are_a_usage_error(self, data_dir, source):
        with pytest.raises(UsageError, match=source.split("://")[0]):
            download_entry(tiny_entry(), data_dir, source=source)

    @pytest.mark.parametrize("source", ["http://", "http://[bad/", "http://host:port/", "http://a b/"])
    def test_an_address_that_is_none_fails_cleanly(self, data_dir, source):
        with pytest.raises((DownloadFailed, UsageError)):
            download_entry(tiny_entry(), data_dir, source=source)


def test_what_follows_a_question_mark_follows_every_file(site, data_dir):
    for name, packed in GOOD.items():
        site.put(f"/signed/{name}.gz?key=1", packed)
    for source in (f"{site.url}/signed/?key=1", f"{site.url}/signed/{TRAIN_IMAGES}.gz?key=1"):
        assert_whole(download_entry(tiny_entry(), data_dir, source=source).dataset)


class TestLocalSource:
    def test_folder(self, tmp_path, data_dir):
        seen: list[DownloadProgress] = []
        folder = tiny_folder(tmp_path / "ünï códe")
        result = download_entry(tiny_entry(), data_dir, source=str(folder), on_progress=seen.append)
        assert_whole(result.dataset)
        assert str(folder / TRAIN_IMAGES) in read_cache("tiny", data_dir).source
        assert [(step.file, step.done == step.total) for step in seen] == [(name, True) for name in GOOD]

    @pytest.mark.parametrize("dotted", [False, True])
    @pytest.mark.parametrize("level", [None, 0, 9])
    def test_any_spelling_and_any_compression(self, tmp_path, data_dir, dotted, level):
        for name, content in tiny_files().items():
            spelled = name.replace("-idx3", ".idx3") if dotted else name
            raw = content if level is None else gzip.compress(content, level)
            (tmp_path / (spelled if level is None else f"{spelled}.gz")).write_bytes(raw)
        assert_whole(download_entry(tiny_entry(), data_dir, source=str(tmp_path)).dataset)

    @pytest.mark.parametrize("name", GOOD)
    def test_a_file_brings_its_neighbour(self, tmp_path, data_dir, name):
        source = tiny_folder(tmp_path) / f"{name}.gz"
        assert_whole(download_entry(tiny_entry(), data_dir, source=str(source)).dataset)

    def test_a_file_of_another_name_is_known_by_its_content(self, tmp_path, data_dir):
        folder = tiny_folder(tmp_path)
        renamed = (folder / f"{TRAIN_IMAGES}.gz").rename(folder / "mine.gz")
        assert_whole(download_entry(tiny_entry(), data_dir, source=str(renamed)).dataset)

    def test_a_file_that_is_none_of_them(self, tmp_path, data_dir):
        other = tmp_path / "labels.gz"
        other.write_bytes(gzip.compress(idx_bytes(np.zeros(40, np.uint8))))
        with pytest.raises(DataCorrupt, match="not one of the files of tiny") as caught:
            download_entry(tiny_entry(), data_dir, source=str(other))
        assert TRAIN_IMAGES in str(caught.value.hint)

    def test_a_file_without_its_neighbour_says_what_is_missing(self, tmp_path, data_dir):
        folder = tiny_folder(tmp_path)
        (folder / f"{TEST_IMAGES}.gz").unlink()
        for source in (folder, folder / f"{TRAIN_IMAGES}.gz"):
            with pytest.raises(DownloadFailed, match=f"lacks {TEST_IMAGES} "):
                download_entry(tiny_entry(), data_dir, source=str(source))
        assert_nothing_left(data_dir)

    def test_a_damaged_copy_beside_a_good_one_does_no_harm(self, tmp_path, data_dir):
        folder = tiny_folder(tmp_path)
        (folder / TRAIN_IMAGES).write_bytes(tiny_files()[TRAIN_IMAGES])
        (folder / f"{TRAIN_IMAGES}.gz").write_bytes(GOOD[TRAIN_IMAGES][:100])
        assert_whole(download_entry(tiny_entry(), data_dir, source=str(folder)).dataset)

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (GOOD[TRAIN_IMAGES][:-30], "truncated"),
            (tiny_files()[TRAIN_IMAGES][:-1], "bytes, but 599 follow"),
            (tiny_files()[TRAIN_IMAGES][:-1] + b"\xff", "MD5"),
            (gzip.compress(bytes(5_000_000), mtime=0), "exceeds"),
            (bytes(200_000), "larger than"),
            (GOOD[TEST_IMAGES], "MD5"),
        ],
    )
    def test_a_bad_file_is_refused_with_the_reason_and_the_cache_kept(self, tmp_path, data_dir, raw, reason):
        folder = tiny_folder(tmp_path / "source")
        path = download_entry(tiny_entry(), data_dir, source=str(folder)).path
        bad = folder / f"{TRAIN_IMAGES}.gz"
        bad.write_bytes(raw)
        with pytest.raises(DataCorrupt, match=reason) as caught:
            download_entry(tiny_entry(), data_dir, source=str(folder))
        assert caught.value.where == str(bad)
        assert f"http://mirror.invalid/{TRAIN_IMAGES}.gz" in str(caught.value.hint)
        assert_whole(read_cache("tiny", data_dir))
        assert list(data_dir.iterdir()) == [path]

    @pytest.mark.parametrize("source", ["/nowhere/at/all", "", "/dev/null"])
    def test_a_source_that_is_not_there(self, data_dir, source):
        with pytest.raises(UsageError, match="not a file or folder"):
            download_entry(tiny_entry(), data_dir, source=source)

    @pytest.mark.parametrize("source", ["x" * 5000, "~nobody-of-that-name/mnist"])
    def test_a_source_that_cannot_be_looked_at(self, data_dir, source):
        with pytest.raises(DownloadFailed, match="cannot be read"):
            download_entry(tiny_entry(), data_dir, source=source)


class TestSystemFolder:
    def test_before_any_mirror(self, site, tmp_path, data_dir):
        folder = tiny_folder(tmp_path / "package")
        entry = tiny_entry(f"{site.url}/good/", system_folders=(str(tmp_path / "none"), str(folder)))
        result = download_entry(entry, data_dir)
        assert_whole(result.dataset)
        assert str(folder) in result.dataset.source
        assert site.asked == []

    @pytest.mark.parametrize("damage", ["altered", "missing", "unreadable"])
    def test_a_broken_package_is_passed_over(self, site, tmp_path, data_dir, damage):
        folder = tiny_folder(tmp_path / "package")
        path = folder / f"{TEST_IMAGES}.gz"
        path.unlink()
        if damage == "altered":
            path.write_bytes(GOOD[TRAIN_IMAGES])
        if damage == "unreadable":
            path.symlink_to(path)
        result = download_entry(tiny_entry(f"{site.url}/good/", system_folders=(str(folder),)), data_dir)
        assert_whole(result.dataset)
        assert site.asked == PATHS

    def test_not_where_a_source_is_named(self, site, tmp_path, data_dir):
        folder = tiny_folder(tmp_path / "package")
        entry = tiny_entry(system_folders=(str(folder),))
        assert "/good/" in download_entry(entry, data_dir, source=f"{site.url}/good/").dataset.source
