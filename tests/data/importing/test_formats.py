"""Every format: the values that come out are those that went in, in the right split, and where they came from."""

import gzip
import hashlib
import re

import h5py
import numpy as np
import pytest
from scipy import io as scipy_io

from dregcli import __version__
from dregcli.data.cache import read_cache
from dregcli.data.catalogue import conventions_of, known_datasets, load_dataset
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import DataKind, Split
from tests.support.data_idx import idx_bytes
from tests.support.data_import import assert_holds, bring, refuse, seeded
from tests.support.listener import Recorder

RANDOM = np.random.RandomState(1)
IMAGES = RANDOM.randint(0, 256, (50, 4, 6)).astype(np.uint8)
REAL = RANDOM.randn(30, 7)
PARTS = {"train": IMAGES[:30], "valid": IMAGES[30:38], "test": IMAGES[38:]}


def npy(path, values):
    np.save(path, values)
    return path


def write_mat73(path, values):
    """As MATLAB writes version 7.3: HDF5 behind 512 bytes, the axes in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in values.items():
            item = file.create_dataset(key, data=value.T, chunks=tuple(min(3, n) for n in value.T.shape))
            item.attrs["MATLAB_class"] = np.bytes_(str(value.dtype).encode())
        # A string, whose values lie elsewhere in the file.
        file["s"] = np.array([[0xDD, 2, 1, 1, 1, 1]], np.uint32)
        file["s"].attrs["MATLAB_class"] = np.bytes_(b"string")
        file["#refs#/a"], file["#subsystem#/MCOS"] = np.ones((3, 4)), np.ones((1, 5))
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def make(kind, folder):
    """A file with IMAGES, alone."""
    path = folder / f"source-{kind}"
    if kind == "npy":
        return npy(folder / "source.npy", IMAGES)
    if kind == "npy-fortran":
        return npy(folder / "source.npy", np.asfortranarray(IMAGES))
    if kind == "npy-big-endian":
        return npy(folder / "source.npy", IMAGES.astype(">i4"))
    if kind == "npy-named-otherwise":
        return npy(folder / "source.npy", IMAGES).rename(folder / "source.h5")
    if kind == "npy.gz":
        path.write_bytes(gzip.compress(npy(folder / "source.npy", IMAGES).read_bytes()))
    if kind in ("npz", "npz-packed", "npz-fortran"):
        save = np.savez_compressed if kind == "npz-packed" else np.savez
        save(folder / "source.npz", pictures=np.asfortranarray(IMAGES) if kind == "npz-fortran" else IMAGES)
        return folder / "source.npz"
    if kind in ("h5", "h5-packed", "h5-nested"):
        with h5py.File(path, "w") as file:
            options = {"compression": "gzip", "chunks": (7, 4, 3)} if kind == "h5-packed" else {}
            file.create_dataset("deep/down/x" if kind == "h5-nested" else "x", data=IMAGES, **options)
    if kind in ("mat", "mat-packed", "mat4"):
        path = folder / "source.mat"
        values = IMAGES.reshape(50, -1).astype(np.float64) if kind == "mat4" else IMAGES
        scipy_io.savemat(
            path, {"X": values}, do_compression=kind == "mat-packed", format="4" if kind == "mat4" else "5"
        )
    if kind == "mat73":
        write_mat73(path, {"X": IMAGES})
    if kind in ("idx", "idx.gz"):
        content = idx_bytes(IMAGES)
        path.write_bytes(gzip.compress(content) if kind == "idx.gz" else content)
    if kind == "idx-int32":
        path.write_bytes(idx_bytes(IMAGES.astype(">i4"), kind=0x0C))
    if kind in ("amat", "amat.gz"):
        text = "\n".join(" ".join(f"{value:d}" for value in row) for row in IMAGES.reshape(50, -1)) + "\n"
        path.write_bytes(gzip.compress(text.encode()) if kind == "amat.gz" else text.encode())
    return path


ALONE = [
    "npy",
    "npy-fortran",
    "npy-big-endian",
    "npy-named-otherwise",
    "npy.gz",
    "npz",
    "npz-packed",
    "npz-fortran",
    "h5",
    "h5-packed",
    "h5-nested",
    "mat",
    "mat-packed",
    "mat4",
    "mat73",
    "idx",
    "idx.gz",
    "idx-int32",
    "amat",
    "amat.gz",
]


@pytest.mark.parametrize("kind", ALONE)
def test_one_array_is_split_by_seed(kind, tmp_path):
    source = make(kind, tmp_path)
    # Text and MATLAB's version 4 know no third axis.
    shape = "4x6" if kind in ("amat", "amat.gz", "mat4") else None
    imported = bring(source, tmp_path / "data", shape=shape)
    assert_holds(imported.dataset, seeded(IMAGES))
    assert (imported.dataset.kind, imported.dataset.levels) == (DataKind.INTENSITY, 255)
    assert (imported.dataset.height, imported.dataset.width) == (4, 6)
    assert imported.dataset.split_convention == "seed-0"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["mine.h5"]


@pytest.mark.parametrize(
    "keys", [("train", "valid", "test"), ("x_train", "x_val", "x_test"), ("trainX", "validationX", "testX")]
)
@pytest.mark.parametrize("kind", ["npz", "h5", "mat", "mat73"])
def test_splits_of_the_file_are_kept_as_they_are(kind, keys, tmp_path):
    values = dict(zip(keys, PARTS.values(), strict=True)) | {"y_train": np.arange(30), "labels": np.zeros((30, 10))}
    path = tmp_path / f"source.{kind}"
    if kind == "npz":
        np.savez(path, **values)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            for key, value in values.items():
                file[key] = value
    elif kind == "mat":
        scipy_io.savemat(path, values)
    else:
        write_mat73(path, values)
    imported = bring(path, tmp_path / "data")
    assert_holds(imported.dataset, {split: PARTS[split.value] for split in Split})
    assert imported.dataset.split_convention == "given"
    assert imported.dataset.provenance["splits"] == {"made": "given"}
    assert any(re.search("left out: .*labels.*y_train|left out: .*y_train.*labels", note) for note in imported.notes)


def test_a_missing_validation_split_is_drawn_from_training(tmp_path):
    np.savez(tmp_path / "source.npz", train=IMAGES[:40], test=IMAGES[40:])
    imported = bring(tmp_path / "source.npz", tmp_path / "data", valid="5", seed=3)
    order = np.random.RandomState(3).permutation(40)
    assert_holds(
        imported.dataset,
        {Split.TRAIN: IMAGES[order[:35]], Split.VALID: IMAGES[order[35:]], Split.TEST: IMAGES[40:]},
    )
    assert imported.dataset.split_convention == "seed-3"
    assert imported.dataset.provenance["splits"]["given"] == ["test"]
    assert imported.dataset.provenance["splits"]["drawn"] == {"valid": 5}


def test_keys_can_be_named(tmp_path):
    np.savez(tmp_path / "source.npz", data=IMAGES[:40], testdata=IMAGES[40:], other=IMAGES[:, :2])
    refuse(tmp_path / "source.npz", tmp_path / "data", "not clear which .*'data' .*'testdata'", UsageError)
    imported = bring(tmp_path / "source.npz", tmp_path / "data", keys=["train=data", "test=testdata"])
    np.testing.assert_array_equal(imported.dataset.splits[Split.TEST], IMAGES[40:].reshape(10, -1))
    alone = bring(tmp_path / "source.npz", tmp_path / "data", name="alone", keys=["other"])
    assert_holds(alone.dataset, seeded(IMAGES[:, :2]))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["datas"], "Did you mean 'data'"),
        (["train=data", "train=more"], "names the train split twice"),
        (["data", "more"], "next: give SPLIT=KEY for each of several arrays"),
        (["trian=data"], "no split is called 'trian'. Did you mean 'train'.*train, valid, test"),
        (["data", "test=more"], "either one array, or SPLIT=KEY"),
        (["test=more"], "no training data"),
    ],
)
def test_keys_that_cannot_be(keys, reason, tmp_path):
    np.savez(tmp_path / "source.npz", data=IMAGES, more=IMAGES)
    refuse(tmp_path / "source.npz", tmp_path / "data", reason, UsageError, keys=keys)


def test_a_key_of_a_file_that_has_none(tmp_path):
    refuse(npy(tmp_path / "a.npy", IMAGES), tmp_path / "data", "one array without a key", UsageError, keys=["x"])


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (IMAGES.reshape(50, 24), "4x6"),
        (IMAGES, None),
        (IMAGES, "4x6"),
        (IMAGES[..., None], None),
        (IMAGES[:, None], None),
    ],
)
def test_axes(values, shape, tmp_path):
    imported = bring(npy(tmp_path / "a.npy", values), tmp_path / "data", shape=shape)
    assert (imported.dataset.height, imported.dataset.width) == (4, 6)
    assert_holds(imported.dataset, seeded(IMAGES))


def test_what_is_assumed_of_a_row_is_said(tmp_path):
    square = bring(npy(tmp_path / "a.npy", IMAGES.reshape(75, 16)), tmp_path / "data")
    assert (square.dataset.height, square.dataset.width) == (4, 4)
    assert any("16 values were taken as images of 4 x 4" in note for note in square.notes)
    row = bring(npy(tmp_path / "a.npy", IMAGES.reshape(50, 24)), tmp_path / "data", name="row")
    assert (row.dataset.height, row.dataset.width) == (1, 24)
    assert any("taken as vectors, 1 x 24" in note for note in row.notes)
    real = bring(npy(tmp_path / "a.npy", RANDOM.randn(30, 16)), tmp_path / "data", name="real")
    assert (real.dataset.height, real.dataset.width) == (1, 16)


def test_examples_along_the_last_axis(tmp_path):
    columns = bring(npy(tmp_path / "a.npy", REAL.T), tmp_path / "data", transpose=True)
    assert_holds(columns.dataset, seeded(REAL.astype(np.float32)))
    frames = bring(npy(tmp_path / "a.npy", np.moveaxis(IMAGES, 0, -1)), tmp_path / "data", name="b", transpose=True)
    assert_holds(frames.dataset, seeded(IMAGES))
    taken = bring(npy(tmp_path / "a.npy", RANDOM.randn(7, 30)), tmp_path / "data", name="c")
    assert any("7 x 30 was taken as 7 examples; if they are columns, give --transpose" in n for n in taken.notes)


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (np.arange(9), {}, "has the shape 9, .*: labels have one axis"),
        (np.zeros((3, 2, 2, 2, 2)), {}, "has the shape 3 x 2 x 2 x 2 x 2, but"),
        (RANDOM.rand(9, 8, 8, 3), {}, r"9 x 8 x 8 x 3.*The 3 channels look like colours"),
        (IMAGES.reshape(50, 24), {"shape": "5x5"}, r"--shape 5x5 is 25 pixels, but the array has 24 values"),
        (IMAGES, {"shape": "6x4"}, "contradicts the array, whose images are 4 x 6"),
        (IMAGES, {"resize": "8x8"}, "--resize: only applies to images"),
    ],
)
def test_shapes_that_cannot_be(values, options, reason, tmp_path):
    refuse(npy(tmp_path / "a.npy", values), tmp_path / "data", reason, UsageError, **options)


def test_splits_of_different_sizes(tmp_path):
    np.savez(tmp_path / "a.npz", train=IMAGES, test=IMAGES[:, :3])
    refuse(tmp_path / "a.npz", tmp_path / "data", "different sizes: train 4 x 6, test 3 x 6", UsageError)


def test_where_it_came_from_is_kept(tmp_path):
    source = npy(tmp_path / "a.npy", REAL)
    watch = Recorder()
    imported = bring(source, tmp_path / "data", watch, seed=5)
    kept = read_cache("mine", tmp_path / "data").provenance
    assert kept["file"] == str(source.resolve())
    assert kept["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert kept["bytes"] == source.stat().st_size
    assert kept["arrays"] == [{"split": None, "key": "", "shape": [30, 7], "dtype": "float64"}]
    assert kept["splits"]["seed"] == 5
    assert kept["dreg"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", kept["imported"])
    assert any("taken as real" in note for note in kept["done"])
    assert str(source.resolve()) in imported.dataset.source
    assert [(task, total, unit) for task, total, unit, _ in watch.begun] == [
        ("digest", source.stat().st_size, "bytes"),
        ("look", 30, "examples"),
        ("write", 30, "examples"),
    ]


def test_the_name_works_afterwards(tmp_path):
    imported = bring(npy(tmp_path / "a.npy", IMAGES), tmp_path / "data", name="my.set_1-b")
    assert known_datasets(tmp_path / "data")[-1] == "my.set_1-b"
    assert conventions_of("my.set_1-b", tmp_path / "data") == ("seed-0",)
    assert load_dataset("my.set_1-b", tmp_path / "data").checksum == imported.dataset.checksum


def test_the_same_source_makes_the_same_data(tmp_path):
    sums = {
        bring(make(kind, tmp_path), tmp_path / "data", name=f"n{i}").dataset.checksum
        for i, kind in enumerate(("npy", "npz-packed", "h5-packed", "idx.gz"))
    }
    assert len(sums) == 1


def test_copies_across_splits_are_reported(tmp_path):
    values = RANDOM.randint(0, 256, (20, 9)).astype(np.uint8)
    np.savez(
        tmp_path / "a.npz", train=values[:12], valid=values[10:16], test=np.concatenate([values[:3], values[15:]])
    )
    assert bring(tmp_path / "a.npz", tmp_path / "data").warnings == (
        "2 of 6 valid examples are in train too, value for value: the valid bound is too optimistic",
        "3 of 8 test examples are in train too, value for value: the test bound is too optimistic",
        "1 of 8 test examples are in valid too, value for value: the test bound is too optimistic",
    )
    assert bring(npy(tmp_path / "b.npy", values), tmp_path / "data", name="b").warnings == ()


@pytest.mark.parametrize(("mode", "more"), [("ab", b"more"), ("wb", b"")])
@pytest.mark.parametrize("kind", ["npy", "npy-fortran", "idx", "h5"])
def test_a_source_that_is_written_to_meanwhile(kind, mode, more, tmp_path):
    """Values that another program has truncated end the process when they are read, if they are mapped."""
    source = make(kind, tmp_path)

    class Meddler(Recorder):
        def begin(self, task, total, unit, *, done=0):
            super().begin(task, total, unit, done=done)
            if task == "write":
                with source.open(mode) as file:
                    file.write(more)

    with pytest.raises(DataCorrupt, match="changed the source while dreg read it"):
        bring(source, tmp_path / "data", Meddler())
    assert list((tmp_path / "data").iterdir()) == []
