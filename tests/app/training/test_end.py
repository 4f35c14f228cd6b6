"""``--resume RUN --end``: a run becomes the completed run of the steps that it has."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dregcli.app.planning.plan import resolve_plan
from dregcli.app.runs.replay import Replay, replay
from dregcli.app.studies.launch import TrainRequest, launch, print_config
from dregcli.app.training import train
from dregcli.app.training.evaluations import Evaluations
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.models.base import Model
from dregcli.engine.training import Trainer
from dregcli.errors import DregError, Interrupted, RunStateError, UsageError
from dregcli.names import RunStatus
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import RunSpec, group_hash
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.listener import Recorder
from tests.support.quick_training import each_step, interrupted, quick_training

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 20,
    "hidden": (6,),
    "latent_dim": 2,
    "log_every": 4,
    "eval_every": 5,
    "checkpoint_every": 6,
    "backward": "dense",
    "device": "cpu",
    "track_estimators": "stl",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def _train(store: RunStore, **flags: Any) -> Run:
    options, faults = merge_options({**SMALL, **flags}, {}, None)
    plan = resolve_plan(options, NOWHERE, faults)
    return train.start(plan, name="run", store=store, argv=["dreg"], listener=Recorder()).run


def _stopped(store: RunStore, monkeypatch: pytest.MonkeyPatch, step: int, **flags: Any) -> Run:
    return interrupted(store, monkeypatch, step, lambda: _train(store, **flags))


def _asked(store: RunStore, *, end: bool = True, listener: Recorder | None = None, **options: Any) -> Any:
    request = TrainRequest(options, resume="run", end=end)
    return launch(
        request, runs_dir=store.root, data_dir=NOWHERE, argv=["dreg", "train"], listener=listener or Recorder()
    )


@pytest.mark.parametrize("step", [7, 8, 10, 12])
def test_it_equals_a_run_that_was_started_with_so_many_steps(tmp_path, monkeypatch, step) -> None:
    """Between rows, at a row, at a validation, and at a checkpoint."""
    short = _train(RunStore(tmp_path / "short"), steps=step)
    store = RunStore(tmp_path / "long")
    run = _stopped(store, monkeypatch, step)
    assert run.spec()["steps"] == 20
    listener = Recorder()
    result = _asked(store, listener=listener)
    assert run.status() is RunStatus.COMPLETED
    assert run.spec() == short.spec(), "so that no report takes it for a run of 20 steps"
    # The checkpoint from before the end stays as it is, with its window: a prolonged run continues as if never ended.
    assert set(differences(short, run)) <= {"state", "optimizer: other tensors"}
    whole = short.info().summary
    assert {key: result.summary[key] for key in ("status", "step", "bound", "bounds", "best")} == {
        key: whole[key] for key in ("status", "step", "bound", "bounds", "best")
    }
    assert run.best() == short.best()
    assert f"{run.path}: ended at step {step} of 20" in listener.notes
    assert f"ended at step {step} of 20: dreg train" in (run.path / "log.txt").read_text()
    assert any((run.path / "rolled-back").glob("*-spec/spec.json")), "the settings from before are kept"
    assert listener.open_tasks == 0


def test_its_group_is_that_of_its_own_steps(tmp_path, monkeypatch) -> None:
    whole = _train(RunStore(tmp_path / "whole"))
    store = RunStore(tmp_path / "ended")
    run = _stopped(store, monkeypatch, 7)
    assert group_hash(run.spec()) == group_hash(whole.spec())
    _asked(store)
    assert group_hash(run.spec()) != group_hash(whole.spec())


def _replayed(store: RunStore) -> Replay:
    return replay("run", 20, runs_dir=store.root, data_dir=NOWHERE, listener=Recorder())


def test_it_can_be_prolonged_to_what_was_planned(tmp_path, monkeypatch) -> None:
    whole = _train(RunStore(tmp_path / "whole"))
    store = RunStore(tmp_path / "ended")
    run = _stopped(store, monkeypatch, 7)
    _asked(store)
    _asked(store, end=False, steps=20)
    first, second = (each.load_checkpoint("last").model for each in (whole, run))
    assert all(torch.equal(first[name], second[name]) for name in first)
    valid = run.metrics("valid")
    assert valid["step"].tolist() == [5, 7, 10, 15, 20]
    rows, expected = run.metrics("train"), whole.metrics("train")
    assert rows["step"].tolist() == [4, 7, 8, 12, 16, 20]
    for column in set(expected) - {"seconds"}:
        assert [*rows[column][:1], *rows[column][2:]] == expected[column].tolist(), column
    assert run.best() == valid["step"][valid["bound"].argmax()]
    assert run.info().summary["bound"] == whole.info().summary["bound"]
    again = _replayed(store)
    assert (again.rows, again.differences) == ({"train": 6, "valid": 5}, [])

    def other(_: RunSpec, trainer: Trainer) -> None:
        if trainer.step == 7:
            trainer.model.decoder[0].weight.data *= 1.001

    each_step(monkeypatch, other)
    assert {each.step for each in _replayed(store).differences if each.split == "train"} == {8, 12, 16, 20}


def test_the_best_checkpoint_counts_the_validation_at_the_end(tmp_path, monkeypatch) -> None:
    """After the end at step 7 the model gets worse: the best stays step 7, though no later state knows of it."""
    store = RunStore(tmp_path)
    run = _stopped(store, monkeypatch, 7, eval_every=0)
    _asked(store)
    assert run.best() == 7

    def spoil(_: RunSpec, trainer: Trainer) -> None:
        with torch.no_grad():
            trainer.model.decoder[0].weight += 1.0

    with monkeypatch.context() as patch:
        each_step(patch, spoil)
        _asked(store, end=False, steps=9)
    assert run.best() == 7
    assert run.info().summary["best"]["step"] == 7


def test_a_signal_during_its_final_bounds_adds_no_second_row(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    run = _stopped(store, monkeypatch, 7)

    def signalled(_: Evaluations, __: Model, between: Callable[[], None], **___: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        between()

    with monkeypatch.context() as patch:
        patch.setattr(Evaluations, "final", signalled)
        with pytest.raises(Interrupted):
            _asked(store)
    _asked(store, end=False)
    assert (run.status(), run.metrics("train")["step"].tolist()) == (RunStatus.COMPLETED, [4, 7])


def test_its_end_may_be_short(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    run = _stopped(store, monkeypatch, 7)
    result = _asked(store, final_eval="test")
    assert run.status() is RunStatus.COMPLETED
    assert list(result.summary["bound"]) == ["test"]


def test_what_cannot_end(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "warm_up", lambda self: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(DregError, match="memory"):
            _train(store)
    (run,) = store.runs()
    with pytest.raises(RunStateError, match="no checkpoint yet"):
        _asked(store)
    assert run.status() is RunStatus.FAILED, "nothing was changed"
    _asked(store, end=False)
    assert run.status() is RunStatus.COMPLETED
    with pytest.raises(RunStateError, match="The run is completed"):
        _asked(store)


def test_what_contradicts_it(tmp_path) -> None:
    places: Any = {"data_dir": NOWHERE, "listener": Recorder()}
    for call in (
        lambda: launch(TrainRequest({}, end=True), runs_dir=tmp_path, argv=[], **places),
        lambda: print_config(TrainRequest({}, end=True), **places),
    ):
        with pytest.raises(UsageError, match="--end needs --resume"):
            call()
    with pytest.raises(UsageError, match="--steps cannot be given with --end"):
        launch(TrainRequest({"steps": 9}, resume="run", end=True), runs_dir=tmp_path, argv=[], **places)


def test_a_run_that_is_being_written_is_left_alone(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    run = _stopped(store, monkeypatch, 7)
    store.reopen(run)
    with pytest.raises(RunStateError, match="being written"):
        train.resume(run, resume_plan(run, {}, NOWHERE), store=store, argv=["dreg"], listener=Recorder(), end=True)
    assert run.spec()["steps"] == 20


def test_what_another_process_did_after_this_one_looked_is_not_rolled_back(tmp_path, monkeypatch) -> None:
    """It continues the run while this one builds the model: to the end, to a later checkpoint, or to nothing new."""
    build = train.built
    for steps, other in {"whole": 20, "part": 12, "nothing": 7}.items():
        store = RunStore(tmp_path / steps)
        run = _stopped(store, monkeypatch, 7)

        def slow(*arguments: Any, run: Run = run, store: RunStore = store, step: int = other) -> Any:
            monkeypatch.setattr(train, "built", build)
            if step == 7:
                store.reopen(run).finish(RunStatus.INTERRUPTED, {})
            elif step == 20:
                _asked(store, end=False)
            else:
                interrupted(store, monkeypatch, step, lambda: _asked(store, end=False))
            return build(*arguments)

        monkeypatch.setattr(train, "built", slow)
        with pytest.raises(RunStateError, match="Another process continued the run run/v001 in the meantime"):
            _asked(store, end=False, steps=30)
        assert (run.checkpoints()[-1], run.spec()["steps"]) == (other, 20)
        assert run.status() is (RunStatus.COMPLETED if other == 20 else RunStatus.INTERRUPTED)
        assert not list(run.path.glob("rolled-back/*"))


def test_a_run_that_another_process_prolonged_meanwhile_gets_no_shorter(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    run = _stopped(store, monkeypatch, 7)
    plan = resume_plan(run, {"steps": 21}, NOWHERE)
    _asked(store, end=False, steps=22)
    with pytest.raises(RunStateError, match="Another process continued"):
        train.resume(run, plan, store=store, argv=["dreg"], listener=Recorder())
    assert (run.spec()["steps"], run.status()) == (22, RunStatus.COMPLETED)
