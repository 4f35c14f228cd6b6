"""Mirrors good and bad: what is fetched, verified and kept, and what is said where none gives it."""

import gzip
from dataclasses import replace
from email.message import Message
from urllib.error import URLError
from urllib.request import Request

import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching.download import DownloadProgress, Outcome, download_entry
from dregcli.data.fetching.web import WebRedirects
from dregcli.data.sets.mnist import MNIST, TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import (
    DownloadFailed,
    StoreFormatError,
    StoreWriteError,
)
from tests.support.data_download import FAST, GOOD, PATHS, assert_nothing_left, assert_whole
from tests.support.data_idx import tiny_entry, tiny_files
from tests.support.data_server import Answer, serving


class TestMirrors:
    def test_fetches_verifies_and_keeps(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        result = download_entry(entry, data_dir)
        assert result.outcome == Outcome.STORED
        assert_whole(result.dataset)
        assert_whole(read_cache("tiny", data_dir))
        assert result.dataset.source == ", ".join(site.url + path for path in PATHS)
        assert [path.name for path in data_dir.rglob("*")] == ["tiny.h5"]

    def test_a_whole_cache_is_left_alone(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        download_entry(entry, data_dir)
        result = download_entry(entry, data_dir)
        assert result.outcome == Outcome.CACHED
        assert_whole(result.dataset)
        assert site.asked == PATHS

    def test_a_damaged_cache_is_replaced(self, site, data_dir):
        entry = tiny_entry(f"{site.url}/good/")
        path = download_entry(entry, data_dir).path
        assert path is not None
        path.write_bytes(path.read_bytes()[:-10])
        assert download_entry(entry, data_dir).outcome == Outcome.STORED
        assert_whole(read_cache("tiny", data_dir))

    def test_a_cache_of_another_version_is_not_overwritten(self, site, data_dir, monkeypatch):
        entry = tiny_entry(f"{site.url}/good/")
        monkeypatch.setattr("dregcli.data.cache_writer.ENCODING_VERSION", "3")
        download_entry(entry, data_dir)
        monkeypatch.undo()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(StoreFormatError, match="format 3"):
            download_entry(entry, data_dir)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Answer(status=404), "HTTP 404"),
            (Answer(status=403), "HTTP 403"),
            (Answer(status=500), "HTTP 500"),
            (Answer(GOOD[TRAIN_IMAGES][:-20], promised=len(GOOD[TRAIN_IMAGES])), "ended after"),
            (Answer(GOOD[TRAIN_IMAGES][:-20]), "truncated"),
            (Answer(b"<html>log in to this network</html>"), "web page"),
            (Answer(b"neither one nor the other"), "not an IDX file"),
            (Answer(GOOD[TEST_IMAGES]), "promises|MD5|exceeds"),
            (Answer(bytes(1_000_000)), "larger than"),
            (Answer(gzip.compress(bytes(5_000_000), mtime=0)), "exceeds"),
            (Answer(GOOD[TRAIN_IMAGES], silent_s=30), "timed out"),
            (Answer(status=302, location="file:///etc/passwd"), "not allowed"),
            (Answer(status=302, location="ftp://127.0.0.1:1/file"), "redirect to ftp:// is not allowed"),
            (Answer(GOOD[TRAIN_IMAGES], status=206, promised=len(GOOD[TRAIN_IMAGES])), "HTTP 206"),
            (Answer(status=204), "HTTP 204"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_bad_mirror_is_passed_over_and_named_when_it_is_the_only_one(self, site, data_dir, answer, reason):
        site.answers[f"/bad/{TRAIN_IMAGES}.gz"] = answer
        bad = f"{site.url}/bad/"
        with pytest.raises(DownloadFailed, match=reason) as caught:
            download_entry(tiny_entry(bad), data_dir, patience=FAST)
        assert f"{bad}{TRAIN_IMAGES}.gz: " in caught.value.what
        assert str(caught.value).endswith(f"dreg download tiny --source FOLDER --data-dir '{data_dir}'")
        assert_nothing_left(data_dir)
        result = download_entry(tiny_entry(bad, f"{site.url}/good/"), data_dir, patience=FAST)
        assert_whole(result.dataset)
        assert "/bad/" not in result.dataset.source

    def test_altered_content_of_the_right_size_is_refused(self, site, data_dir):
        altered = bytearray(tiny_files()[TRAIN_IMAGES])
        altered[-1] ^= 1
        site.put(f"/bad/{TRAIN_IMAGES}.gz", gzip.compress(bytes(altered)))
        with pytest.raises(DownloadFailed, match="MD5"):
            download_entry(tiny_entry(f"{site.url}/bad/"), data_dir)
        assert_nothing_left(data_dir)

    def test_an_answer_without_a_length_is_fine(self, site, data_dir):
        for name, packed in GOOD.items():
            site.answers[f"/good/{name}.gz"] = Answer(packed)
        seen: list[DownloadProgress] = []
        assert_whole(download_entry(tiny_entry(f"{site.url}/good/"), data_dir, on_progress=seen.append).dataset)
        assert {step.total for step in seen} == {None}

    def test_a_redirect_is_followed(self, site, data_dir):
        for name in GOOD:
            site.answers[f"/moved/{name}.gz"] = Answer(status=302, location=f"{site.url}/good/{name}.gz")
        assert_whole(download_entry(tiny_entry(f"{site.url}/moved"), data_dir).dataset)

    def test_progress_goes_from_nothing_to_all(self, site, data_dir):
        seen: list[DownloadProgress] = []
        download_entry(tiny_entry(f"{site.url}/good/"), data_dir, on_progress=seen.append)
        for name, packed in GOOD.items():
            steps = [step.done for step in seen if step.file == name]
            assert steps[0] == 0
            assert steps == sorted(steps)
            assert steps[-1] == len(packed)
            assert {step.total for step in seen if step.file == name} == {len(packed)}

    def test_an_endless_answer_is_cut_off(self, site, data_dir):
        site.answers[f"/bad/{TRAIN_IMAGES}.gz"] = Answer(bytes(4_000_000))
        seen: list[DownloadProgress] = []
        with pytest.raises(DownloadFailed, match="larger than"):
            download_entry(tiny_entry(f"{site.url}/bad/"), data_dir, on_progress=seen.append)
        assert max(step.done for step in seen) < 1_000_000

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_another_spelling_is_asked_for_where_one_is_not_there(self, site, data_dir, status):
        site.answers |= {path: Answer(status=status) for path in PATHS}
        for name, content in tiny_files().items():
            site.put(f"/good/{name}", content)
        assert_whole(download_entry(tiny_entry(f"{site.url}/good/"), data_dir).dataset)

    def test_the_bare_folder_of_a_mirror_is_not_asked_for(self, site, data_dir):
        """As it is with a user's own address of the only file of a data set."""
        entry = tiny_entry(f"{site.url}/empty/")
        entry = replace(entry, published=replace(entry.published, files=entry.published.files[:1]))
        with pytest.raises(DownloadFailed):
            download_entry(entry, data_dir)
        assert site.asked
        assert "/empty/" not in site.asked

    def test_an_interruption_leaves_nothing_that_looks_whole(self, site, data_dir):
        def interrupt(progress: DownloadProgress) -> None:
            if progress.done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download_entry(tiny_entry(f"{site.url}/good/"), data_dir, on_progress=interrupt)
        assert_nothing_left(data_dir)

    def test_a_folder_that_cannot_be_written_is_no_fault_of_the_mirror(self, site, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreWriteError, match="is a file, not a folder"):
            download_entry(tiny_entry(f"{site.url}/good/"), tmp_path / "file")


class TestRedirects:
    """What no server of this machine can be asked for: it speaks no https."""

    @pytest.mark.parametrize(
        ("first", "then", "reason"),
        [
            ("https://a/", "http://b/", "a redirect from https:// to http://b/ is not allowed"),
            ("https://a/", "ftp://b/", "a redirect to ftp:// is not allowed"),
            ("https://a/", "https://b/", None),
            ("http://a/", "https://b/", None),
            ("http://a/", "http://b/", None),
        ],
    )
    def test_never_from_https_to_http(self, first, then, reason):
        given = (Request(first), None, 302, "Found", Message(), then)
        if reason is None:
            asked = WebRedirects().redirect_request(*given)
            assert asked is not None
            assert asked.full_url == then
        else:
            with pytest.raises(URLError, match=reason):
                WebRedirects().redirect_request(*given)


def test_without_a_network_says_which_files_and_how_to_import_them(tmp_path, monkeypatch):
    """A port nobody listens on, in the place of both of MNIST's mirrors."""
    with serving() as gone:
        pass
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("DREG_DATA_DIR", str(tmp_path))
    mirrors = (f"{gone.url}/a/", f"{gone.url}/b/")
    with pytest.raises(DownloadFailed) as caught:
        download_entry(replace(MNIST, mirrors=mirrors), tmp_path)
    said = str(caught.value)
    for mirror in mirrors:
        assert f"{mirror}{TRAIN_IMAGES}.gz: Connection refused" in said
    hint = str(caught.value.hint).splitlines()
    assert f"  {mirrors[0]}{TRAIN_IMAGES}.gz" in hint
    assert f"  {mirrors[0]}{TEST_IMAGES}.gz" in hint
    assert hint[-1] == "and import them: dreg download mnist --source FOLDER"
