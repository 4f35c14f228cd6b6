"""Names, sizes of splits, and options that cannot be: all their faults at once."""

import numpy as np
import pytest

from dregcli.data.importing.splits import plan_splits
from dregcli.errors import DregError, SpecError, UsageError
from dregcli.names import DataKind, Split
from tests.support.data_import import assert_holds, bring, contents, refuse, seeded

VALUES = np.random.RandomState(6).randn(40, 5).astype(np.float32)


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    return tmp_path / "a.npy"


@pytest.mark.parametrize(
    ("options", "valid", "test"),
    [
        ({}, 4, 4),
        ({"seed": 7}, 4, 4),
        ({"valid": "6", "test": "9"}, 6, 9),
        ({"valid": "0.25", "test": "1"}, 10, 1),
        ({"valid": "0.001", "test": "0.5"}, 1, 20),
        ({"test": "35"}, 4, 35),
    ],
)
def test_sizes(source, tmp_path, options, valid, test):
    dataset = bring(source, tmp_path / "data", **options).dataset
    seed = options.get("seed", 0)
    assert_holds(dataset, seeded(VALUES, seed, valid, test))
    assert dataset.split_convention == f"seed-{seed}"
    assert dataset.provenance["splits"]["drawn"] == {"valid": valid, "test": test}


def test_the_permutation_never_changes():
    # Golden: NumPy promises RandomState's stream for ever (NEP 19); a change breaks every imported data set.
    plan = plan_splits({None: 10}, valid=2, test=3, seed=0)
    orders = {split: portion.order.tolist() for split, portion in plan.portions.items()}
    assert orders == {Split.TRAIN: [2, 8, 4, 9, 1], Split.VALID: [6, 7], Split.TEST: [3, 0, 5]}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"valid": "20", "test": "20"}, "of 40 examples, 20 for valid and 20 for test leave 0 for training"),
        ({"valid": "39"}, "39 for valid and 4 for test leave -3 for training"),
        ({"valid": "100"}, "100 for valid"),
        ({"valid": "0.97"}, "leave -3"),
    ],
)
def test_sizes_that_leave_nothing(source, tmp_path, options, reason):
    refuse(source, tmp_path / "data", reason, UsageError, **options)


def test_sizes_of_splits_that_are_given(tmp_path):
    np.savez(tmp_path / "a.npz", train=VALUES[:20], valid=VALUES[20:30], test=VALUES[30:])
    error = refuse(tmp_path / "a.npz", tmp_path / "data", "--valid", SpecError, valid="5", test="5", seed=1)
    assert [fault.field for fault in error.faults] == ["--valid", "--test", "--split-seed"]
    assert "the source gives the test split itself, with 10 examples" in str(error)


def test_every_fault_at_once(source, tmp_path):
    with pytest.raises(SpecError) as caught:
        bring(
            source,
            tmp_path / "data",
            name="no/name",
            shape="28",
            resize="0x9",
            valid="1.5",
            test="none",
            seed=-1,
            levels=300,
            kind=DataKind.REAL,
            invert=True,
        )
    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["--name", "--shape", "--resize", "--valid", "--test", "--split-seed", "--levels", "--invert"]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("amount", ["0", "-3", "1.0", "0.0", "nan", "inf", "1e400", "", "ten", "-0.1", "1_0.5e999"])
def test_amounts_that_cannot_be(source, tmp_path, amount):
    refuse(
        source, tmp_path / "data", "--valid: must be a count of at least 1, or a fraction", SpecError, valid=amount
    )


def test_fractions_that_are_too_much_together(source, tmp_path):
    refuse(source, tmp_path / "data", "fractions of 0.5 and 0.5 leave", SpecError, valid="0.5", test="0.5")


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a b", "a/b", "../up", "ü", "a\n", "x" * 65, "a\x00b"])
def test_names_that_cannot_be(source, tmp_path, name):
    with pytest.raises(DregError, match="--name"):
        bring(source, tmp_path / "data", name=name)
    assert contents(tmp_path) == {"a.npy": source.read_bytes()}


def test_a_full_disk_while_unpacking(tmp_path, monkeypatch):
    import errno
    import tempfile

    np.savez_compressed(tmp_path / "a.npz", x=VALUES)

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    error = refuse(tmp_path / "a.npz", tmp_path / "data", "No space left on the disk")
    assert "free some space" in str(error.hint)
