"""Downloads without the network."""

import pytest

from dregcli.data.fetching.download import Outcome, download_entry
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TEST_IMAGES
from dregcli.errors import (
    DatasetMissing,
    UsageError,
)
from tests.support.data_download import assert_whole
from tests.support.data_idx import tiny_entry, tiny_folder


class TestOffline:
    def test_from_the_cache(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        download_entry(entry, data_dir)
        site.requests.clear()
        assert download_entry(entry, data_dir, offline=True).outcome == Outcome.CACHED
        assert site.asked == []

    def test_from_a_system_folder(self, site, tmp_path, data_dir):
        entry = tiny_entry(f"{site.url}/good/", system_folders=(str(tiny_folder(tmp_path / "package")),))
        assert_whole(download_entry(entry, data_dir, offline=True).dataset)
        assert site.asked == []

    def test_from_a_folder(self, tmp_path, data_dir):
        folder = tiny_folder(tmp_path / "source")
        assert_whole(download_entry(tiny_entry(), data_dir, source=str(folder), offline=True).dataset)

    def test_from_what_an_earlier_call_fetched(self, site, data_dir):
        folder = tiny_folder(downloads_dir("tiny", data_dir))
        result = download_entry(tiny_entry(f"{site.url}/good/"), data_dir, offline=True)
        assert_whole(result.dataset)
        assert site.asked == []
        assert not folder.exists()

    def test_says_what_to_do_where_there_is_nothing(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        kept = tiny_folder(downloads_dir("tiny", data_dir)) / f"{TEST_IMAGES}.gz"
        kept.unlink()
        with pytest.raises(DatasetMissing, match="'tiny' is not on this machine, and it cannot") as caught:
            download_entry(entry, data_dir, offline=True)
        hint = str(caught.value.hint)
        assert hint.startswith("repeat without --offline")
        assert f"  {site.url}/good/{TEST_IMAGES}.gz" in hint
        assert "dreg download tiny --source FOLDER" in hint
        assert site.asked == []

    def test_a_damaged_cache_is_not_repaired(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        path = download_entry(entry, data_dir).path
        path.write_bytes(path.read_bytes()[:-10])
        site.requests.clear()
        with pytest.raises(DatasetMissing, match=r"damaged.*cannot be fetched offline"):
            download_entry(entry, data_dir, offline=True)
        assert site.asked == []

    def test_an_address_is_a_contradiction(self, site, data_dir):
        with pytest.raises(UsageError, match="address cannot be read offline"):
            download_entry(tiny_entry(), data_dir, source=f"{site.url}/good/", offline=True)
        assert site.asked == []
