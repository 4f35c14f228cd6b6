"""A web server on this machine, and a data folder with a space in its name."""

import pytest

from dregcli.data.sets.mnist import TEST_IMAGES
from tests.support.data_download import GOOD
from tests.support.data_resume import TEST_PATH
from tests.support.data_server import serving


@pytest.fixture
def site(monkeypatch):
    """A server on this machine.

    ``/good/`` holds the files, and its root the second of them; every other path is 404 until a test says so.
    """
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        for name, packed in GOOD.items():
            served.put(f"/good/{name}.gz", packed)
        served.put(TEST_PATH, GOOD[TEST_IMAGES])
        yield served


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "own data"
