"""A download that breaks off continues at the byte where it was, and no wrong file comes of it."""

import json
import os
from dataclasses import replace

import pytest

from dregcli.data.fetching.download import DownloadProgress, Patience, download_entry
from dregcli.data.folders import downloads_dir
from dregcli.errors import DownloadFailed
from tests.support.data_idx import tiny_entry, unpublished
from tests.support.data_resume import (
    BODY,
    CUT,
    GOOD,
    MON,
    OFTEN,
    ONCE,
    OTHER,
    PATH,
    TEST_PATH,
    TUE,
    assert_whole,
    broken_off,
    fetch,
    ranges_asked,
)
from tests.support.data_server import Answer, Asked, Ranges


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
    def test_without_a_checksum_it_continues_where_the_server_says_so(self, site, data_dir, named):
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
