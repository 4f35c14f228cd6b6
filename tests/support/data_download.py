"""Downloads of the tiny data set, and what they leave."""

import gzip
from pathlib import Path

import numpy as np

from dregcli.data.dataset import Dataset
from dregcli.data.fetching.download import Patience
from dregcli.data.sets.mnist import TEST_IMAGES, TRAIN_IMAGES
from dregcli.names import Split
from tests.support.data_idx import VALID, tiny_files, tiny_images

GOOD = {name: gzip.compress(content, mtime=0) for name, content in tiny_files().items()}
FAST = Patience(timeout=0.3, pause=0.01)
PATHS = [f"/good/{name}.gz" for name in (TRAIN_IMAGES, TEST_IMAGES)]


def assert_whole(dataset: Dataset) -> None:
    images = tiny_images()
    np.testing.assert_array_equal(dataset.splits[Split.TRAIN], images[TRAIN_IMAGES][:-VALID].reshape(-1, 15))
    np.testing.assert_array_equal(dataset.splits[Split.VALID], images[TRAIN_IMAGES][-VALID:].reshape(-1, 15))
    np.testing.assert_array_equal(dataset.splits[Split.TEST], images[TEST_IMAGES].reshape(-1, 15))


def assert_nothing_left(data_dir: Path) -> None:
    """No cache, and no file that could be taken for a whole one."""
    assert not [path for path in data_dir.rglob("*") if path.is_file() and ".part" not in path.suffixes]
