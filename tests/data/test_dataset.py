import numpy as np
import pytest

from dregcli.data.catalogue import DATASETS, load_dataset
from dregcli.data.dataset import Dataset
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import Split


def build(**changes):
    random = np.random.RandomState(1)
    splits = {
        split: random.randint(0, 17, (n, 6)).astype(np.uint8) for split, n in zip(Split, (8, 3, 2), strict=True)
    }
    fields = {
        "name": "toy",
        "height": 2,
        "width": 3,
        "levels": 16,
        "splits": splits,
        "split_convention": "dreg",
        "source": "here",
    }
    return Dataset.build(**{**fields, **changes})


def test_the_mean_is_the_exact_mean_of_train():
    dataset = build()
    expected = [sum(int(value) for value in column) / (8 * 16) for column in dataset.splits[Split.TRAIN].T]
    np.testing.assert_allclose(dataset.scanned.moments.mean, expected, rtol=1e-15)


def test_the_mean_does_not_overflow():
    splits = {split: np.full((70_000, 1), 255, np.uint8) for split in Split}
    assert build(height=1, width=1, levels=255, splits=splits).scanned.moments.mean == [1.0]


def test_arrays_are_read_only():
    for array in build().splits.values():
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


class TestChecksum:
    def test_is_a_matter_of_the_pixels_only(self):
        assert build(name="other", source="there").checksum == build().checksum

    @pytest.mark.parametrize("split", Split)
    def test_changes_with_one_pixel(self, split: Split):
        splits = {name: array.copy() for name, array in build().splits.items()}
        splits[split][-1, -1] ^= 1
        assert build(splits=splits).checksum != build().checksum

    def test_changes_with_levels_shape_and_split_border(self):
        whole = build()
        moved = dict(whole.splits)
        moved[Split.VALID] = np.concatenate([whole.splits[Split.TRAIN][-1:], whole.splits[Split.VALID]])
        moved[Split.TRAIN] = whole.splits[Split.TRAIN][:-1]
        sums = {
            whole.checksum,
            build(levels=17).checksum,
            build(height=3, width=2).checksum,
            build(splits=moved).checksum,
        }
        assert len(sums) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"splits": {Split.TRAIN: np.zeros((1, 6), np.uint8)}}, "the valid split is missing"),
        ({"splits": dict.fromkeys(Split, np.zeros((0, 6), np.uint8))}, "shape"),
        ({"splits": dict.fromkeys(Split, np.zeros((1, 5), np.uint8))}, "shape"),
        ({"splits": dict.fromkeys(Split, np.zeros((1, 2, 3), np.uint8))}, "shape"),
        ({"splits": dict.fromkeys(Split, np.zeros((1, 6), np.int64))}, "int64"),
        ({"levels": 15}, "above its 15 levels"),
        ({"levels": 0}, "1 to 255"),
        ({"height": -2, "width": -3}, "-2 x -3"),
    ],
)
def test_refuses_what_is_no_data_set(changes, reason):
    with pytest.raises(DataCorrupt, match=reason):
        build(**changes)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset("digits", tmp_path_factory.mktemp("data") / "never-made")


class TestDigits:
    def test_split_is_the_one_every_run_has_used(self, digits):
        # Golden: computed once from scikit-learn 1.9.1 and numpy 2.4.6. A change breaks every stored run.
        assert digits.checksum == "4ab55d37ecc83f9707bd406367c5e560921af301adab712e5e4bdcf56b0b8ca6"

    def test_shapes(self, digits):
        assert {split: array.shape for split, array in digits.splits.items()} == {
            "train": (1297, 64),
            "valid": (250, 64),
            "test": (250, 64),
        }
        assert (digits.height, digits.width, digits.pixels, digits.levels) == (8, 8, 64, 16)

    def test_is_all_of_scikit_learns_images_once(self, digits):
        from sklearn.datasets import load_digits

        theirs = sorted(map(bytes, load_digits().data.astype(np.uint8)))
        assert sorted(map(bytes, np.concatenate(list(digits.splits.values())))) == theirs


class TestCatalogue:
    def test_keys_are_the_entries_names(self):
        assert {name: entry.name for name, entry in DATASETS.items()} == {name: name for name in DATASETS}

    def test_unknown_name_suggests_the_nearest(self, tmp_path):
        with pytest.raises(UsageError, match="Did you mean 'mnist'"):
            load_dataset("mnits", tmp_path)
