"""The part of a file that has come: what it is believed to be, and whose it is."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dregcli.data.fetching import parts
from dregcli.data.fetching.parts import Origin, claimed, remove_dead
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TRAIN_IMAGES
from tests.support.data_resume import (
    BODY,
    CUT,
    GOOD,
    OTHER,
    PATH,
    assert_whole,
    fetch,
    ranges_asked,
)


class TestParts:
    def lay(self, site, data_dir, content: bytes, **changes):
        """What an earlier process left."""
        origin = replace(Origin(site.url + PATH, '"a"', None, len(BODY)), **changes)
        with claimed(downloads_dir("tiny", data_dir), f"{TRAIN_IMAGES}.gz", site.url + PATH) as part:
            part.begin(origin)
            part.append(content)
        site.answers[PATH] = GOOD
        return part.path

    def test_all_bytes_are_there_and_nothing_is_asked(self, site, data_dir):
        self.lay(site, data_dir, BODY)
        fetch(site, data_dir)
        assert ranges_asked(site) == []
        assert_whole(data_dir)

    def test_all_bytes_are_there_as_the_server_says(self, site, data_dir):
        self.lay(site, data_dir, BODY, total=None)
        fetch(site, data_dir)
        assert ranges_asked(site) == [f"bytes={len(BODY)}-"]
        assert_whole(data_dir)

    def test_all_bytes_are_there_and_wrong(self, site, data_dir):
        self.lay(site, data_dir, OTHER)
        fetch(site, data_dir)
        assert ranges_asked(site) == [None]
        assert_whole(data_dir)

    def test_more_bytes_than_there_can_be(self, site, data_dir):
        self.lay(site, data_dir, bytes(1_000_000))
        fetch(site, data_dir)
        assert ranges_asked(site) == [None]
        assert_whole(data_dir)

    @pytest.mark.parametrize(
        "beside",
        [
            None,
            b"",
            b"[]",
            b"\xff{",
            b'{"address": "http://elsewhere/", "etag": null, "last_modified": null, "total": null}',
            b'{"address": "ADDRESS", "etag": 3, "last_modified": null, "total": null}',
            b'{"address": "ADDRESS", "etag": null, "last_modified": null, "total": -3}',
        ],
    )
    def test_bytes_that_nothing_vouches_for_are_thrown_away(self, site, data_dir, beside):
        path = self.lay(site, data_dir, BODY[:200])
        json_path = path.with_name(f"{path.name}.json")
        if beside is None:
            json_path.unlink()
        else:
            json_path.write_bytes(beside.replace(b"ADDRESS", (site.url + PATH).encode()))
        fetch(site, data_dir)
        assert ranges_asked(site) == [None]
        assert_whole(data_dir)

    def test_bytes_that_were_thrown_away_are_no_measure_of_progress(self, site, data_dir):
        path = self.lay(site, data_dir, BODY[:500])
        path.with_name(f"{path.name}.json").unlink()
        site.answers[PATH] = [CUT, GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-"]
        assert_whole(data_dir)

    def test_only_dead_ones_are_removed(self, tmp_path):
        origin = Origin("http://here", None, None, 9)
        with claimed(tmp_path, "file", "http://here") as dead:
            dead.begin(origin)
            dead.append(b"abc")
        with claimed(tmp_path, "other", "http://here") as living:
            living.begin(origin)
            living.append(b"abc")
            for part in (dead, living):
                # What a process is just writing, or was when it died.
                part.path.with_name(f".{part.path.name}.json.{'0' * 16}.tmp").write_bytes(b"{")
            remove_dead(tmp_path)
            left = [f".{living.path.name}.json.{'0' * 16}.tmp", living.path.name, f"{living.path.name}.json"]
            assert sorted(path.name for path in tmp_path.iterdir()) == left

    def test_two_that_live_have_one_each_and_the_dead_ones_is_taken_over(self, tmp_path):
        with claimed(tmp_path, "file", "http://here") as one, claimed(tmp_path, "file", "http://here") as two:
            assert one.path != two.path
            one.begin(Origin("http://here", None, None, 9))
            one.append(b"abc")
        with claimed(tmp_path, "file", "http://here") as again:
            assert (again.path, again.size, again.read_back()) == (one.path, 3, b"abc")
        with claimed(tmp_path, "file", "http://elsewhere") as other:
            assert (other.size, other.path != one.path) == (0, True)
        assert {path.name for path in tmp_path.iterdir()} == {one.path.name, f"{one.path.name}.json"}

    def test_more_than_there_are_numbers(self, tmp_path):
        """Or a file system that knows no locks: each has a name of its own, two of one process too."""
        from contextlib import ExitStack

        with ExitStack() as stack:
            paths = [stack.enter_context(claimed(tmp_path, "file", "http://here")).path for _ in range(10)]
            assert len(set(paths)) == 10
            assert ".own-" in paths[-1].name
            paths[-1].write_bytes(b"abc")
        remove_dead(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_what_was_given_its_name_before_the_lock_is_not_written_to(self, tmp_path, monkeypatch):
        """Another process ends between our opening and our lock."""
        real, renamed = parts.try_lock, []

        def late(handle):
            if not renamed:
                renamed.append(Path(handle.name).rename(tmp_path / "whole"))
            return real(handle)

        monkeypatch.setattr(parts, "try_lock", late)
        with claimed(tmp_path, "file", "http://here") as part:
            part.begin(Origin("http://here", None, None, 9))
            part.append(b"abc")
            assert (tmp_path / "whole").read_bytes() == b""
            assert part.path.read_bytes() == b"abc"

    def test_a_long_one_is_synced_on_the_way(self, tmp_path, monkeypatch):
        synced: list[int] = []
        monkeypatch.setattr(parts.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
        with claimed(tmp_path, "file", "http://here") as part:
            part.begin(Origin("http://here", None, None, 40 << 20))
            synced.clear()
            for _ in range(40):
                part.append(bytes(1 << 20))
            assert synced == [16 << 20, 32 << 20]
