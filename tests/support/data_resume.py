"""Downloads from a server whose first answer breaks off."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.data.cache import read_cache
from dregcli.data.fetching.download import Patience, download_entry
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.errors import DownloadFailed
from tests.support.data_idx import tiny_entry, tiny_files, tiny_images
from tests.support.data_server import Answer, Ranges, Site

BODY = gzip.compress(tiny_files()[TRAIN_IMAGES], mtime=0)
OTHER = bytes(reversed(BODY))
PATH, TEST_PATH = (f"/{name}.gz" for name in (TRAIN_IMAGES, TEST_IMAGES))
GOOD = Answer(BODY, promised=len(BODY), etag='"a"', ranges=Ranges.HONOURED)
CUT = replace(GOOD, cut=200)
MON, TUE = "Mon, 19 Oct 2015 07:28:00 GMT", "Tue, 20 Oct 2015 07:28:00 GMT"
ONCE = Patience(timeout=0.4, least_bytes=100, requests=1, pause=0.01)
OFTEN = replace(ONCE, requests=10)


def fetch(site: Site, data_dir: Path, patience: Patience = OFTEN, **options: Any) -> Any:
    return download_entry(tiny_entry(f"{site.url}/"), data_dir, patience=patience, **options)


def broken_off(site: Site, data_dir: Path, answer: Answer = CUT) -> None:
    """A first call that gets 200 bytes; what is kept of it."""
    site.answers[PATH] = answer
    with pytest.raises(DownloadFailed, match=r"ended after 200 of|truncated|timed out"):
        fetch(site, data_dir, ONCE)
    site.requests.clear()


def assert_whole(data_dir: Path) -> None:
    """The cache has the very images, and nothing else is left."""
    expected = np.concatenate([images.reshape(-1, 15) for images in tiny_images().values()])
    cached = read_cache("tiny", data_dir)
    np.testing.assert_array_equal(np.concatenate(list(cached.splits.values())), expected)
    assert [path.name for path in data_dir.rglob("*")] == ["tiny.h5"]


def ranges_asked(site: Site) -> list[str | None]:
    return [each.range for each in site.requests if each.path == PATH]
