"""Training as a use case: nothing already written is lost, whatever the disk does."""

import errno
import math
import sys
from pathlib import Path

import pytest
import torch

from dregcli.app.loading.named import find_run_to_resume
from dregcli.app.planning.plan import resolve_plan
from dregcli.app.training import train
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.training import Trainer
from dregcli.errors import Diverged, DregError, StoreWriteError
from dregcli.names import RunStatus
from dregcli.specs.resolve import merge_options
from dregcli.store import checkpoints
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter
from tests.store.test_fault_matrix import bury
from tests.support.data_few import few_digits
from tests.support.listener import Recorder
from tests.support.store_faults import CountingFileSystem, FailingFileSystem, Killed

SMALL = {
    "k": 2,
    "steps": 6,
    "hidden": (6,),
    "latent_dim": 2,
    "log_every": 2,
    "eval_every": 3,
    "checkpoint_every": 2,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def _plan(**changes: object):
    options, faults = merge_options({**SMALL, **changes}, {}, None)
    return resolve_plan(options, Path("unused"), faults)


def _train(store: RunStore, **changes: object) -> train.TrainResult:
    return train.start(_plan(**changes), name="run", store=store, argv=["dreg"], listener=Recorder())


def test_a_disk_that_fills_at_any_moment_loses_nothing(tmp_path) -> None:
    counting = CountingFileSystem()
    whole = _train(RunStore(tmp_path / "whole", counting)).run
    expected = whole.load_checkpoint("last")
    rows = whole.metrics("train")
    assert counting.count > 60
    resumed = 0
    for at in range(2, counting.count, 9):
        root = tmp_path / str(at)
        lasting = at % 2 == 0
        with pytest.raises(StoreWriteError, match="No space left"):
            _train(RunStore(root, FailingFileSystem(at, errno.ENOSPC, lasting=lasting)))
        store = RunStore(root)
        runs = store.runs()  # readable, whatever was being written
        if not runs or not runs[0].info().started:
            continue
        (run,) = runs
        # Where not even the failure could be recorded, this process is alive and on record as the writer.
        assert run.status() is (RunStatus.CRASHED if lasting else RunStatus.FAILED)
        for step in run.checkpoints():
            run.load_checkpoint(step)  # every checkpoint listed is whole
        plan = resume_plan(run, {}, Path("unused"))
        again = train.resume(run, plan, store=store, argv=["dreg"], listener=Recorder()).run.load_checkpoint("last")
        assert again.step == expected.step
        assert all(torch.equal(again.model[name], expected.model[name]) for name in expected.model)
        assert run.metrics("train")["bound"].tolist() == rows["bound"].tolist()
        resumed += 1
    assert resumed >= 6


def test_a_resumed_run_continues_inside_a_window_of_metrics(tmp_path) -> None:
    """Checkpoints every 2 steps, a row every 5: the window's sums are in the checkpoint."""
    whole = _train(RunStore(tmp_path / "a"), steps=20, log_every=5).run
    cut_store = RunStore(tmp_path / "b", FailingFileSystem(150, errno.EIO, lasting=False))
    with pytest.raises(DregError):
        _train(cut_store, steps=20, log_every=5)
    store = RunStore(tmp_path / "b")
    run = find_run_to_resume(store, "run", Recorder())
    step = run.load_checkpoint("last").step
    assert 0 < step < 20
    train.resume(run, resume_plan(run, {}, Path("unused")), store=store, argv=["dreg"], listener=Recorder())
    for split in ("train", "valid"):
        expected, found = whole.metrics(split), run.metrics(split)
        assert found.keys() == expected.keys()
        for column in set(found) - {"seconds"}:
            assert found[column].tolist() == expected[column].tolist(), (split, column)
    summary = run.info().summary
    assert summary["steps_per_second"] == pytest.approx(20 / summary["seconds"]), "all steps over all seconds"


def test_best_and_last_checkpoints_are_kept(tmp_path) -> None:
    run = _train(RunStore(tmp_path), steps=40, eval_every=5, checkpoint_every=4).run
    valid = run.metrics("valid")
    best = int(valid["step"][valid["bound"].argmax()])
    assert run.best() == best
    assert run.load_checkpoint("best").step == best
    assert run.load_checkpoint("last").step == 40
    assert len(run.checkpoints()) <= 3


def test_a_kill_after_the_last_checkpoint_leaves_no_checkpoint_too_many(tmp_path, monkeypatch) -> None:
    """Between the last checkpoint and the removal of older ones: what is resumed has nothing to train."""
    whole = _train(RunStore(tmp_path / "whole")).run
    thin_out = checkpoints._thin_out

    def dies(fs, folder, newest: int, keep_last: int) -> None:
        if newest == 6:
            raise Killed
        thin_out(fs, folder, newest, keep_last)

    store = RunStore(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_thin_out", dies)
        with pytest.raises(Killed):
            _train(store)
    (run,) = store.runs()
    assert len(run.checkpoints()) > len(whole.checkpoints())
    bury(run)
    train.resume(run, resume_plan(run, {}, Path("unused")), store=store, argv=["dreg"], listener=Recorder())
    assert run.checkpoints() == whole.checkpoints()
    assert run.best() == whole.best()
    assert run.status() is RunStatus.COMPLETED


def test_a_name_means_its_newest_unfinished_version(tmp_path) -> None:
    store = RunStore(tmp_path)
    first = _train(store).run
    assert find_run_to_resume(store, "run", Recorder()).label == first.label
    with pytest.raises(StoreWriteError):
        _train(RunStore(tmp_path, FailingFileSystem(40, errno.EIO)))
    _train(store)
    assert find_run_to_resume(store, "run", Recorder()).label == "run/v002"


def test_progress_has_a_bound_and_ends(tmp_path) -> None:
    recorder = Recorder()
    train.start(_plan(), name="x", store=RunStore(tmp_path), argv=["dreg"], listener=recorder)
    assert recorder.begun[0] == ("train", 6, "steps", 0)
    assert recorder.open_tasks == 0
    assert {"bound", "steps/s"} <= set(recorder.updates[0][1])


def test_a_resumed_run_may_keep_more_of_the_source(tmp_path) -> None:
    store = RunStore(tmp_path)
    run = _train(store, capture="none").run
    plan = resume_plan(run, {"steps": 8, "capture": "source"}, Path("unused"))
    train.resume(run, plan, store=store, argv=["dreg"], listener=Recorder())
    assert run.spec()["capture"] == "source"
    assert run.resumed_environments()[2]["capture"] == "source"


def test_threads_are_kept_and_used_again(tmp_path, monkeypatch) -> None:
    used: list[int] = []
    advance = Trainer.advance

    def seen(trainer: Trainer) -> None:
        used.append(torch.get_num_threads())
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", seen)
    store, outside = RunStore(tmp_path), torch.get_num_threads()
    run = _train(store, threads=outside + 1).run
    assert (run.spec()["threads"], run.environment()["threads"]) == (outside + 1, outside + 1)
    recorder = Recorder()

    def resumed(**flags: object) -> None:
        plan = resume_plan(run, flags, Path("unused"))
        train.resume(run, plan, store=store, argv=["dreg"], listener=recorder)

    resumed(steps=8)
    assert set(used) == {outside + 1}
    assert recorder.warnings == []
    resumed(steps=9, threads=outside + 2)
    assert used[-1] == run.spec()["threads"] == outside + 2
    assert recorder.warnings == [
        "--threads changed: the run continues with equal numbers up to rounding, not bit for bit.",
    ]
    assert torch.get_num_threads() == outside
    assert _plan().spec.threads == outside, "by itself what torch has here"


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_a_run_that_diverges_leaves_is_good(tmp_path, monkeypatch, poison) -> None:
    """The parameters break in step 4, whose checkpoint must not be written: step 2's is the last, and it is good."""
    advance = Trainer.advance

    def breaks(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == 4:
            with torch.no_grad():
                trainer.model.decoder[0].weight[0, 0] = poison

    monkeypatch.setattr(Trainer, "advance", breaks)
    with pytest.raises(Diverged, match="not finite") as caught:
        _train(RunStore(tmp_path), eval_every=0)
    assert "the last checkpoint before it is step 2" in str(caught.value.where)
    (run,) = RunStore(tmp_path).runs()
    assert run.status() is RunStatus.FAILED
    assert run.checkpoints() == [2]
    kept = run.load_checkpoint("last")
    assert all(torch.isfinite(tensor).all() for tensor in (*kept.model.values(), *kept.optimizer.values()))


@pytest.mark.parametrize("refused", ["add_failure", "log"])
def test_a_failure_of_which_the_disk_refuses_a_part_is_one_all_the_same(tmp_path, monkeypatch, refused: str) -> None:
    def refuse(*_: object) -> None:
        what = "No space left"
        raise StoreWriteError(what)

    def out(_: Trainer) -> None:
        monkeypatch.setattr(RunWriter, refused, refuse)
        raise MemoryError

    monkeypatch.setattr(Trainer, "advance", out)
    with pytest.raises(DregError, match="memory"):
        _train(RunStore(tmp_path))
    (run,) = RunStore(tmp_path).runs()
    assert run.status() is RunStatus.FAILED
    assert [each["kind"] for each in run.info().failures] == ([] if refused == "add_failure" else ["MemoryError"])


def test_a_name_skips_versions_that_nobody_can_resume(tmp_path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(StoreWriteError):
        _train(RunStore(tmp_path, FailingFileSystem(40, errno.EIO)))
    (tmp_path / "run" / "v002").mkdir()  # killed while it was claimed
    store.claim("run", spec=store.runs()[0].spec(), environment={})  # alive: this process holds it
    assert find_run_to_resume(store, "run", Recorder()).label == "run/v001"


def test_every_result_states_the_binarisation(tmp_path) -> None:
    result = _train(RunStore(tmp_path))
    assert result.summary["binarisation"] == "dynamic"
    assert result.run.info().summary["binarisation"] == "dynamic"


@pytest.mark.parametrize("backward", ["dense", "screened"])
def test_a_training_needs_neither_sympy_nor_scipy(backward: str, tmp_path: Path, monkeypatch) -> None:
    """Each takes a part of a second, of the four that a short run takes. To import what stands as None fails."""
    for module in ("torch.fx.experimental.symbolic_shapes", "scipy.special"):
        monkeypatch.setitem(sys.modules, module, None)
    _train(RunStore(tmp_path), backward=backward)
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(ImportError):
        torch.autograd.grad(leaf * 2, leaf, torch.ones(2))
