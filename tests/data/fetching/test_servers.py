"""Servers that lie, are slow, or do not answer."""

import time
from dataclasses import replace

import pytest

from dregcli.data.fetching.download import DownloadProgress
from dregcli.data.folders import downloads_dir
from dregcli.errors import DownloadFailed
from tests.support.data_idx import tiny_entry
from tests.support.data_resume import (
    BODY,
    CUT,
    GOOD,
    OFTEN,
    ONCE,
    OTHER,
    PATH,
    assert_whole,
    broken_off,
    fetch,
    ranges_asked,
)
from tests.support.data_server import Answer, Ranges, serving


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
        with pytest.raises(DownloadFailed, match=r"headers were not complete after 0\.3 s"):
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
    def test_a_body_that_breaks_in_the_middle_is_continued(self, site, data_dir, answer):
        site.answers[PATH] = [answer, GOOD]
        fetch(site, data_dir)
        assert ranges_asked(site) == [None, "bytes=200-"]
        assert_whole(data_dir)
