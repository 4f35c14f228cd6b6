"""A download that breaks off goes on where it was, and nothing wrong comes of it."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching.download import DownloadProgress, Patience, download_entry
from dregcli.data.fetching.parts import Origin, claimed, remove_dead
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import DownloadFailed
from tests.support.data_idx import tiny_entry, tiny_files, tiny_images
from tests.support.data_server import Answer, Asked, Ranges, serving

BODY = gzip.compress(tiny_files()[TRAIN_IMAGES], mtime=0)
OTHER = bytes(reversed(BODY))
PATH, TEST_PATH = (f"/{name}.gz" for name in (TRAIN_IMAGES, TEST_IMAGES))
GOOD = Answer(BODY, promised=len(BODY), etag='"a"', ranges=Ranges.HONOURED)
CUT = replace(GOOD, cut=200)
ONCE = Patience(timeout=0.4, requests=1, pause=0.01)
OFTEN = Patience(timeout=0.4, requests=10, pause=0.01)


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
        entry = tiny_entry(f"{site.url}/")
        files = tuple(replace(file, checksums=()) for file in entry.published.files)
        entry = replace(entry, published=replace(entry.published, files=files))
        site.answers[PATH] = replace(CUT, etag=None)
        with pytest.raises(DownloadFailed):
            download_entry(entry, data_dir, patience=ONCE)
        site.answers[PATH] = replace(GOOD, etag=None)
        download_entry(entry, data_dir, patience=ONCE)
        assert ranges_asked(site) == [None, None]
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
                part.path.with_name(f"{part.path.name}.json.123.part").write_bytes(b"{")
            remove_dead(tmp_path)
            left = [living.path.name + end for end in ("", ".json", ".json.123.part")]
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
        """Or a file system that knows no locks: the process id keeps processes apart."""
        from contextlib import ExitStack

        with ExitStack() as stack:
            paths = [stack.enter_context(claimed(tmp_path, "file", "http://here")).path for _ in range(9)]
        assert len(set(paths)) == 9
        assert f"process-{os.getpid()}" in paths[-1].name


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
