"""Whole files that an earlier call left: used as far as they can be believed."""

import gzip
from dataclasses import replace

import pytest

from dregcli.data.fetching.download import download_entry
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import (
    DataCorrupt,
    DownloadFailed,
)
from dregcli.names import Split
from tests.support.data_download import GOOD, PATHS, assert_whole
from tests.support.data_idx import idx_bytes, tiny_entry, tiny_files, tiny_folder, tiny_images, unpublished


class TestKept:
    def test_a_file_that_came_is_not_fetched_again(self, site, data_dir):
        test_answer = site.answers.pop(PATHS[1])
        entry = tiny_entry(f"{site.url}/good/")
        with pytest.raises(DownloadFailed, match=f"no source gave {TEST_IMAGES}"):
            download_entry(entry, data_dir)
        site.answers[PATHS[1]] = test_answer
        assert_whole(download_entry(entry, data_dir).dataset)
        assert site.asked.count(PATHS[0]) == 1
        assert not (data_dir / "downloads").exists()

    def test_a_kept_file_that_went_bad_is_fetched_again(self, site, data_dir):
        kept = data_dir / "downloads" / "tiny" / f"{TRAIN_IMAGES}.gz"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(GOOD[TRAIN_IMAGES][:-1])
        assert_whole(download_entry(tiny_entry(f"{site.url}/good/"), data_dir).dataset)
        assert PATHS[0] in site.asked

    def test_a_file_that_an_earlier_call_kept_came_from_where_it_came_from(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        test_answer = site.answers.pop(PATHS[1])
        with pytest.raises(DownloadFailed):
            download_entry(entry, data_dir)
        site.answers[PATHS[1]] = test_answer
        dataset = download_entry(entry, data_dir).dataset
        assert site.asked.count(PATHS[0]) == 1
        assert dataset.source == ", ".join(site.url + path for path in PATHS)
        assert [file["origin"] for file in dataset.provenance["files"]] == [site.url + path for path in PATHS]
        assert str(data_dir) not in str(dataset.provenance)
        assert [path.name for path in data_dir.rglob("*")] == ["tiny.h5"]

    @pytest.mark.parametrize(
        "beside", [b"{}", b"[]", b"{", b"[" * 100_000, b'{"address": "http://x", "sha256": "0"}', b"\xff"]
    )
    def test_words_that_are_not_of_the_kept_file_are_not_believed(self, site, data_dir, beside):
        folder = tiny_folder(downloads_dir("tiny", data_dir))
        (folder / f"{TRAIN_IMAGES}.gz.json").write_bytes(beside)
        source = download_entry(tiny_entry(f"{site.url}/good/"), data_dir).dataset.source
        assert source == ", ".join(str(folder / f"{name}.gz") for name in (TRAIN_IMAGES, TEST_IMAGES))

    def test_a_kept_file_without_a_checksum_is_used_only_as_it_was_fetched(self, site, data_dir):
        entry = unpublished(tiny_entry(f"{site.url}/good/"))
        test_answer = site.answers.pop(PATHS[1])
        for _ in range(2):
            with pytest.raises(DownloadFailed):
                download_entry(entry, data_dir)
        assert site.asked.count(PATHS[0]) == 1
        kept = downloads_dir("tiny", data_dir) / f"{TRAIN_IMAGES}.gz"
        other = bytearray(tiny_files()[TRAIN_IMAGES])
        other[-1] ^= 1
        kept.write_bytes(gzip.compress(bytes(other)))
        site.answers[PATHS[1]] = test_answer
        assert_whole(download_entry(entry, data_dir).dataset)
        assert site.asked.count(PATHS[0]) == 2

    def test_what_makes_no_data_set_is_asked_for_again(self, site, data_dir):
        """Of no file is there a checksum, and each alone looks right."""
        entry = unpublished(tiny_entry(f"{site.url}/good/"))
        site.put(PATHS[0], gzip.compress(idx_bytes(tiny_images()[TRAIN_IMAGES][:10])))
        with pytest.raises(DataCorrupt, match="train split has 3 examples, not 33") as caught:
            download_entry(entry, data_dir)
        assert f"dreg download tiny --data-dir '{data_dir}'" in str(caught.value.hint)
        assert not list(data_dir.rglob("*"))
        site.put(PATHS[0], GOOD[TRAIN_IMAGES])
        assert_whole(download_entry(entry, data_dir).dataset)
        assert site.asked.count(PATHS[0]) == 2

    def test_so_is_what_was_kept_and_makes_none_offline(self, data_dir):
        folder = tiny_folder(downloads_dir("tiny", data_dir))
        entry = tiny_entry()
        wrong = {"dreg": replace(entry.published.conventions["dreg"], sizes=dict.fromkeys(Split, 1))}
        entry = replace(entry, published=replace(entry.published, conventions=wrong))
        with pytest.raises(DataCorrupt, match="not 1"):
            download_entry(entry, data_dir, offline=True)
        assert not folder.exists()
