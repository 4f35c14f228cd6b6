"""Checks, checksums and moments of all kinds of values, resident and mapped."""

import hashlib
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dregcli.data.cache import read_cache, verify_cache
from dregcli.data.cache_writer import write_cache
from dregcli.data.conventions import last_as_valid
from dregcli.data.dataset import Dataset, Draft
from dregcli.data.scan import Scanner
from dregcli.data.sparse import SparseImage
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

SIZES = dict(zip(Split, (40, 9, 5), strict=True))


def values(kind: DataKind, *, levels: int = 1, seed: int = 0) -> dict[Split, np.ndarray]:
    random = np.random.RandomState(seed)
    if kind is DataKind.REAL:
        # Far from the origin, where squares of plain floats would cancel.
        return {split: (1e4 + random.standard_normal((n, 6))).astype(np.float32) for split, n in SIZES.items()}
    if levels > 1 or kind is DataKind.BINARY:
        return {split: random.randint(0, levels + 1, (n, 6)).astype(np.uint8) for split, n in SIZES.items()}
    return {split: random.random_sample((n, 6)).astype(np.float32) for split, n in SIZES.items()}


def draft(kind: DataKind, *, levels: int = 1, **changes) -> Draft:
    fields = {
        "name": "toy",
        "kind": kind,
        "height": 2,
        "width": 3,
        "levels": levels,
        "splits": values(kind, levels=levels),
        "split_convention": "given",
        "source": "here",
        "provenance": {"shape": [40, 2, 3], "what": "ünï"},
    }
    return Draft(**{**fields, **changes})


KINDS = [(DataKind.BINARY, 1), (DataKind.INTENSITY, 255), (DataKind.INTENSITY, 1), (DataKind.REAL, 1)]
kinds = pytest.mark.parametrize(("kind", "levels"), KINDS, ids=["binary", "bytes", "fractions", "real"])


@kinds
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "mapped"])
def test_every_kind_comes_back_with_its_moments(tmp_path, kind, levels, resident, monkeypatch) -> None:
    monkeypatch.setattr("dregcli.data.scan.CHUNK_VALUES", 7 * 6)  # several chunks, the last one shorter
    made = draft(kind, levels=levels)
    write_cache(made, tmp_path)
    back = read_cache("toy", tmp_path, resident_bytes=1 << 30 if resident else 10)
    assert back.is_mapped is not resident
    for split, array in made.splits.items():
        assert back.splits[split].dtype == array.dtype
        np.testing.assert_array_equal(back.splits[split], array)
    assert (back.kind, back.levels, back.split_convention) == (kind, levels, "given")
    assert back.provenance == made.provenance
    train = made.splits[Split.TRAIN].astype(np.float64) / levels
    np.testing.assert_allclose(back.scanned.moments.mean, train.mean(0), rtol=1e-12)
    np.testing.assert_allclose(back.scanned.moments.deviation, train.std(0), rtol=1e-9)
    assert back.spread().dtype == np.float32


@kinds
def test_mapped_and_resident_are_the_same_data_set(tmp_path, kind, levels) -> None:
    write_cache(draft(kind, levels=levels), tmp_path)
    resident, mapped = (read_cache("toy", tmp_path, resident_bytes=size) for size in (1 << 30, 0))
    assert resident.checksum == mapped.checksum
    assert resident.split_hashes == mapped.split_hashes
    np.testing.assert_array_equal(resident.scanned.moments.mean, mapped.scanned.moments.mean)
    np.testing.assert_array_equal(resident.spread(), mapped.spread())


def test_nothing_writes_to_the_file_through_the_map(tmp_path) -> None:
    path = write_cache(draft(DataKind.REAL), tmp_path)
    before = path.read_bytes()
    mapped = read_cache("toy", tmp_path, resident_bytes=0)
    with pytest.raises(ValueError, match="read-only"):
        mapped.splits[Split.TRAIN][0] = 0.0
    assert path.read_bytes() == before


def test_a_pixel_that_never_varies_has_spread_one() -> None:
    splits = values(DataKind.REAL)
    splits[Split.TRAIN][:, 2] = 5.0
    made = Dataset.build(
        name="toy", kind=DataKind.REAL, height=2, width=3, levels=1, splits=splits, split_convention="g", source="s"
    )
    assert made.spread()[2] == 1.0
    assert (np.delete(made.spread(), 2) != 1.0).all()


def test_the_checksum_of_bytes_is_that_of_format_1() -> None:
    """Written out: what every stored run's data_checksum is made of."""
    splits = values(DataKind.INTENSITY, levels=255)
    digest = hashlib.sha256(b"dreg pixels 1: levels 255, 2 x 3")
    for split, array in splits.items():
        digest.update(f"\n{split} {len(array)}\n".encode())
        digest.update(array.tobytes())
    made = Dataset.build(
        name="toy", height=2, width=3, levels=255, splits=splits, split_convention="dreg", source="here"
    )
    assert made.checksum == digest.hexdigest()


def test_the_test_split_has_one_hash_in_all_conventions() -> None:
    def build(splits):
        return Dataset.build(name="t", height=2, width=3, levels=255, splits=splits, split_convention="c", source="s")

    stored = build(values(DataKind.INTENSITY, levels=255))
    recut = build(last_as_valid(4)(stored.splits))
    assert [len(recut.splits[split]) for split in Split] == [45, 4, 5]
    whole = np.concatenate([stored.splits[Split.TRAIN], stored.splits[Split.VALID]])
    np.testing.assert_array_equal(np.concatenate([recut.splits[Split.TRAIN], recut.splits[Split.VALID]]), whole)
    assert recut.split_hashes[Split.TEST] == stored.split_hashes[Split.TEST]
    assert recut.split_hashes[Split.TRAIN] != stored.split_hashes[Split.TRAIN]
    assert recut.checksum != stored.checksum


def _with(kind: DataKind, value: float) -> dict[Split, np.ndarray]:
    splits = values(kind)
    splits[Split.VALID][7, 1] = value
    return splits


@pytest.mark.parametrize(
    ("kind", "splits", "reason"),
    [
        (DataKind.REAL, _with(DataKind.REAL, np.nan), r"valid split has a value that is not finite .* in example 7"),
        (DataKind.REAL, _with(DataKind.REAL, -np.inf), "not finite"),
        (DataKind.INTENSITY, _with(DataKind.INTENSITY, 1.5), "intensities from .* to 1.5"),
        (DataKind.INTENSITY, _with(DataKind.INTENSITY, -0.1), "intensities from -0.1"),
        (DataKind.BINARY, _with(DataKind.BINARY, 2), "above its 1 levels"),
        (DataKind.REAL, values(DataKind.BINARY), "uint8"),
        (DataKind.BINARY, values(DataKind.REAL), "float32"),
    ],
)
@pytest.mark.parametrize("small_chunks", [True, False])
def test_refusals_leave_nothing(tmp_path, kind, splits, reason, small_chunks, monkeypatch) -> None:
    if small_chunks:
        monkeypatch.setattr("dregcli.data.scan.CHUNK_VALUES", 3 * 6)
    with pytest.raises(DataCorrupt, match=reason):
        write_cache(draft(kind, splits=splits), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_draft_leaves_the_older_file(tmp_path) -> None:
    path = write_cache(draft(DataKind.REAL), tmp_path)
    before = path.read_bytes()
    with pytest.raises(DataCorrupt, match="not finite"):
        write_cache(draft(DataKind.REAL, splits=_with(DataKind.REAL, np.nan)), tmp_path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["toy.h5"]


def test_fractions_have_one_level() -> None:
    splits = values(DataKind.INTENSITY)
    with pytest.raises(DataCorrupt, match="1 level, not 255"):
        Dataset.build(
            name="t",
            kind=DataKind.INTENSITY,
            height=2,
            width=3,
            levels=255,
            splits=splits,
            split_convention="g",
            source="s",
        )


def _build_real(splits: dict[Split, np.ndarray]) -> Dataset:
    return Dataset.build(
        name="t", kind=DataKind.REAL, height=2, width=3, levels=1, splits=splits, split_convention="g", source="s"
    )


def test_moments_of_floats_are_golden() -> None:
    """Bit for bit across chunks: a model is centred by them. Sums by hand, in chunks of 2^20 values about row 0."""
    n = 2 * ((1 << 20) // 6) + 10
    train = np.random.RandomState(2).standard_normal((n, 6)).astype(np.float32)
    found = _build_real({**values(DataKind.REAL), Split.TRAIN: train}).scanned.moments
    about = train.astype(np.float64) - train[0].astype(np.float64)
    step = (1 << 20) // 6
    pieces = [about[first : first + step] for first in range(0, n, step)]
    total = pieces[0].sum(0) + pieces[1].sum(0) + pieces[2].sum(0)
    np.testing.assert_array_equal(found.mean, train[0].astype(np.float64) + total / n)


def test_a_variance_is_never_negative() -> None:
    splits = {split: np.full((n, 6), 1e7 + 1, np.float32) for split, n in SIZES.items()}
    splits[Split.TRAIN][0] -= 1
    deviation = _build_real(splits).scanned.moments.deviation
    assert np.isfinite(deviation).all()
    about = (splits[Split.TRAIN].astype(np.float64)).std(0)
    np.testing.assert_allclose(deviation, about, rtol=1e-6)


def test_exactly_at_the_limit_is_resident(tmp_path) -> None:
    write_cache(draft(DataKind.REAL), tmp_path)
    size = sum(SIZES.values()) * 6 * 4
    assert not read_cache("toy", tmp_path, resident_bytes=size).is_mapped
    assert read_cache("toy", tmp_path, resident_bytes=size - 1).is_mapped


def test_a_provenance_that_is_too_long_is_refused(tmp_path) -> None:
    with pytest.raises(DataCorrupt, match="provenance is longer"):
        write_cache(draft(DataKind.REAL, provenance={"note": "x" * 60_001}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_moments_that_are_not_finite_are_refused(tmp_path) -> None:
    path = write_cache(draft(DataKind.REAL), tmp_path)
    with h5py.File(path, "a") as file:
        file["train-deviation"][2] = np.nan
    with pytest.raises(DataCorrupt, match="'train-deviation' is not finite"):
        read_cache("toy", tmp_path, resident_bytes=0)


def test_chunked_values_are_refused(tmp_path) -> None:
    path = write_cache(draft(DataKind.REAL), tmp_path)
    with h5py.File(path, "a") as file:
        content = file["train"][()]
        del file["train"]
        file.create_dataset("train", data=content, chunks=(5, 6))
    with pytest.raises(DataCorrupt, match="'train' is not stored as one piece"):
        read_cache("toy", tmp_path)


def test_small_deviations_are_verified_too(tmp_path) -> None:
    splits = {split: array * np.float32(1e-12) for split, array in values(DataKind.REAL).items()}
    path = write_cache(draft(DataKind.REAL, splits=splits), tmp_path)
    with h5py.File(path, "a") as file:
        file["train-deviation"][:] *= 2
    with pytest.raises(DataCorrupt, match="mean and deviation"):
        read_cache("toy", tmp_path)


def test_an_image_in_memory_keeps_what_is_written_and_no_more() -> None:
    image = SparseImage()
    image.seek((1 << 30) + 3)
    assert image.write(b"0123456789") == 10
    assert [(start, content.lstrip(b"\0")) for start, content in image.pages()] == [(1 << 30, b"0123456789")]
    assert image.size == (1 << 30) + 13
    assert sum(len(content) for _, content in image.pages()) == 13
    image.seek(-4, 2)
    assert image.read(100) == b"6789"
    assert image.read(100) == b""
    image.seek((1 << 30) - 2)
    assert image.read(6) == b"\0\0\0\0\x000"
    image.truncate(5)
    assert image.size == 5


class TestVerify:
    def test_finds_a_flipped_bit_of_a_mapped_set(self, tmp_path, monkeypatch) -> None:
        path = write_cache(draft(DataKind.REAL), tmp_path)
        monkeypatch.setattr("dregcli.data.cache.RESIDENT_BYTES", 0)
        assert verify_cache("toy", tmp_path).is_mapped
        with h5py.File(path, "a") as file:
            offset = file["test"].id.get_offset()
        content = bytearray(path.read_bytes())
        content[offset + 9] ^= 1
        path.write_bytes(content)
        assert read_cache("toy", tmp_path).is_mapped, "its values are believed until someone asks"
        with pytest.raises(DataCorrupt, match="checksum"):
            verify_cache("toy", tmp_path)

    @pytest.mark.parametrize("resident", [0, 1 << 30])
    @pytest.mark.parametrize("key", ["train-mean", "train-deviation"])
    def test_finds_wrong_moments(self, tmp_path, monkeypatch, resident, key) -> None:
        path = write_cache(draft(DataKind.REAL), tmp_path)
        monkeypatch.setattr("dregcli.data.cache.RESIDENT_BYTES", resident)
        with h5py.File(path, "a") as file:
            file[key][1] += 0.5
        with pytest.raises(DataCorrupt, match="mean and deviation"):
            verify_cache("toy", tmp_path)

    def test_finds_moments_that_were_wrong_from_the_start(self, tmp_path, monkeypatch) -> None:
        right = Scanner._moments
        with monkeypatch.context() as patch:
            patch.setattr(Scanner, "_moments", lambda self: replace(right(self), mean=right(self).mean + 1.0))
            write_cache(draft(DataKind.REAL), tmp_path)
        assert not read_cache("toy", tmp_path).is_mapped
        with pytest.raises(DataCorrupt, match="mean and deviation that the file states"):
            verify_cache("toy", tmp_path)

    def test_a_mapped_file_that_is_cut_short_is_refused_at_once(self, tmp_path) -> None:
        path = write_cache(draft(DataKind.REAL), tmp_path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataCorrupt):
            read_cache("toy", tmp_path, resident_bytes=0)


class _Promised:
    """Rows that are made as they are read, so that a large set needs no memory."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int) -> None:
        self.shape = (count, 1000)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.full((min(rows.stop, self.shape[0]) - rows.start, 1000), 7, np.uint8)


def test_a_large_set_passes_through_little_memory(tmp_path) -> None:
    """150 MB through a peak of some chunks."""
    import tracemalloc

    splits = {Split.TRAIN: _Promised(150_000), Split.VALID: _Promised(10), Split.TEST: _Promised(10)}
    tracemalloc.start()
    path = write_cache(draft(DataKind.INTENSITY, levels=255, height=10, width=100, splits=splits), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 150e6
    assert peak < 40e6
    back = read_cache("toy", tmp_path, resident_bytes=0)
    assert (back.splits[Split.TRAIN][149_999] == 7).all()
    np.testing.assert_allclose(back.scanned.moments.mean, 7 / 255, rtol=1e-12)


def test_the_float_checksum_is_golden() -> None:
    """A change breaks every stored run on float data."""
    splits = {split: np.arange(n * 6, dtype=np.float32).reshape(n, 6) / 4 for split, n in SIZES.items()}
    made = Dataset.build(
        name="t", kind=DataKind.REAL, height=2, width=3, levels=1, splits=splits, split_convention="g", source="s"
    )
    digest = hashlib.sha256(b"dreg values 1: real, float32: levels 1, 2 x 3")
    for split, array in splits.items():
        digest.update(f"\n{split} {len(array)}\n".encode() + array.tobytes())
    assert made.checksum == digest.hexdigest()


@pytest.mark.skipif(sys.byteorder != "little", reason="the literal is of a little-endian machine")
def test_images_of_several_channels_have_a_format_and_a_checksum_of_their_own(tmp_path) -> None:
    splits = {split: np.arange(n * 6, dtype=np.uint8).reshape(n, 6) for split, n in SIZES.items()}
    fields = {"name": "toy", "levels": 255, "splits": splits, "split_convention": "c", "source": "s"}
    made = Dataset.build(height=1, width=2, channels=3, **fields)
    digest = hashlib.sha256(b"dreg pixels 1: levels 255, 3 x 1 x 2")
    for split, array in splits.items():
        digest.update(f"\n{split} {len(array)}\n".encode() + array.tobytes())
    assert made.checksum == digest.hexdigest()
    assert made.checksum != Dataset.build(height=1, width=6, **fields).checksum
    path = write_cache(made, tmp_path)
    for resident in (0, None):
        back = read_cache("toy", tmp_path, resident_bytes=resident)
        assert (back.image, back.pixels, back.checksum) == ((3, 1, 2), 6, made.checksum)
    for channels, reason in ((2, "damaged"), (4, "damaged"), (None, "'channels' is missing")):
        with h5py.File(path, "a") as file:
            # What knows format 2 alone refuses it, with advice.
            assert file.attrs["encoding-version"] == b"2.1"
            del file.attrs["channels"]
            if channels is not None:
                file.attrs["channels"] = np.int64(channels)
        with pytest.raises(DataCorrupt, match=reason):
            read_cache("toy", tmp_path)
    with h5py.File(write_cache(Dataset.build(height=1, width=6, **fields), tmp_path)) as file:
        assert file.attrs["encoding-version"] == b"2"
        assert "channels" not in file.attrs
