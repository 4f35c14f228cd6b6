"""A cached data set cut anew."""

from pathlib import Path

import pytest

from dregcli.data.dataset import Dataset
from dregcli.data.fetching.download import download_entry
from dregcli.data.splitting import file_set_of, recut
from dregcli.errors import DataCorrupt
from dregcli.names import Split
from tests.support.data_idx import tiny_entry, tiny_folder


@pytest.fixture
def cached(tmp_path):
    return download_entry(tiny_entry(), tmp_path / "data", source=str(tiny_folder(tmp_path / "source"))).dataset


def test_it_is_cut_anew_and_came_from_where_it_came_from(cached):
    dataset = recut(tiny_entry(), cached, "burda", Path("data"))
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 37, "valid": 3, "test": 9}
    assert dataset.provenance == cached.provenance
    assert dataset.provenance["files"]
    assert dataset.source == cached.source


def test_a_hint_is_of_the_same_data_folder(cached):
    dataset = Dataset.build(
        name="tiny",
        height=cached.height,
        width=cached.width,
        levels=cached.levels,
        splits={split: cached.splits[split] for split in Split},
        split_convention="mine",
        source="here",
    )
    with pytest.raises(DataCorrupt) as caught:
        file_set_of(tiny_entry(), dataset, Path("/my data"))
    assert caught.value.hint == (
        "remove it: dreg data rm tiny --data-dir '/my data'\n"
        "and fetch it again: dreg download tiny --data-dir '/my data'"
    )
