"""What the catalogue states, against the literals of the project's table of sources."""

import numpy as np
import pytest

from dregcli.data.cache_writer import write_cache
from dregcli.data.catalogue import (
    DATASETS,
    conventions_of,
    find_entry,
    imported_names,
    known_datasets,
    load_dataset,
)
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, Embedded
from dregcli.errors import DataCorrupt, DatasetMissing, UsageError
from dregcli.names import DataKind, Split

FETCHED = {name: entry for name, entry in DATASETS.items() if isinstance(entry, Downloadable)}

CHECKSUMS = {
    "mnist": {
        "train-images-idx3-ubyte": [
            "MD5 6bbc9ace898e44ae57da46a324031adb",
            "MD5 f68b3c2dcbeaaa9fbdd348bbdeb94873 gz",
        ],
        "t10k-images-idx3-ubyte": ["MD5 2646ac647ad5339dbf082846283269ea", "MD5 9fb629c4189551a2d022fa330f9573f3 gz"],
    },
    "binarized-mnist": {
        "binarized_mnist_train.amat": ["SHA-256 ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"],
        "binarized_mnist_valid.amat": ["SHA-256 1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"],
        "binarized_mnist_test.amat": ["SHA-256 e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"],
    },
    "fashion-mnist": {
        # The unpacked ones are of Debian's files, and of those that other projects list beside the .gz ones.
        "train-images-idx3-ubyte": [
            "MD5 f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "MD5 8d4fb7e6c68d591d4c3dfef9ec88bf0d gz",
        ],
        "t10k-images-idx3-ubyte": ["MD5 8181f5470baa50b63fa0f6fddb340f0a", "MD5 bef4ecab320f06d8554ea6380940ec79 gz"],
    },
    "omniglot": {"chardata.mat": ["git blob SHA-1 016a3536ffe5e1d38e42563a18d7a78bfaf643ec"]},
    "omniglot-lake": {
        "images_background.zip": ["MD5 68d2efa1b9178cc56df9314c21c6e718"],
        "images_evaluation.zip": ["MD5 6b91aef0f799c5bb55b94e3f2daec811"],
    },
    "caltech101-silhouettes": {"caltech101_silhouettes_28_split1.mat": []},
}
FIRST_ADDRESSES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
    "binarized-mnist": "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist_train.amat",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
    "omniglot": "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
    "omniglot-lake": "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip",
    "caltech101-silhouettes": "https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",
}
SIZES = {
    ("mnist", "dreg"): (50_000, 10_000, 10_000),
    ("mnist", "burda"): (59_600, 400, 10_000),
    ("mnist", "larochelle"): (50_000, 10_000, 10_000),
    ("binarized-mnist", "larochelle"): (50_000, 10_000, 10_000),
    ("fashion-mnist", "dreg"): (50_000, 10_000, 10_000),
    ("fashion-mnist", "burda"): (59_600, 400, 10_000),
    ("omniglot", "burda"): (23_000, 1_345, 8_070),
    ("omniglot", "dreg"): (23_000, 1_345, 8_070),
    ("omniglot-lake", "dreg"): (18_000, 1_280, 13_180),
    ("omniglot-lake", "lake-small"): (2_500, 220, 2_120),
    ("caltech101-silhouettes", "dreg"): (4_100, 2_264, 2_307),
}


def test_names_are_the_keys():
    assert list(DATASETS) == [entry.name for entry in DATASETS.values()]
    assert list(DATASETS) == [
        "digits",
        "mnist",
        "binarized-mnist",
        "fashion-mnist",
        "omniglot",
        "omniglot-lake",
        "caltech101-silhouettes",
        "linear-gaussian",
    ]


def test_every_published_checksum():
    found = {
        name: {
            file.name: [f"{each.digest} {each.value}{' gz' if each.packed else ''}" for each in file.checksums]
            for file in entry.published.files
        }
        for name, entry in FETCHED.items()
    }
    assert found == CHECKSUMS


def test_addresses():
    assert {name: entry.addresses()[0] for name, entry in FETCHED.items()} == FIRST_ADDRESSES
    for entry in FETCHED.values():
        for mirror in entry.mirrors:
            assert mirror.startswith(("http://", "https://"))
            assert mirror.endswith("/")
            # Over plain http nothing but a checksum vouches for the content.
            assert mirror.startswith("https://") or all(file.checksums for file in entry.published.files)


def test_every_convention_and_its_sizes():
    found = {
        (name, convention): tuple(wanted.sizes[split] for split in Split)
        for name, entry in FETCHED.items()
        for file_set in entry.file_sets
        for convention, wanted in file_set.conventions.items()
    }
    assert found == SIZES


def test_the_first_convention_is_the_default(tmp_path):
    assert {name: conventions_of(name, tmp_path) for name in DATASETS} == {
        "digits": ("dreg",),
        "mnist": ("dreg", "burda", "larochelle"),
        "binarized-mnist": ("larochelle",),
        "fashion-mnist": ("dreg", "burda"),
        "omniglot": ("burda", "dreg"),
        "omniglot-lake": ("dreg",),
        "caltech101-silhouettes": ("dreg",),
        "linear-gaussian": ("dreg",),
    }


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if isinstance(entry, Embedded)])
def test_embedded_entries_state_what_they_load(name):
    entry = DATASETS[name]
    assert isinstance(entry, Embedded)
    dataset = entry.load()
    assert (dataset.name, dataset.kind, dataset.height, dataset.width, dataset.split_convention) == (
        entry.name,
        entry.kind,
        entry.height,
        entry.width,
        entry.convention,
    )


def kept(name, data_dir, sizes=(6, 3, 2), convention="dreg", **changes):
    """A small data set in the cache under a name; its examples are numbered through."""
    first, splits = 0, {}
    for split, size in zip(Split, sizes, strict=True):
        numbers = (np.arange(first, first + size) % 256).astype(np.uint8)
        splits[split] = np.repeat(numbers[:, None], 4, axis=1)
        first += size
    options = {"height": 2, "width": 2, "levels": 255, "source": "here", "splits": splits}
    write_cache(
        Dataset.build(name=name, split_convention=convention, **{**options, **changes}),
        data_dir,
    )


class TestLoad:
    def test_as_cached(self, tmp_path):
        kept("mnist", tmp_path)
        assert load_dataset("mnist", tmp_path).split_convention == "dreg"
        assert load_dataset("mnist", tmp_path, "dreg").checksum == load_dataset("mnist", tmp_path).checksum

    def test_wrong_sizes_of_a_convention(self, tmp_path):
        kept("mnist", tmp_path, (300, 150, 2))
        with pytest.raises(DataCorrupt, match="train split has 50 examples, not 59,600") as caught:
            load_dataset("mnist", tmp_path, "burda")
        assert caught.value.where == "mnist, split as burda"

    @pytest.mark.parametrize("name", DATASETS)
    def test_an_unknown_convention_needs_no_data_to_be_refused(self, name, tmp_path):
        with pytest.raises(UsageError, match=f"{name} has no split 'bruda'.*It has: ") as caught:
            load_dataset(name, tmp_path, "bruda")
        for convention in conventions_of(name, tmp_path):
            assert convention in caught.value.what

    def test_not_there(self, tmp_path):
        with pytest.raises(DatasetMissing, match="'omniglot' is not on this machine") as caught:
            load_dataset("omniglot", tmp_path, "dreg")
        assert "dreg download omniglot" in str(caught.value.hint)

    def test_a_cache_that_is_split_as_none_of_its_files_is(self, tmp_path):
        kept("mnist", tmp_path, convention="mine")
        with pytest.raises(DataCorrupt, match="split as 'mine', which is not one") as caught:
            load_dataset("mnist", tmp_path, "burda")
        assert "dreg download mnist" in str(caught.value.hint)

    def test_what_is_cached_decides_which_conventions_there_are(self, tmp_path):
        kept("omniglot-lake", tmp_path, convention="lake-small")
        assert conventions_of("omniglot-lake", tmp_path) == ("lake-small",)
        assert load_dataset("omniglot-lake", tmp_path, "lake-small").split_convention == "lake-small"
        with pytest.raises(UsageError, match=r"has no split 'dreg'.*It has: lake-small"):
            load_dataset("omniglot-lake", tmp_path, "dreg")


class TestImported:
    def test_are_known_after_the_catalogues(self, tmp_path):
        for name in ("zebras", "mnist", "apples"):
            kept(name, tmp_path, convention="seed-3")
        (tmp_path / "folder.h5.123.part").write_bytes(b"")
        (tmp_path / "other.txt").write_bytes(b"")
        for unlisted in (".hidden", "a\nb", "tab\t"):
            (tmp_path / f"{unlisted}.h5").write_bytes((tmp_path / "apples.h5").read_bytes())
        (tmp_path / "folder.h5").mkdir()
        (tmp_path / "notes.h5").write_bytes(b"for the attic")
        assert imported_names(tmp_path) == ["apples", "zebras"]
        # It may be what a full disk has left of a data set.
        (tmp_path / "empty.h5").write_bytes(b"")
        assert imported_names(tmp_path) == ["apples", "empty", "zebras"]
        assert known_datasets(tmp_path) == [*DATASETS, "apples", "empty", "zebras"]
        assert imported_names(tmp_path / "nowhere") == []

    def test_have_their_own_convention_only(self, tmp_path):
        kept("zebras", tmp_path, convention="seed-3")
        assert conventions_of("zebras", tmp_path) == ("seed-3",)
        assert load_dataset("zebras", tmp_path).name == "zebras"
        assert load_dataset("zebras", tmp_path, "seed-3").split_convention == "seed-3"
        with pytest.raises(UsageError, match=r"zebras has no split 'dreg'\. It has: seed-3"):
            load_dataset("zebras", tmp_path, "dreg")

    def test_of_real_values(self, tmp_path):
        splits = {split: np.linspace(-3, 9, 8, dtype=np.float32).reshape(2, 4) for split in Split}
        kept("reals", tmp_path, convention="given", splits=splits, levels=1, kind=DataKind.REAL)
        np.testing.assert_array_equal(load_dataset("reals", tmp_path).splits[Split.TEST], splits[Split.TEST])

    @pytest.mark.parametrize("name", ["", "../zebras", "/zebras", "zebras.h5", "zebra", "ZEBRAS "])
    def test_no_other_name_leads_to_a_file(self, tmp_path, name):
        kept("zebras", tmp_path)
        with pytest.raises(UsageError, match="no data set is called") as caught:
            load_dataset(name, tmp_path / "." if name != "../zebras" else tmp_path / "sub")
        assert "mnist" in caught.value.what

    def test_the_nearest_is_suggested(self, tmp_path):
        kept("zebras", tmp_path)
        for call in (load_dataset, conventions_of):
            with pytest.raises(UsageError, match="Did you mean 'zebras'"):
                call("zebra", tmp_path)

    def test_cannot_be_downloaded(self, tmp_path):
        kept("zebras", tmp_path)
        with pytest.raises(UsageError, match="no data set is called 'zebras'"):
            find_entry("zebras")
