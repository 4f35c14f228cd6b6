"""What values are taken for, what the user can say they are, and how they are stored."""

import re

import numpy as np
import pytest

from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind, Split
from tests.support.data_import import assert_holds, bring, refuse, seeded

RANDOM = np.random.RandomState(4)
BITS = RANDOM.randint(0, 2, (40, 9))
LEVELS = RANDOM.randint(0, 256, (40, 9))
UNIT = RANDOM.rand(40, 9)


def npy(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


@pytest.mark.parametrize(
    ("values", "kind", "levels", "stored"),
    [
        (BITS.astype(bool), DataKind.BINARY, 1, BITS),
        (BITS.astype(np.int64), DataKind.BINARY, 1, BITS),
        (BITS.astype(np.float32), DataKind.BINARY, 1, BITS),
        (LEVELS.astype(np.uint8), DataKind.INTENSITY, 255, LEVELS),
        (LEVELS.astype(np.int16), DataKind.INTENSITY, 255, LEVELS),
        (LEVELS.astype(np.float64), DataKind.INTENSITY, 255, LEVELS),
        (LEVELS / 255, DataKind.INTENSITY, 255, LEVELS),
        ((LEVELS / 255).astype(np.float32), DataKind.INTENSITY, 255, LEVELS),
        (np.maximum(LEVELS / 255 - 5e-7, 0.0), DataKind.INTENSITY, 255, LEVELS),
        (np.maximum(LEVELS / 255 - 5e-6, 0.0), DataKind.REAL, 1, None),
        (UNIT, DataKind.REAL, 1, UNIT.astype(np.float32)),
        (LEVELS + 300, DataKind.REAL, 1, (LEVELS + 300).astype(np.float32)),
        (LEVELS - 3, DataKind.REAL, 1, (LEVELS - 3).astype(np.float32)),
        (LEVELS + 0.5, DataKind.REAL, 1, (LEVELS + 0.5).astype(np.float32)),
        (RANDOM.randn(40, 9).astype(np.float16), DataKind.REAL, 1, None),
    ],
)
def test_the_narrowest_kind_is_found(values, kind, levels, stored, tmp_path):
    dataset = bring(npy(tmp_path, values), tmp_path / "data").dataset
    assert (dataset.kind, dataset.levels) == (kind, levels)
    assert dataset.splits[Split.TRAIN].dtype == (np.float32 if kind is DataKind.REAL else np.uint8)
    assert_holds(dataset, seeded(values.astype(np.float32) if stored is None else stored))


@pytest.mark.parametrize(
    ("values", "options", "kind", "levels", "stored"),
    [
        (LEVELS, {"kind": DataKind.REAL}, DataKind.REAL, 1, LEVELS.astype(np.float32)),
        (BITS, {"kind": DataKind.REAL}, DataKind.REAL, 1, BITS.astype(np.float32)),
        (BITS, {"kind": DataKind.INTENSITY}, DataKind.INTENSITY, 1, BITS),
        (BITS * 255, {}, DataKind.INTENSITY, 255, BITS * 255),
        (BITS * 255, {"kind": DataKind.BINARY}, DataKind.BINARY, 1, BITS),
        (UNIT, {"kind": DataKind.INTENSITY}, DataKind.INTENSITY, 1, UNIT.astype(np.float32)),
        (LEVELS / 255, {"kind": DataKind.INTENSITY}, DataKind.INTENSITY, 255, LEVELS),
        (LEVELS % 17, {"levels": 16}, DataKind.INTENSITY, 16, LEVELS % 17),
        ((LEVELS % 17) / 16, {"levels": 16}, DataKind.INTENSITY, 16, LEVELS % 17),
        (LEVELS, {"invert": True}, DataKind.INTENSITY, 255, 255 - LEVELS),
        (LEVELS % 17, {"levels": 16, "invert": True}, DataKind.INTENSITY, 16, 16 - LEVELS % 17),
        (BITS, {"invert": True}, DataKind.BINARY, 1, 1 - BITS),
    ],
)
def test_the_user_says(values, options, kind, levels, stored, tmp_path):
    dataset = bring(npy(tmp_path, values), tmp_path / "data", **options).dataset
    assert (dataset.kind, dataset.levels) == (kind, levels)
    assert_holds(dataset, seeded(stored))


def test_inverted_float_intensities_stay_within_0_to_1(tmp_path):
    dataset = bring(npy(tmp_path, UNIT), tmp_path / "data", kind=DataKind.INTENSITY, invert=True).dataset
    assert_holds(dataset, seeded(np.float32(1.0) - UNIT.astype(np.float32)))


def with_one(value, values=LEVELS, at=(27, 5)):
    changed = values.astype(np.float64)
    changed[at] = value
    return changed


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (LEVELS, {"kind": DataKind.BINARY}, r"--kind binary: such values are 0 or 1, but there is \d+ in example 0"),
        (with_one(0.25, BITS), {"kind": DataKind.BINARY}, "there is 0.25 in example 27"),
        (with_one(256), {"kind": DataKind.INTENSITY}, "such values are 0 to 255, but there is 256 in example 27"),
        (with_one(-1), {"kind": DataKind.INTENSITY}, "there is -1 in example 27"),
        (with_one(1.5, UNIT), {"kind": DataKind.INTENSITY}, "whole numbers .*there is 1.5 in example 27"),
        (with_one(-0.5, UNIT), {"kind": DataKind.INTENSITY}, "there is -0.5 in example 27"),
        (with_one(17, LEVELS % 17), {"levels": 16, "kind": DataKind.INTENSITY}, "0 to 16, but there is 17 in ex"),
        (UNIT * 5, {"invert": True}, "--invert only applies to images"),
    ],
)
def test_a_kind_that_the_values_are_not(values, options, reason, tmp_path):
    refuse(npy(tmp_path, values), tmp_path / "data", reason, UsageError, **options)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (with_one(1e308), r"1e\+308 in example 27 is beyond its range"),
        (with_one(1e39), r"1e\+39 in example 27 is beyond its range"),
        (np.where(BITS > 0, (1 << 53) + 1, 0).astype(np.int64), r"9007199254740993 in example \d+ above 2\^53"),
        *(((1 << 24) + np.arange(20).reshape(5, 4).astype(dtype), "would change value") for dtype in (int, float)),
        (np.arange(2**64 - 20, 2**64, dtype=np.uint64).reshape(5, 4), "not exact"),
        (np.full((5, 4), np.iinfo(np.int64).min) + np.arange(20).reshape(5, 4), "not exact"),
    ],
)
def test_what_a_32_bit_float_cannot_hold(values, reason, tmp_path):
    refuse(npy(tmp_path, values), tmp_path / "data", reason, DataCorrupt)


def test_the_example_is_named_however_far_in_it_is(tmp_path):
    values = np.zeros((3000, 200), np.float32)
    values[::2] = 1.0
    values[2900, 7] = 2.0
    refuse(npy(tmp_path, values), tmp_path / "data", "there is 2 in example 2900", kind=DataKind.BINARY)
    values[2901, 9] = np.nan
    refuse(npy(tmp_path, values), tmp_path / "data", "example 2901 has a value that is not finite")


def test_the_largest_integers_are_exact(tmp_path):
    """And what lies a little beside moves as little as it would as a float."""
    for largest in (1 << 24, (1 << 24) + 1, -(1 << 24) - 1):
        for dtype in (np.int32, np.int64, np.float64):
            values = with_one(largest).astype(dtype)
            assert_holds(bring(npy(tmp_path, values), tmp_path / "data").dataset, seeded(values.astype(np.float32)))


def test_grey_levels_in_coarse_floats(tmp_path):
    for dtype in (np.float16, np.float32, np.float64):
        dataset = bring(npy(tmp_path, (LEVELS / 255).astype(dtype)), tmp_path / "data").dataset
        assert (dataset.kind, dataset.levels) == (DataKind.INTENSITY, 255)
        assert_holds(dataset, seeded(LEVELS))


def test_one_kind_for_all_splits(tmp_path):
    """A split that alone would be binary is stored as the others are."""
    np.savez(tmp_path / "a.npz", train=LEVELS[:20], valid=BITS[:10], test=LEVELS[20:] / 1.0)
    dataset = bring(tmp_path / "a.npz", tmp_path / "data").dataset
    assert (dataset.kind, dataset.levels) == (DataKind.INTENSITY, 255)
    assert_holds(dataset, {Split.TRAIN: LEVELS[:20], Split.VALID: BITS[:10], Split.TEST: LEVELS[20:]})


@pytest.mark.parametrize(
    ("values", "options", "note"),
    [
        (BITS, {}, "all values are 0 or 1: taken as binary"),
        (LEVELS, {}, r"whole numbers \d+ to 2\d\d: taken as grey levels of 255 \(--kind real keeps them"),
        (LEVELS % 17, {}, "the brightest value is 16: if that is white, give --levels 16"),
        (BITS * 255, {}, "only 0 and 255 occur: --kind binary takes them as 0 and 1"),
        (BITS * 255, {"kind": DataKind.BINARY}, "255 was taken as 1"),
        (LEVELS / 255, {}, r"multiples of 1/255 from .*: taken as grey levels"),
        (UNIT, {}, r"taken as real \(--kind intensity takes them as intensities\)"),
        (LEVELS, {"invert": True}, "inverted"),
    ],
)
def test_what_is_assumed_is_said(values, options, note, tmp_path):
    imported = bring(npy(tmp_path, values), tmp_path / "data", **options)
    assert any(re.search(note, each) for each in imported.notes), imported.notes
    assert any(re.search(note, each) for each in imported.dataset.provenance["done"])
