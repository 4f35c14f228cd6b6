"""Files of other programs: each is answered with a line that can be pasted, and nothing of it is unpickled."""

import gzip
import pickle
import shlex
import struct
import tarfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from dregcli.data.cache import read_cache
from dregcli.errors import DataCorrupt
from dregcli.names import Split
from tests.support.data_import import assert_holds, bring, refuse, seeded

VALUES = np.random.RandomState(4).randint(0, 256, (30, 6, 5)).astype(np.uint8)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def _pasted(hint, folder):
    """What a shell would do with a hint: the converting line is run here, and the command after it is returned."""
    words = shlex.split(hint)
    first, then = words[: words.index("&&")], words[words.index("&&") + 1 :]
    assert first[:2] == ["python", "-c"]
    exec(first[2], {})
    assert then[:3] == ["dreg", "data", "import"]
    return folder / then[3], then[4:]


@pytest.mark.parametrize("name", ["a file.pt", "it's.pth", "a.ckpt", "a.safetensors", "mnist.pkl", "mnist.pkl.gz"])
def test_the_line_makes_a_file_that_can_be_imported(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "elsewhere" / name
    path.parent.mkdir()
    if ".pkl" in name:
        content = pickle.dumps(((VALUES[:20], np.arange(20)), (VALUES[20:], np.arange(10))))
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        keys = ["train=0_0", "test=1_0"]
    elif name.endswith("safetensors"):
        save_file({"images": VALUES, "labels": np.arange(30)}, path)
        keys = []
    else:
        found = {"a file.pt": (torch.from_numpy(VALUES), torch.arange(30)), "it's.pth": torch.from_numpy(VALUES)}
        torch.save(found.get(name, {"data": torch.from_numpy(VALUES), "epoch": 3}), path)
        keys = []
    error = refuse(path, tmp_path / "data", "looks like", DataCorrupt)
    assert ("only with a file that you trust" in error.what) == (".pkl" in name)
    target, more = _pasted(error.hint, tmp_path)
    assert more == ["--name", "mine", "--replace"]
    bring(target, tmp_path / "data", keys=keys)
    if keys:
        np.testing.assert_array_equal(
            read_cache("mine", tmp_path / "data").splits[Split.TEST], VALUES[20:].reshape(10, -1)
        )
    else:
        assert_holds(read_cache("mine", tmp_path / "data"), seeded(VALUES))
    # The next line would not write over what this one made.
    again = refuse(path, tmp_path / "data", "looks like", DataCorrupt)
    assert f"{target.stem}-2.npz" in shlex.split(again.hint)


def _h5ad(path):
    with h5py.File(path, "w") as file:
        file["X/data"], file["X/indices"], file["X/indptr"] = np.ones(4), np.arange(4), np.arange(5)
        file["obsm/X_pca"] = np.ones((4, 2))


def _tar(path):
    member = path.with_name("0.png")
    member.write_bytes(b"png")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(member, "0.png")


PARQUET = b"PAR1" + bytes(40) + b"PAR1"
FOREIGN = [
    ("a.parquet", PARQUET, "Parquet", "read_parquet"),
    ("renamed.bin", PARQUET, "Parquet", "read_parquet"),
    ("a.arrow", b"ARROW1\0\0" + bytes(40), "Arrow", "read_feather"),
    ("a.feather", b"FEA1" + bytes(40), "Feather", "read_feather"),
    ("data-00000-of-00001", b"\xff\xff\xff\xff" + bytes(40), "Arrow", "open_stream"),
    ("train-00000.tfrecord", struct.pack("<Q", 9) + b"abcd" + bytes(20), "TensorFlow", "TFRecordDataset"),
    ("renamed.npy", pickle.dumps(Bomb()), "pickled Python objects", "pickle.loads"),
    ("a.pkl", pickle.dumps(Bomb(), protocol=0), "pickled Python objects", "pickle.loads"),
    ("a.joblib", pickle.dumps(Bomb()), "joblib", "joblib.load"),
    ("a.h5ad", _h5ad, "AnnData", "read_h5ad"),
    ("a.tar.gz", _tar, "a tar archive", "tar -xf"),
    ("renamed.gz", _tar, "a tar archive", "tar -xf"),
    ("a.orc", b"ORC" + bytes(20), "ORC", "read_orc"),
    ("a.xlsx", b"PK\x05\x06" + bytes(18), "a workbook", "read_excel"),
    ("old.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch", "weights_only=True"),
]


def test_each_is_recognised_by_its_bytes_or_its_name(tmp_path):
    for name, content, what, says in FOREIGN:
        path = tmp_path / name
        content(path) if callable(content) else path.write_bytes(content)
        error = refuse(path, tmp_path / "data", f"looks like .*{what}", DataCorrupt)
        assert says in error.hint, name
        assert error.hint.endswith("--name mine --replace"), name


@pytest.mark.parametrize("first", ["PK", "PAR1", "FEA1", "ARROW1", "ORCA", "MATLAB"])
def test_text_is_text_whatever_its_first_letters_and_its_name_are(first, tmp_path):
    rows = [[first, "b", "c"], *VALUES[:, :3, 0].tolist()]
    for name, mark in (("a.csv", ","), ("a.xls", "\t"), ("a.mat", " ")):
        (tmp_path / name).write_text("".join(mark.join(map(str, row)) + "\n" for row in rows))
        assert_holds(bring(tmp_path / name, tmp_path / "data").dataset, seeded(VALUES[:, :3, 0]))
    (tmp_path / "a.csv").write_text(f"{first} are the first letters of a text, and not a format\n" * 9)
    refuse(tmp_path / "a.csv", tmp_path / "data", "its format is not known", DataCorrupt)


def test_a_folder_of_zarr_and_a_dense_h5ad(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    assert "zarr.open" in refuse(tmp_path / "a.zarr", tmp_path / "data", "looks like Zarr", DataCorrupt).hint
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["X"] = VALUES.reshape(30, -1)
    assert_holds(bring(tmp_path / "a.h5ad", tmp_path / "data").dataset, seeded(VALUES))
