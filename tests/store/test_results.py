from pathlib import Path

import numpy as np
import pytest

from dregcli.errors import StoreCorrupt, StoreWriteError
from tests.support.store_faults import FailingFileSystem, every, flip, temporaries
from tests.support.store_runs import claim

VALUES = {"bound": np.array([0.1, np.nan]), "curve": np.arange(6.0).reshape(2, 3)}


def test_results_are_never_overwritten_and_come_back(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    paths = [
        run.add_result("evals", "test-k500", arrays=VALUES, attrs={"n": n, "x": float("nan")}) for n in (1, 2, 3)
    ]
    assert [path.name for path in paths] == ["test-k500.h5", "test-k500-2.h5", "test-k500-3.h5"]
    found = run.results("evals")
    assert [result.path for result in found] == paths
    assert [result.attrs["n"] for result in found] == [1, 2, 3]
    assert np.isnan(found[0].attrs["x"])
    arrays = found[0].arrays()
    assert arrays.keys() == VALUES.keys()
    for name, array in VALUES.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert run.results("bias") == []


def test_an_altered_result_is_found_and_named(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    path = run.add_result("bias", "k64", arrays=VALUES, attrs={})
    (result,) = run.results("bias")
    whole = path.read_bytes()
    for position in range(0, len(whole), 101):
        flip(path, position)
        for read in (lambda: run.results("bias"), result.arrays):
            with pytest.raises(StoreCorrupt) as caught:
                read()
            assert caught.value.where == str(path)
        path.write_bytes(whole)
    path.write_bytes(whole[:-1])
    with pytest.raises(StoreCorrupt):
        run.results("bias")


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    first = run.add_file("figures", "curve", ".png", b"first")
    second = run.add_file("figures", "curve", ".png", b"second")
    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
    assert second == run.path / "figures" / "curve-2.png"


@pytest.mark.parametrize(
    ("folder", "stem", "suffix"),
    [
        ("../x", "a", ".png"),
        ("checkpoints", "a", ".png"),
        ("parts", "a", ".h5"),
        ("figures", "../a", ".png"),
        ("figures", "", ".png"),
        ("figures", ".a", ".png"),
        ("figures", "a", "/../b"),
        ("figures", "a" * 121, ".png"),
    ],
)
def test_files_cannot_leave_their_folder(tmp_path: Path, folder: str, stem: str, suffix: str) -> None:
    run = claim(tmp_path).run
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="cannot be"):
        run.add_file(folder, stem, suffix, b"x")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_at_any_operation_leaves_no_torn_result(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        fs = FailingFileSystem(0)
        run = claim(tmp_path, fs=fs).run
        run.add_result("evals", "test", arrays=VALUES, attrs={"n": 1})
        fs.at, fs.lasting = fs.count + number, True
        try:
            run.add_result("evals", "test", arrays=VALUES, attrs={"n": 2})
        except StoreWriteError:
            assert [result.attrs["n"] for result in run.results("evals")] in ([1], [1, 2])
            # An empty temporary that could not even be created whole may keep its name; nothing reads it.
            assert all(path.name == ".test-2.h5.tmp" for path in temporaries(run.path))
            fs.at, fs.lasting = 0, False
            run.add_result("evals", "test", arrays=VALUES, attrs={"n": 3})
            return True
        return False

    assert every(20, attempt) == 5
