"""A download that breaks off goes on where it was, and nothing wrong comes of it."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching import parts
from dregcli.data.fetching.download import DownloadProgress, Patience, download_entry
from dregcli.data.fetching.parts import Origin, claimed, remove_dead
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import DownloadFailed
from tests.support.data_idx import tiny_entry, tiny_files, tiny_images, unpublished
from tests.support.data_server import Answer, Asked, Ranges, serving

BODY = gzip.compress(tiny_files()[TRAIN_IMAGES], mtime=0)
OTHER = bytes(reversed(BODY))
PATH, TEST_PATH = (f"/{name}.gz" for name in (TRAIN_IMAGES, TEST_IMAGES))
GOOD = Answer(BODY, promised=len(BODY), etag='"a"', ranges=Ranges.HONOURED)
CUT = replace(GOOD, cut=200)
MON, TUE = "Mon, 19 Oct 2015 07:28:00 GMT", "Tue, 20 Oct 2015 07:28:00 GMT"
ONCE = Patience(timeout=0.4, least_bytes=100, requests=1, pause=0.01)
OFTEN = replace(ONCE, requests=10)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        served.put(TEST_PATH, gzip.compress(tiny_files()[TEST_IMAGES]))
        yield served


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def fetch(site, data_dir, patience=OFTEN, **options):
    return download_entry(tiny_entry(f"{site.url}/"), data_dir, patience=patience, **options)


def broken_off(site, data_dir, answer=CUT):
    """A first call that gets 200 bytes; what is kept of it."""
    site.answers[PATH] = answer
    with pytest.raises(DownloadFailed, match=r"ended after 200 of|truncated|timed out"):
        fetch(site, data_dir, ONCE)
    site.requests.clear()


def assert_whole(data_dir):
    """The cache has the very images, and nothing else is left."""
    expected = np.concatenate([images.reshape(-1, 15) for images in tiny_images().values()])
    cached = read_cache("tiny", data_dir)
    np.testing.assert_array_equal(np.concatenate(list(cached.splits.values())), expected)
    assert [path.name for path in data_dir.rglob("*")] == ["tiny.h5"]


def ranges_asked(site):
    return [each.range for each in site.requests if each.path == PATH]


class TestGoesOn:
    def test_in_a_later_call(self, site, data_dir):
        broken_off(site, data_dir)
        (part,) = downloads_dir("tiny", data_dir).glob("*.part")
        assert part.read_bytes() == BODY[:200]
        beside = json.loads(part.with_name(f"{part.name}.json").read_bytes())
        expected = {"address": site.url + PATH, "etag": '"a"', "last_modified": None, "total": len(BODY)}
        assert beside == expected
        site.answers[PATH] = GOOD
        seen: list[DownloadProgress] = []
        fetch(site, data_dir, on_progress=seen.append)
        assert site.requests[0] == Asked(PATH, "bytes=200-", '"a"')
        assert ranges_asked(site) == ["bytes=200-"]
        assert (seen[0].done, seen[0].total) == (200, len(BODY))
        assert_whole(data_dir)

    def test_in_the_same_call_as_long_as_more_comes(self, site, data_dir):
        site.answers[PATH] = [CUT, replace(GOOD, cut=400), GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-", "bytes=400-"]
        assert_whole(data_dir)

    def test_but_not_when_nothing_more_comes(self, site, data_dir):
        site.answers[PATH] = CUT
        with pytest.raises(DownloadFailed, match="ended after 200"):
            fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-"]

    def test_nor_without_end(self, site, data_dir):
        site.answers[PATH] = [replace(GOOD, cut=10 * n) for n in range(1, 30)]
        with pytest.raises(DownloadFailed, match="ended after 40 of"):
            fetch(site, data_dir, Patience(requests=4, pause=0.001))
        assert len(ranges_asked(site)) == 4

    def test_with_pauses_that_grow(self, site, data_dir, monkeypatch):
        slept: list[float] = []
        monkeypatch.setattr("dregcli.data.fetching.transfer.time.sleep", slept.append)
        site.answers[PATH] = [*(replace(GOOD, cut=10 * n) for n in range(1, 9)), GOOD]
        fetch(site, data_dir, Patience(pause=0.5))
        assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]

    def test_a_server_without_ranges_that_always_breaks_off_is_given_up(self, site, data_dir):
        site.answers[PATH] = replace(CUT, ranges=Ranges.IGNORED)
        with pytest.raises(DownloadFailed, match="ended after 200"):
            fetch(site, data_dir)
        assert len(ranges_asked(site)) == 2

    def test_through_a_redirect(self, site, data_dir):
        broken_off(site, data_dir)
        site.answers[PATH] = Answer(status=302, location=f"{site.url}/elsewhere")
        site.answers["/elsewhere"] = GOOD
        fetch(site, data_dir)
        assert site.requests[1] == Asked("/elsewhere", "bytes=200-", '"a"')
        assert_whole(data_dir)

    def test_the_next_mirror_begins_at_its_own_first_byte(self, site, data_dir):
        site.answers[PATH] = CUT
        site.answers[f"/second{PATH}"] = GOOD
        site.answers[f"/second{TEST_PATH}"] = site.answers[TEST_PATH]
        download_entry(tiny_entry(f"{site.url}/", f"{site.url}/second/"), data_dir, patience=ONCE)
        assert Asked(f"/second{PATH}", None, None) in site.requests
        assert_whole(data_dir)

    def test_an_address_of_the_users(self, site, data_dir):
        broken_off(site, data_dir)
        site.answers[PATH] = GOOD
        download_entry(tiny_entry(), data_dir, source=site.url, patience=OFTEN)
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)

    def test_an_interruption_keeps_what_came(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, stall_at=200, silent_s=0.05)

        def interrupt(progress: DownloadProgress) -> None:
            if progress.done >= 200:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(site, data_dir, on_progress=interrupt)
        site.requests.clear()
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)

    def test_what_came_is_on_the_disk(self, site, data_dir, monkeypatch):
        synced: list[int] = []
        fsync = os.fsync

        def watched(handle: int) -> None:
            synced.append(os.fstat(handle).st_size)
            fsync(handle)

        monkeypatch.setattr("dregcli.data.fetching.parts.os.fsync", watched)
        broken_off(site, data_dir)
        assert synced[-1] == 200


class TestValidators:
    @pytest.mark.parametrize(
        ("etag", "date", "expected"),
        [
            ('"a"', "Wed, 21 Oct 2015 07:28:00 GMT", '"a"'),
            (None, "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
            # A weak tag does not promise the same bytes, and may not be sent.
            ('W/"a"', "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ('W/"a"', None, None),
            (None, None, None),
        ],
    )
    def test_the_strongest_is_sent(self, site, data_dir, etag, date, expected):
        named = {"etag": etag, "last_modified": date}
        broken_off(site, data_dir, replace(CUT, **named))
        site.answers[PATH] = replace(GOOD, **named)
        fetch(site, data_dir)
        assert site.requests[0] == Asked(PATH, "bytes=200-", expected)
        assert_whole(data_dir)

    def test_without_one_and_without_a_checksum_it_begins_anew(self, site, data_dir):
        """Nothing could tell whether the pieces are of one file."""
        entry = unpublished(tiny_entry(f"{site.url}/"))
        site.answers[PATH] = replace(CUT, etag=None)
        with pytest.raises(DownloadFailed):
            download_entry(entry, data_dir, patience=ONCE)
        site.answers[PATH] = replace(GOOD, etag=None)
        download_entry(entry, data_dir, patience=ONCE)
        assert ranges_asked(site) == [None, None]
        assert_whole(data_dir)

    @pytest.mark.parametrize(
        ("kept", "told"),
        [
            ({"last_modified": MON}, {"last_modified": TUE}),
            ({"last_modified": MON}, {}),
            ({"etag": '"a"', "last_modified": MON}, {"etag": '"a"', "last_modified": TUE}),
            ({"etag": '"a"', "last_modified": MON}, {"last_modified": MON}),
            ({"etag": 'W/"a"', "last_modified": MON}, {"etag": 'W/"b"', "last_modified": MON}),
        ],
    )
    def test_without_a_checksum_the_rest_must_say_that_it_is_of_the_same_file(self, site, data_dir, kept, told):
        """The server looks at no If-Range, and has other bytes of the same number by now."""
        entry, old = unpublished(tiny_entry(f"{site.url}/")), {"etag": None, **kept}
        site.answers[PATH] = replace(CUT, body=BODY[:200] + OTHER[200:], **old)
        with pytest.raises(DownloadFailed):
            download_entry(entry, data_dir, patience=ONCE)
        site.answers[PATH] = replace(GOOD, ranges=Ranges.CARELESS, **{"etag": None, **told})
        seen: list[DownloadProgress] = []
        download_entry(entry, data_dir, patience=ONCE, on_progress=seen.append)
        assert ranges_asked(site) == [None, "bytes=200-", None]
        assert seen[0].done == 0
        assert_whole(data_dir)

    @pytest.mark.parametrize("named", [{"last_modified": MON}, {"etag": '"a"'}])
    def test_without_a_checksum_it_goes_on_where_the_server_says_so(self, site, data_dir, named):
        entry, named = unpublished(tiny_entry(f"{site.url}/")), {"etag": None, **named}
        site.answers[PATH] = [replace(CUT, **named), replace(GOOD, **named)]
        download_entry(entry, data_dir, patience=OFTEN)
        assert ranges_asked(site) == [None, "bytes=200-"]
        assert_whole(data_dir)

    def test_another_date_is_another_file(self, site, data_dir):
        broken_off(site, data_dir, replace(CUT, body=OTHER, etag=None, last_modified=MON))
        site.answers[PATH] = replace(GOOD, etag=None, last_modified=TUE, ranges=Ranges.CARELESS)
        seen: list[DownloadProgress] = []
        fetch(site, data_dir, on_progress=seen.append)
        assert (ranges_asked(site), seen[0].done) == (["bytes=200-", None], 0)
        assert_whole(data_dir)

    def test_changed_content_begins_anew(self, site, data_dir):
        broken_off(site, data_dir, replace(CUT, body=OTHER, etag='"old"'))
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert site.requests[0] == Asked(PATH, "bytes=200-", '"old"')
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)

    def test_changed_content_of_a_server_that_does_not_look(self, site, data_dir):
        broken_off(site, data_dir, replace(CUT, body=OTHER, etag='"old"'))
        site.answers[PATH] = replace(GOOD, ranges=Ranges.CARELESS)
        seen: list[DownloadProgress] = []
        fetch(site, data_dir, on_progress=seen.append)
        assert ranges_asked(site) == ["bytes=200-", None]
        assert seen[0].done == 0
        assert_whole(data_dir)


class TestLies:
    @pytest.mark.parametrize(
        ("ranges", "asked"),
        [
            (Ranges.IGNORED, ["bytes=200-"]),
            (Ranges.WRONG_START, ["bytes=200-", None]),
            (Ranges.WRONG_TOTAL, ["bytes=200-", None]),
            (Ranges.UNSAID, ["bytes=200-", None]),
            (Ranges.REFUSED, ["bytes=200-", None]),
            # Found out by the checksum alone; thrown away, and fetched once more from the first byte.
            (Ranges.WRONG_BYTES, ["bytes=200-", None]),
        ],
    )
    def test_about_the_range(self, site, data_dir, ranges, asked):
        broken_off(site, data_dir)
        site.answers[PATH] = replace(GOOD, ranges=ranges)
        seen: list[DownloadProgress] = []
        fetch(site, data_dir, on_progress=seen.append)
        assert ranges_asked(site) == asked
        # What says that it is something else is not even begun to be taken.
        assert seen[0].done == (200 if ranges is Ranges.WRONG_BYTES else 0)
        assert_whole(data_dir)

    @pytest.mark.parametrize("digits", ["9" * 5000, "0" * 4000 + "416", "\u0663"])
    @pytest.mark.parametrize("header", ["Content-Length", "Content-Range"])
    def test_about_a_number_that_is_none(self, site, data_dir, header, digits):
        if digits.isascii():
            said = digits if header == "Content-Length" else f"bytes 200-{digits}/{digits}"
        else:
            said = digits.encode().decode("latin-1")
        broken_off(site, data_dir)
        site.answers[PATH] = [replace(GOOD, headers={header: said}), GOOD]
        fetch(site, data_dir)
        assert_whole(data_dir)

    def test_about_the_number_of_bytes(self, site, data_dir):
        """More come than the part's own header says that there are."""
        broken_off(site, data_dir)
        said = {"Content-Range": "bytes 200-299/300"}
        site.answers[PATH] = [replace(GOOD, headers=said, promised=None), GOOD]
        part = next(downloads_dir("tiny", data_dir).glob("*.part.json"))
        part.write_text(part.read_text().replace(f'"total": {len(BODY)}', '"total": null'))
        fetch(site, data_dir, ONCE)
        # It promised 300: what it sent is thrown away, although its checksum would be right.
        assert ranges_asked(site) == ["bytes=200-", None]
        assert_whole(data_dir)

    def test_no_more_is_kept_than_the_file_can_have(self, site, data_dir):
        limit = tiny_entry().published.files[0].packed_limit
        site.answers[PATH] = Answer(bytes(limit + 500), drip_s=0.001, drip_bytes=limit - 100)
        seen: list[DownloadProgress] = []
        with pytest.raises(DownloadFailed, match="larger than"):
            fetch(site, data_dir, ONCE, on_progress=seen.append)
        assert max(step.done for step in seen) <= limit

    def test_a_length_larger_than_the_whole_file(self, site, data_dir):
        """The checksum knows better than the server, which hangs up."""
        site.answers[PATH] = Answer(BODY, promised=len(BODY) + 100)
        fetch(site, data_dir)
        assert_whole(data_dir)

    def test_a_whole_answer_that_is_wrong_is_not_fetched_again(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, body=OTHER)
        with pytest.raises(DownloadFailed, match="exceeds the 616 bytes"):
            fetch(site, data_dir)
        assert ranges_asked(site) == [None]
        assert not list(data_dir.rglob("*.part*"))

    def test_pieces_that_are_wrong_twice_give_the_mirror_up(self, site, data_dir):
        broken_off(site, data_dir, replace(CUT, body=OTHER))
        site.answers[PATH] = replace(GOOD, body=OTHER)
        with pytest.raises(DownloadFailed, match="exceeds the 616 bytes"):
            fetch(site, data_dir)
        assert ranges_asked(site) == ["bytes=200-", None]
        assert not list(data_dir.rglob("*.part*"))


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
                part.path.with_name(f".{part.path.name}.json.{'0' * 16}.part").write_bytes(b"{")
            remove_dead(tmp_path)
            left = [f".{living.path.name}.json.{'0' * 16}.part", living.path.name, f"{living.path.name}.json"]
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


class TestSlow:
    def test_a_stall_gives_the_mirror_up_and_keeps_what_came(self, site, data_dir):
        broken_off(site, data_dir, replace(GOOD, stall_at=200, silent_s=30.0))
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)

    def test_a_stall_is_not_tried_again(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, stall_at=200, silent_s=30.0)
        with pytest.raises(DownloadFailed, match="timed out"):
            fetch(site, data_dir)
        assert ranges_asked(site) == [None]

    def test_a_server_that_drips_but_lives_is_let(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, drip_s=0.06)
        start = time.monotonic()
        fetch(site, data_dir, ONCE)
        assert time.monotonic() - start > ONCE.timeout
        assert_whole(data_dir)

    @pytest.mark.parametrize("drip_bytes", [1, 3])
    def test_a_server_that_drips_less_than_it_must_is_given_up(self, site, data_dir, drip_bytes):
        site.answers[PATH] = replace(GOOD, drip_s=0.05, drip_bytes=drip_bytes)
        start = time.monotonic()
        with pytest.raises(DownloadFailed, match=r"timed out: only \d+ bytes in 0.4"):
            fetch(site, data_dir)
        assert time.monotonic() - start < 3
        assert ranges_asked(site) == [None]
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert ranges_asked(site)[1] not in (None, "bytes=0-")
        assert_whole(data_dir)

    def test_headers_without_end_are_given_up(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, endless_headers_s=0.02)
        start = time.monotonic()
        with pytest.raises(DownloadFailed, match=r"no whole headers in 0\.3 s"):
            fetch(site, data_dir, replace(OFTEN, headers_s=0.3, least_bytes=1))
        assert time.monotonic() - start < 3

    def test_a_body_may_take_longer_than_headers(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, drip_s=0.03)
        fetch(site, data_dir, replace(ONCE, headers_s=0.1))
        assert_whole(data_dir)

    def test_the_body_of_a_redirect_is_not_waited_for(self, site, data_dir):
        moved = Answer(b"x", status=302, location=f"{site.url}/elsewhere", promised=1, silent_s=30.0)
        site.answers |= {PATH: moved, "/elsewhere": GOOD}
        fetch(site, data_dir)
        assert_whole(data_dir)


class TestAskedAgain:
    """A request that brings nothing is forgiven once."""

    @pytest.mark.parametrize(
        "answer", [Answer(status=503), Answer(status=429), Answer(reset=True), replace(GOOD, cut=0)]
    )
    def test_once(self, site, data_dir, answer):
        site.answers[PATH] = [answer, GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, None]
        assert_whole(data_dir)
        site.answers[f"/again{PATH}"] = answer
        with pytest.raises(DownloadFailed):
            fetch(site, data_dir, source=f"{site.url}/again/")
        assert site.asked.count(f"/again{PATH}") == 2

    def test_in_the_middle(self, site, data_dir):
        site.answers[PATH] = [CUT, Answer(status=503), GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-", "bytes=200-"]
        assert_whole(data_dir)

    @pytest.mark.parametrize(
        ("after", "slept"), [("3", [3]), ("0", [0.01]), ("3600", []), ("9" * 5000, [0.01]), ("soon", [0.01])]
    )
    def test_after_the_pause_that_the_server_wants(self, site, data_dir, monkeypatch, after, slept):
        paused: list[float] = []
        monkeypatch.setattr("dregcli.data.fetching.transfer.time.sleep", paused.append)
        site.answers[PATH] = Answer(status=503, headers={"Retry-After": after})
        with pytest.raises(DownloadFailed, match="HTTP 503"):
            fetch(site, data_dir)
        assert paused == slept

    def test_not_where_nobody_listens(self, data_dir, monkeypatch):
        monkeypatch.setattr("dregcli.data.fetching.transfer.time.sleep", lambda _: pytest.fail("it waited"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving() as gone:
            pass
        with pytest.raises(DownloadFailed, match="refused"):
            fetch(gone, data_dir)

    @pytest.mark.parametrize("answer", [replace(CUT, promised=None, chunked=True), replace(CUT, reset=True)])
    def test_a_body_that_breaks_in_the_middle_goes_on(self, site, data_dir, answer):
        site.answers[PATH] = [answer, GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-"]
        assert_whole(data_dir)


SCRIPT = """
import sys
from pathlib import Path
from dregcli.data.fetching.download import Patience, download_entry
from tests.support.data_idx import tiny_entry
print("ready", flush=True)
sys.stdin.readline()
result = download_entry(tiny_entry(sys.argv[1]), Path(sys.argv[2]), patience=Patience(timeout=20))
print(result.dataset.checksum, flush=True)
"""


def started(site, data_dir):
    command = [sys.executable, "-c", SCRIPT, f"{site.url}/", str(data_dir)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


class TestProcesses:
    def test_two_at_once_do_each_other_no_harm(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, drip_s=0.05)
        processes = [started(site, data_dir) for _ in range(2)]
        for process in processes:
            go(process)
        told = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert told[0] == told[1]
        assert ranges_asked(site) == [None, None]
        assert_whole(data_dir)

    def test_what_a_killed_one_left_is_taken_over(self, site, data_dir):
        site.answers[PATH] = replace(GOOD, stall_at=200, silent_s=60.0)
        process = started(site, data_dir)
        go(process)
        deadline = time.monotonic() + 20
        while [path.stat().st_size for path in data_dir.rglob("*.part")] != [200]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        site.requests.clear()
        site.answers[PATH] = GOOD
        fetch(site, data_dir)
        assert ranges_asked(site) == ["bytes=200-"]
        assert_whole(data_dir)
