import math
from pathlib import Path

import pytest
import torch

from dregcli.errors import CheckpointCorrupt, RunNotFound, StoreFormatError, StoreWriteError
from dregcli.store import checkpoints, documents
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.store_faults import FailingFileSystem, Killed, KillingFileSystem, every, flip, temporaries
from tests.support.store_runs import claim, killed_run, save, tensors, train, train_steps

OLD_FILES = ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
FILES = [*OLD_FILES, "model.json", "data.safetensors"]


def file_of(run: Run, step: int, name: str = "model.safetensors") -> Path:
    return run.path / "checkpoints" / f"step-{step:08d}" / name


def assert_whole(run: Run, step: int) -> None:
    found = run.load_checkpoint(step)
    for name, tensor in tensors(step).items():
        assert torch.equal(found.model[name], tensor)
    assert found.state == {"step": step}


def test_tensors_and_state_come_back_exactly(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    flat = torch.randn(10, dtype=torch.float64)
    model = {
        "weight": torch.randn(3, 4).T,  # not contiguous
        "tied": flat[:5],
        "same": flat[:5],
        "bf16": torch.randn(2, 2).bfloat16(),
        "empty": torch.zeros(0, 3),
        "nan": torch.tensor(math.nan),
    }
    optimizer = {"step": torch.tensor(7.0), "count": torch.tensor([2**62])}
    state = {"lr": 0.1 + 0.2, "best": -math.inf, "nested": {"a": [1, None, True]}}
    about, data = {"model": "vae", "data": {"shape": [1, 2, 2]}}, {"mean": torch.rand(1, 2, 2)}
    writer.save_checkpoint(7, model=model, optimizer=optimizer, state=state, about=about, data=data, best=True)
    found = writer.run.load_checkpoint("last")
    assert (found.step, found.skipped, found.state, found.about) == (7, (), state, about)
    for given, read in ((model, found.model), (optimizer, found.optimizer), (data, found.data)):
        assert given.keys() == read.keys()
        for name, tensor in given.items():
            assert read[name].dtype == tensor.dtype
            assert torch.equal(read[name].nan_to_num(), tensor.nan_to_num())
    assert sorted(path.name for path in file_of(writer.run, 7).parent.iterdir()) == sorted(FILES)


def test_a_checkpoint_without_tensors_is_fine(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.save_checkpoint(0, model={}, optimizer={}, state={}, best=False)
    found = writer.run.load_checkpoint("last")
    assert (found.step, found.model, found.optimizer) == (0, {}, {})


def test_a_checkpoint_of_an_earlier_version_has_no_description_of_its_data(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    writer.save_checkpoint(3, model={}, optimizer={}, state={}, best=False)
    assert sorted(path.name for path in file_of(writer.run, 3).parent.iterdir()) == sorted(OLD_FILES)
    found = writer.run.load_checkpoint("last")
    assert (found.about, found.data) == ({}, {})


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    kept: list[list[int]] = []
    for step in (10, 20, 30, 40, 50, 60):
        save(writer, step, best=step in (20, 50))
        kept.append(writer.run.checkpoints())
    assert kept == [[10], [10, 20], [20, 30], [20, 30, 40], [40, 50], [50, 60]]
    assert writer.run.best() == 50
    assert writer.run.load_checkpoint("best").step == 50
    assert not temporaries(writer.run.path)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_byte_or_truncation_is_found_and_last_falls_back(tmp_path: Path, name: str) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    save(writer, 20)
    path = file_of(writer.run, 20, name)
    whole = path.read_bytes()

    def assert_found() -> None:
        with pytest.raises(CheckpointCorrupt) as caught:
            writer.run.load_checkpoint(20)
        assert caught.value.where == str(path)
        found = writer.run.load_checkpoint("last")
        assert found.step == 10
        assert len(found.skipped) == 1
        assert "step-00000020" in found.skipped[0]

    for position in range(0, len(whole), 5):
        flip(path, position)
        assert_found()
        path.write_bytes(whole)
    for content in (b"", whole[:-1], whole + b"x"):
        path.write_bytes(content)
        assert_found()
    path.unlink()
    assert_found()


def test_a_checkpoint_that_its_writer_removes_meanwhile_is_not_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one, of step 1, would be the next, with a warning about the last."""
    writer = claim(tmp_path)
    save(writer, 1, best=True)
    save(writer, 2)
    check = checkpoints.check_folder

    def checked(home: Path) -> dict[str, bytes]:
        monkeypatch.setattr(checkpoints, "check_folder", check)
        save(writer, 3)
        save(writer, 4)
        return check(home)

    monkeypatch.setattr(checkpoints, "check_folder", checked)
    found = writer.run.load_checkpoint("last")
    assert (found.step, found.skipped, writer.run.checkpoints()) == (4, (), [1, 3, 4])


def test_none_whole_and_none_at_all(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    with pytest.raises(RunNotFound, match="no checkpoint"):
        writer.run.load_checkpoint("last")
    with pytest.raises(RunNotFound, match="no checkpoint"):
        writer.run.load_checkpoint("best")
    save(writer, 10)
    save(writer, 20)
    with pytest.raises(RunNotFound, match="no checkpoint of step 15") as missing:
        writer.run.load_checkpoint(15)
    assert "10, 20" in str(missing.value.hint)
    with pytest.raises(RunNotFound, match="no best checkpoint"):
        writer.run.load_checkpoint("best")
    for step in (10, 20):
        flip(file_of(writer.run, step), 40)
    with pytest.raises(CheckpointCorrupt, match=r"step-00000020.*step-00000010"):
        writer.run.load_checkpoint("last")


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_corrupt_best_falls_back_and_is_never_removed(tmp_path: Path, name: str) -> None:
    writer = claim(tmp_path)
    save(writer, 10, best=True)
    save(writer, 20)
    flip(file_of(writer.run, 10, name), 50)
    found = writer.run.load_checkpoint("best")
    assert found.step == 20
    assert "step-00000010" in found.skipped[0]
    for step in (30, 40, 50):
        save(writer, step)
    assert writer.run.checkpoints() == [10, 40, 50]


def test_a_corrupt_best_falls_back_to_the_best_before(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10, best=True)
    save(writer, 20, best=True)
    flip(file_of(writer.run, 20), 50)
    assert writer.run.load_checkpoint("best").step == 10


def test_a_whole_checkpoint_of_the_same_step_is_left(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    save(writer, 20)
    before = file_of(writer.run, 20).stat()
    save(writer, 20)
    assert file_of(writer.run, 20).stat() == before
    assert writer.run.best() is None
    save(writer, 20, best=True)
    assert (file_of(writer.run, 20).stat(), writer.run.best()) == (before, 20)
    assert_whole(writer.run, 20)


def test_a_corrupt_checkpoint_of_the_same_step_is_put_aside_and_replaced(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    save(writer, 20)
    flip(file_of(writer.run, 20), 50)
    corrupt = file_of(writer.run, 20).read_bytes()
    save(writer, 20)
    assert_whole(writer.run, 20)
    (kept,) = writer.run.path.glob("rolled-back/*-corrupt/step-00000020/model.safetensors")
    assert kept.read_bytes() == corrupt


def test_a_renamed_checkpoint_is_found(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    file_of(writer.run, 10).parent.rename(file_of(writer.run, 90).parent)
    with pytest.raises(CheckpointCorrupt, match="manifest belongs to step 10"):
        writer.run.load_checkpoint(90)


def forge(run: Run, step: int, **changes: object) -> None:
    path = file_of(run, step, "manifest.json")
    path.write_bytes(documents.seal({**documents.unseal(path), **changes}))


def test_hostile_content_behind_right_digests_is_refused(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    path = file_of(writer.run, 10)
    files = documents.unseal(path.with_name("manifest.json"))["files"]
    # A pickle, which no reader may run.
    pickled = b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x06weight\x94K\x01s."
    for content in (pickled, b"", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        entry = {"size": len(content), "sha256": documents.sha256(content)}
        forge(writer.run, 10, files={**files, path.name: entry})
        with pytest.raises(CheckpointCorrupt) as caught:
            writer.run.load_checkpoint(10)
        assert caught.value.where == str(path)


@pytest.mark.parametrize("files", [{}, None, {"model.safetensors": {"size": "x", "sha256": ""}}])
def test_an_incomplete_manifest_is_refused(tmp_path: Path, files: object) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    forge(writer.run, 10, files=files)
    with pytest.raises(CheckpointCorrupt, match="incomplete"):
        writer.run.load_checkpoint(10)


def test_a_checkpoint_of_a_newer_version_is_refused_with_advice(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    save(writer, 10)
    forge(writer.run, 10, **{"encoding-version": "2"})
    for which in (10, "last"):
        with pytest.raises(StoreFormatError, match="knows checkpoint encoding-version 1"):
            writer.run.load_checkpoint(which)


def test_a_flush_goes_before_each_checkpoint(tmp_path: Path) -> None:
    writer = claim(tmp_path)
    train(writer, 1, 10)
    save(writer, 10)
    train(writer, 11, 12)
    assert train_steps(writer.run) == list(range(1, 11))


def test_a_fault_at_any_operation_of_a_checkpoint_keeps_the_earlier_ones_and_all_rows(tmp_path: Path) -> None:
    """One that passes; of a disk that stays full ``test_fault_matrix`` has the same."""

    def attempt(number: int) -> bool:
        fs = FailingFileSystem(0)
        writer = claim(tmp_path, fs=fs)
        train(writer, 1, 10)
        save(writer, 10, best=True)
        save(writer, 20)
        save(writer, 30)
        train(writer, 31, 40)
        fs.at = fs.count + number
        try:
            save(writer, 40)
        except StoreWriteError:
            run = Run(writer.run.path)
            assert set(run.checkpoints()) in ({10, 20, 30}, {10, 20, 30, 40}, {10, 30, 40})
            for step in run.checkpoints():
                assert_whole(run, step)
            assert run.best() == 10
            assert run.load_checkpoint("last").skipped == ()
            assert train_steps(run) in ([*range(1, 11)], [*range(1, 11), *range(31, 41)])
            fs.at = 0
            save(writer, 40)
            failed = True
        else:
            failed = False
        assert writer.run.checkpoints() == [10, 30, 40]
        assert_whole(writer.run, 40)
        assert train_steps(writer.run) == [*range(1, 11), *range(31, 41)]
        return failed

    assert every(60, attempt) > 20


def test_a_kill_at_any_operation_of_a_checkpoint_keeps_the_earlier_ones(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        fs = KillingFileSystem(10**6)
        writer = claim(tmp_path, fs=fs)
        save(writer, 10, best=True)
        save(writer, 20)
        train(writer, 21, 30)
        fs.at = fs.count + number
        try:
            save(writer, 30, best=True)
        except Killed:
            run = Run(writer.run.path)
            for step in run.checkpoints():
                assert_whole(run, step)
            assert {10, 20} <= set(run.checkpoints()) or {20, 30} <= set(run.checkpoints())
            assert run.best() in (10, 30)
            assert run.load_checkpoint("last").skipped == ()
            return True
        assert writer.run.checkpoints() == [20, 30]
        return False

    assert every(60, attempt) > 20


def test_resuming_past_a_corrupt_checkpoint_replaces_it_and_keeps_what_was(tmp_path: Path) -> None:
    run = killed_run(
        tmp_path,
        "import torch\n"
        "for step in (10, 20):\n"
        "    writer.append('train', {'step': step, 'bound': 1.0})\n"
        "    weight = {'weight': torch.full((3, 2), float(step)), 'count': torch.tensor(step)}\n"
        "    writer.save_checkpoint(step, model=weight, optimizer={}, state={'step': step}, best=False)\n",
    )
    flip(file_of(run, 20), 60)
    writer = RunStore(tmp_path).reopen(run)
    found = run.load_checkpoint("last")
    assert (found.step, len(found.skipped)) == (10, 1)
    writer.roll_back(found.step)
    assert (run.checkpoints(), train_steps(run)) == ([10], [10])
    train(writer, 20, 20)
    save(writer, 20)
    assert_whole(run, 20)
    assert train_steps(run) == [10, 20]
