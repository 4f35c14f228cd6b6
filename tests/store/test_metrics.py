import errno
import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from dregcli.errors import StoreCorrupt, StoreWriteError
from dregcli.filesystem import LOCAL, FileSystem
from dregcli.names import RunStatus
from dregcli.store import metrics
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.store_faults import FailingFileSystem, Killed, KillingFileSystem, every, flip, temporaries
from tests.support.store_runs import claim, save, train, train_steps


def completed(root: Path, *flushes: tuple[int, int], fs: FileSystem | None = None) -> Run:
    writer = claim(root, fs=fs)
    for first, last in flushes:
        train(writer, first, last)
        writer.flush()
    writer.finish(RunStatus.COMPLETED, {"step": flushes[-1][1]})
    return writer.run


def test_rows_come_back_by_split_and_step_with_nan_where_they_had_no_value(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.append("train", {"step": 2, "bound": 0.1, "ess": 3})
    writer.flush()
    writer.append("train", {"step": 1, "bound": float("inf")})
    writer.append("train", {"step": 3, "loss": -0.0})
    writer.append("valid", {"step": 2, "bound": -1e-320})
    writer.flush()
    run = writer.run
    assert sorted(run.all_metrics()) == ["train", "valid"]
    found = run.metrics("train")
    assert found["step"].dtype == np.int64
    assert found["step"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found["bound"], np.array([np.inf, 0.1, np.nan]), strict=True)
    np.testing.assert_array_equal(found["ess"], [np.nan, 3, np.nan])
    assert np.signbit(found["loss"][2])
    assert run.metrics("valid")["bound"][0] == -1e-320
    assert run.metrics("test") == {}
    writer.finish(RunStatus.COMPLETED, {})
    after = run.metrics("train")
    assert after.keys() == found.keys()
    assert all(np.array_equal(after[name], found[name], equal_nan=True) for name in found)


def test_the_merged_file_is_plain_hdf5_with_units(tmp_path: Path) -> None:
    run = completed(tmp_path, (1, 4), (5, 9))
    assert not list((run.path / "parts").iterdir())
    with h5py.File(run.path / "metrics.h5") as file:
        assert file.attrs["encoding-type"] == "metrics"
        assert file.attrs["encoding-version"] == "1"
        assert file["train/bound"].attrs["units"] == "nats per example"
        assert file["train/step"][-1] == 9
    assert json.loads((run.path / "run.json").read_text())["summary"] == {"step": 9}


def test_a_flush_without_rows_writes_no_part(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.flush()
    assert metrics.part_names(writer.run.path) == []
    writer.finish(RunStatus.COMPLETED, {})
    assert writer.run.all_metrics() == {}


@pytest.mark.parametrize("row", [{}, {"bound": 1.0}, {"step": 1.5}, {"step": 1, "a/b": 1.0}, {"step": 1, "": 1.0}])
def test_rows_that_cannot_be_kept_are_refused(tmp_path: Path, row: dict[str, float]) -> None:
    writer = claim(tmp_path)
    with pytest.raises(ValueError, match=r"step|name"):
        writer.append("train", row)
    writer.flush()
    assert writer.run.all_metrics() == {}


@pytest.mark.parametrize("merged", [False, True])
def test_altered_metrics_are_found_and_named(tmp_path: Path, merged: bool) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 5)
    writer.finish(RunStatus.COMPLETED if merged else RunStatus.INTERRUPTED, {})
    run = writer.run
    path = run.path / "metrics.h5" if merged else run.path / "parts" / "0001-000001.h5"
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        flip(path, position)
        with pytest.raises(StoreCorrupt) as caught:
            run.metrics("train")
        assert caught.value.where == str(path)
        path.write_bytes(whole)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreCorrupt, match="digest"):
        run.all_metrics()
    path.write_bytes(whole)
    assert train_steps(run) == [1, 2, 3, 4, 5]


def test_a_corrupt_part_stops_the_merge_and_nothing_is_removed(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    for first in (1, 3):
        train(writer, first, first + 1)
        writer.flush()
    flip(writer.run.path / "parts" / "0001-000001.h5", 700)
    with pytest.raises(StoreCorrupt, match="digest"):
        writer.finish(RunStatus.COMPLETED, {})
    assert len(metrics.part_names(writer.run.path)) == 2
    assert writer.run.status() is RunStatus.RUNNING


def test_metrics_of_a_resumed_run_join_those_before(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 2)
    writer.finish(RunStatus.INTERRUPTED, {})
    again = RunStore(tmp_path).reopen(writer.run)
    train(again, 3, 4)
    again.finish(RunStatus.FAILED, {})
    assert train_steps(writer.run) == [1, 2, 3, 4]
    assert metrics.part_names(writer.run.path) == ["0001-000001.h5", "0002-000001.h5"]


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_fault_at_any_operation_of_a_flush_keeps_every_row_once(tmp_path: Path, error: int, lasting: bool) -> None:
    def attempt(number: int) -> bool:
        fs = FailingFileSystem(0, error)
        writer = claim(tmp_path, fs=fs)
        train(writer, 1, 3)
        writer.flush()
        train(writer, 4, 6)
        fs.at, fs.lasting = fs.count + number, lasting
        try:
            writer.flush()
        except StoreWriteError:
            assert train_steps(writer.run) in ([1, 2, 3], [1, 2, 3, 4, 5, 6])
            assert writer.run.status() is RunStatus.RUNNING
            assert not temporaries(writer.run.path)
            fs.at, fs.lasting = 0, False  # there is space again
            train(writer, 7, 7)
            writer.flush()
            assert train_steps(writer.run) == [1, 2, 3, 4, 5, 6, 7]
            return True
        assert train_steps(writer.run) == [1, 2, 3, 4, 5, 6]
        return False

    assert every(20, attempt) == 8


def test_a_full_disk_at_any_operation_of_finish_keeps_every_row_once(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        fs = FailingFileSystem(0)
        writer = claim(tmp_path, fs=fs)
        train(writer, 1, 3)
        writer.flush()
        train(writer, 4, 6)
        fs.at, fs.lasting = fs.count + number, True
        try:
            writer.finish(RunStatus.COMPLETED, {"step": 6})
        except StoreWriteError:
            steps = train_steps(writer.run)
            assert steps[:3] == [1, 2, 3]
            assert steps[3:] in ([], [4, 5, 6])
            fs.at, fs.lasting = 0, False
            writer.finish(RunStatus.COMPLETED, {"step": 6})
            failed = True
        else:
            failed = False
        assert train_steps(writer.run) == [1, 2, 3, 4, 5, 6]
        assert writer.run.status() is RunStatus.COMPLETED
        assert metrics.part_names(writer.run.path) == []
        return failed

    assert every(40, attempt) > 15


def test_a_kill_at_any_operation_of_finish_keeps_every_flushed_row_once(tmp_path: Path) -> None:
    seen: set[tuple[bool, int]] = set()

    def attempt(number: int) -> bool:
        fs = KillingFileSystem(10**6)
        writer = claim(tmp_path, fs=fs)
        for first in (1, 3, 5):
            train(writer, first, first + 1)
            writer.flush()
        fs.at = fs.count + number
        try:
            writer.finish(RunStatus.COMPLETED, {})
        except Killed:
            path = writer.run.path
            seen.add(((path / "metrics.h5").exists(), len(metrics.part_names(path))))
            reader = Run(path)
            assert train_steps(reader) == [1, 2, 3, 4, 5, 6]
            metrics.merge(LOCAL, path)  # what the next finish does
            assert train_steps(reader) == [1, 2, 3, 4, 5, 6]
            assert metrics.part_names(path) == []
            return True
        return False

    assert every(60, attempt) > 12
    assert {(False, 3), (True, 3), (True, 2), (True, 1), (True, 0)} <= seen


def test_a_reader_beside_a_writer_sees_every_flushed_row_once(tmp_path: Path) -> None:
    fs = FailingFileSystem(0)
    writer = claim(tmp_path, fs=fs)
    flushed = [0]
    faults: list[list[int]] = []
    done = threading.Event()

    def look() -> None:
        reader = Run(writer.run.path)
        while not done.is_set():
            least = flushed[0]
            steps = train_steps(reader)
            if steps != list(range(1, len(steps) + 1)) or len(steps) < least:
                faults.append(steps)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for step in range(1, 61):
            train(writer, step, step)
            writer.flush()
            flushed[0] = step
            if step % 5 == 0:
                metrics.merge(fs, writer.run.path)
    finally:
        done.set()
        thread.join()
    assert not faults
    assert train_steps(writer.run) == list(range(1, 61))


def test_rolled_back_parts_are_kept_aside(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    for first in (1, 4):
        train(writer, first, first + 2)
        save(writer, first + 2)
    train(writer, 7, 8)
    writer.flush()
    part = writer.run.path / "parts" / "0001-000003.h5"
    content = part.read_bytes()
    aside = writer.roll_back(6)
    assert aside is not None
    assert aside.parent == writer.run.path / "rolled-back"
    assert (aside / part.name).read_bytes() == content
    assert train_steps(writer.run) == [1, 2, 3, 4, 5, 6]
    assert writer.run.checkpoints() == [3, 6]
    assert writer.roll_back(6) is None

    further = writer.roll_back(3)
    assert further is not None
    assert further != aside
    assert (further / "step-00000006" / "model.safetensors").exists()
    assert (train_steps(writer.run), writer.run.checkpoints()) == ([1, 2, 3], [3])
    train(writer, 4, 5)
    writer.finish(RunStatus.COMPLETED, {})
    assert train_steps(writer.run) == [1, 2, 3, 4, 5]
    assert (aside / part.name).read_bytes() == content


def test_a_kill_at_any_operation_of_a_roll_back_is_made_good_by_the_next(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        fs = KillingFileSystem(10**6)
        run = completed(tmp_path, (1, 6), fs=fs)  # metrics.h5 itself reaches past the step
        writer = RunStore(tmp_path, fs).reopen(run, spec={"steps": 12})
        for first, last in ((7, 8), (3, 9), (10, 11)):  # one part straddles the step
            train(writer, first, last)
            writer.flush()
        before = train_steps(run)
        fs.at = fs.count + number
        try:
            writer.roll_back(4)
        except Killed:
            assert train_steps(run)[:4] == [1, 2, 3, 3]
            fs.at = 10**6
            writer.roll_back(4)
            killed = True
        else:
            killed = False
        assert train_steps(run) == [1, 2, 3, 3, 4, 4]
        kept: list[int] = []
        for path in {path.name: path for path in sorted(run.path.glob("rolled-back/*-to-*/*.h5"))}.values():
            kept += metrics.load(path)["train"]["step"].tolist()
        assert sorted(step for step in kept if step > 4) == [step for step in before if step > 4]
        return killed

    assert every(100, attempt) > 20


def test_parts_have_the_order_in_which_they_were_written_whatever_their_digits() -> None:
    names = ["", "0001-000002.h5", "0001-999999.h5", "0001-1000000.h5", "9999-000001.h5", "10000-000001.h5"]
    assert sorted(reversed(names), key=metrics.order) == names
    assert sorted(names) != names
