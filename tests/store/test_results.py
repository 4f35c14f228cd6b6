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


def test_a_partial_is_replaced_read_back_and_forgotten(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    assert run.partial("bias", "abc") is None
    for n in (1, 2):
        run.put_partial("bias", "abc", arrays={"0/loc": VALUES["curve"] * n}, attrs={"n": n, "x": float("nan")})
    run.put_partial("bias", "other", arrays={}, attrs={})
    found = run.partial("bias", "abc")
    assert found is not None
    assert found.attrs["n"] == 2
    assert np.isnan(found.attrs["x"])
    np.testing.assert_array_equal(found.arrays["0/loc"], VALUES["curve"] * 2, strict=True)
    run.drop_partial("bias", "abc")
    assert run.partial("bias", "abc") is None
    assert run.partial("bias", "other") is not None
    run.drop_partial("bias", "abc")  # what is gone is gone
    assert temporaries(run.path) == []


def test_a_partial_is_no_result(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    run.put_partial("bias", "k64", arrays=VALUES, attrs={})
    assert run.results("bias") == []
    path = run.add_result("bias", "k64", arrays=VALUES, attrs={})
    assert path.name == "k64.h5"
    assert [result.path for result in run.results("bias")] == [path]
    assert run.partial("evals", "k64") is None


def test_an_altered_partial_is_found_and_named(tmp_path: Path) -> None:
    run = claim(tmp_path).run
    run.put_partial("bias", "k64", arrays=VALUES, attrs={})
    path = run.path / "bias" / "k64.partial"
    flip(path, 700)
    with pytest.raises(StoreCorrupt) as caught:
        run.partial("bias", "k64")
    assert caught.value.where == str(path)


@pytest.mark.parametrize("key", ["../a", "", ".a", "a/b", "a" * 121])
def test_partials_cannot_leave_their_folder(tmp_path: Path, key: str) -> None:
    run = claim(tmp_path).run
    before = sorted(tmp_path.rglob("*"))
    for attempt in (
        lambda: run.put_partial("bias", key, arrays={}, attrs={}),
        lambda: run.partial("bias", key),
        lambda: run.drop_partial("bias", key),
    ):
        with pytest.raises(ValueError, match="cannot be"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before


def test_another_process_may_forget_a_partial_first(tmp_path: Path) -> None:
    class Raced(FailingFileSystem):
        def remove(self, path: Path) -> None:
            path.unlink()
            super().remove(path)

    run = claim(tmp_path, fs=Raced(0)).run
    run.put_partial("bias", "k64", arrays=VALUES, attrs={})
    run.drop_partial("bias", "k64")
    assert run.partial("bias", "k64") is None


def test_a_full_disk_at_any_operation_keeps_the_partial_before(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        fs = FailingFileSystem(0)
        run = claim(tmp_path, fs=fs).run
        run.put_partial("bias", "k64", arrays=VALUES, attrs={"n": 1})
        fs.at, fs.lasting = fs.count + number, True
        try:
            run.put_partial("bias", "k64", arrays=VALUES, attrs={"n": 2})
        except StoreWriteError:
            found = run.partial("bias", "k64")
            assert found is not None
            assert found.attrs["n"] in (1, 2)
            assert temporaries(run.path) == []
            return True
        return False

    assert every(20, attempt) == 4
