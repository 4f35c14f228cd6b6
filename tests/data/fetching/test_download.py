import gzip
import hashlib
from dataclasses import replace
from email.message import Message
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching.download import DownloadProgress, Outcome, Patience, download, download_entry
from dregcli.data.fetching.web import WebRedirects
from dregcli.data.folders import downloads_dir
from dregcli.data.sets.mnist import MNIST, TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import (
    DataCorrupt,
    DatasetMissing,
    DownloadFailed,
    StoreFormatError,
    StoreWriteError,
    UsageError,
)
from dregcli.names import Split
from tests.support.data_idx import VALID, idx_bytes, tiny_entry, tiny_files, tiny_folder, tiny_images, unpublished
from tests.support.data_server import Answer, serving

GOOD = {name: gzip.compress(content) for name, content in tiny_files().items()}
FAST = Patience(timeout=0.3, pause=0.01)
PATHS = [f"/good/{name}.gz" for name in (TRAIN_IMAGES, TEST_IMAGES)]


@pytest.fixture
def site(monkeypatch):
    """A server on this machine; ``/good/`` holds the files, every other path is 404 until a test says so."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        for name, packed in GOOD.items():
            served.put(f"/good/{name}.gz", packed)
        yield served


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "own data"


def assert_whole(dataset):
    images = tiny_images()
    np.testing.assert_array_equal(dataset.splits["train"], images[TRAIN_IMAGES][:-VALID].reshape(-1, 15))
    np.testing.assert_array_equal(dataset.splits["valid"], images[TRAIN_IMAGES][-VALID:].reshape(-1, 15))
    np.testing.assert_array_equal(dataset.splits["test"], images[TEST_IMAGES].reshape(-1, 15))


def assert_nothing_left(data_dir):
    """No cache, and no file that could be taken for a whole one."""
    assert not [path for path in data_dir.rglob("*") if path.is_file() and ".part" not in path.suffixes]


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
            (Answer(gzip.compress(bytes(5_000_000))), "exceeds"),
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
        with pytest.raises(StoreWriteError, match="cannot write"):
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
        with pytest.raises(DataCorrupt, match="none of the files of tiny") as caught:
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
            (tiny_files()[TRAIN_IMAGES][:-1], "bytes, and 599 follow"),
            (tiny_files()[TRAIN_IMAGES][:-1] + b"\xff", "MD5"),
            (gzip.compress(bytes(5_000_000)), "exceeds"),
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


class TestNames:
    def test_digits_needs_no_download(self, data_dir):
        result = download("digits", data_dir)
        assert (result.outcome, result.path, result.dataset.name) == (Outcome.EMBEDDED, None, "digits")
        assert not data_dir.exists()

    def test_unknown(self, data_dir):
        with pytest.raises(UsageError, match="Did you mean 'mnist'"):
            download("minst", data_dir)


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
        with pytest.raises(DatasetMissing, match="'tiny' is not on this machine, and offline") as caught:
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
        with pytest.raises(DatasetMissing, match=r"damaged.*and offline"):
            download_entry(entry, data_dir, offline=True)
        assert site.asked == []

    def test_an_address_is_a_contradiction(self, site, data_dir):
        with pytest.raises(UsageError, match="address cannot be read offline"):
            download_entry(tiny_entry(), data_dir, source=f"{site.url}/good/", offline=True)
        assert site.asked == []


def test_what_follows_a_question_mark_follows_every_file(site, data_dir):
    for name, packed in GOOD.items():
        site.put(f"/signed/{name}.gz?key=1", packed)
    for source in (f"{site.url}/signed/?key=1", f"{site.url}/signed/{TRAIN_IMAGES}.gz?key=1"):
        assert_whole(download_entry(tiny_entry(), data_dir, source=source).dataset)


def test_provenance_names_every_file(tmp_path, data_dir):
    folder = tiny_folder(tmp_path / "source")
    provenance = download_entry(tiny_entry(), data_dir, source=str(folder)).dataset.provenance
    assert [file["name"] for file in provenance["files"]] == [TRAIN_IMAGES, TEST_IMAGES]
    for file in provenance["files"]:
        content = tiny_files()[file["name"]]
        assert file["sha256_unpacked"] == hashlib.sha256(content).hexdigest()
        assert file["published_checksum"] == f"MD5 {hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        assert file["origin"] == str(folder / f"{file['name']}.gz")
    assert read_cache("tiny", data_dir).provenance == provenance
