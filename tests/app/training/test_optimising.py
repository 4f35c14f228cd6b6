"""Optimizers, schedules, averages and early stopping of whole runs: what is kept, resumed, refused and shown."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dregcli.app.loading.bounds import SplitBounds
from dregcli.app.loading.restore import load_checkpoint
from dregcli.app.planning.optimising import ending_changes
from dregcli.app.planning.plan import resolve_plan, warnings_of
from dregcli.app.planning.words import run_name
from dregcli.app.runs.replay import replay
from dregcli.app.training import evaluations, train
from dregcli.app.training.evaluations import Evaluations
from dregcli.app.training.opening import opening_lines
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.optimisation import RAW
from dregcli.errors import Interrupted, RunStateError, SpecError
from dregcli.names import RunStatus, Split
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import as_json, group_hash
from dregcli.store import writer
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.store.test_fault_matrix import bury
from tests.support.listener import Recorder
from tests.support.quick_training import interrupted, quick_training
from tests.support.store_faults import Killed

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 20,
    "hidden": (6,),
    "latent_dim": 2,
    "log_every": 4,
    "eval_every": 5,
    "checkpoint_every": 6,
    "device": "cpu",
}
EVERYTHING: dict[str, Any] = {
    "optimizer": "adamw:weight_decay=0.1",
    "lr_schedule": "cosine",
    "warmup_steps": 4,
    "grad_clip": 2.0,
    "ema": 0.9,
    "lr_posterior": 3e-3,
    "kl_warmup": 11,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def _plan(**flags: Any):
    options, faults = merge_options({**SMALL, **flags}, {}, None)
    return resolve_plan(options, NOWHERE, faults)


def _train(store: RunStore, listener: Recorder | None = None, **flags: Any) -> Run:
    return train.start(_plan(**flags), name="run", store=store, argv=["dreg"], listener=listener or Recorder()).run


def _stopped(store: RunStore, monkeypatch: pytest.MonkeyPatch, step: int, **flags: Any) -> Run:
    return interrupted(store, monkeypatch, step, lambda: _train(store, **flags))


def _resumed(run: Run, listener: Recorder | None = None, *, end: bool = False, **flags: Any) -> train.TrainResult:
    plan, listener = resume_plan(run, flags, NOWHERE), listener or Recorder()
    return train.resume(run, plan, store=RunStore.of(run), argv=["dreg"], listener=listener, end=end)


SCHEDULED: dict[str, Any] = {
    "optimizer": "rmsprop:momentum=0.5",
    "lr_schedule": "step:every=6",
    "objective": "vr-iwae:alpha=.9->0@11",
    "track_estimators": "stl",
}


@pytest.mark.parametrize("flags", [EVERYTHING, SCHEDULED])
def test_a_run_cut_in_its_middle_is_the_uncut_run(tmp_path, monkeypatch, flags: dict[str, Any]) -> None:
    whole = _train(RunStore(tmp_path / "whole"), **flags)
    run = _stopped(RunStore(tmp_path / "cut"), monkeypatch, 9, **flags)
    _resumed(run)
    assert run.status() is RunStatus.COMPLETED
    assert not differences(whole, run)
    assert whole.info().summary["bounds"] == run.info().summary["bounds"]


def test_what_equals_a_default_is_not_in_the_spec() -> None:
    same = {"optimizer": "adam:beta1=0.9", "lr_schedule": "cosine:end=1", "lr_posterior": 1e-3, "warmup_steps": 0}
    plain, spelt = (as_json(_plan(**each).spec) for each in ({}, {**same, "lr_schedule": "constant"}))
    assert plain == spelt
    assert group_hash(plain) == group_hash(spelt)
    assert not {*EVERYTHING, "patience"} & plain.keys()
    assert as_json(_plan(**EVERYTHING).spec).items() >= EVERYTHING.items()


def test_intervals_of_evaluations_count_with_patience() -> None:
    def hashed(**flags: Any) -> str:
        return group_hash(as_json(_plan(**flags).spec))

    assert hashed(eval_every=5) == hashed(eval_every=4)
    assert hashed(eval_every=5, patience=3) != hashed(eval_every=4, patience=3)
    assert hashed(patience=3) != hashed()


@pytest.mark.parametrize(
    ("flags", "faults"),
    [
        (
            {
                "optimizer": "adm",
                "lr_schedule": "burda:stages=2",
                "warmup_steps": 21,
                "patience": 2,
                "eval_every": 0,
                "ema": 1.0,
                "grad_clip": 0.0,
                "lr_posterior": -1.0,
            },
            ["ema", "grad-clip", "lr-posterior", "lr-schedule", "optimizer", "patience", "warmup-steps"],
        ),
        ({"optimizer": "rprop", "lr_schedule": "cosine", "warmup_steps": 2}, ["lr-schedule", "warmup-steps"]),
        ({"kl_warmup": 21}, ["kl-warmup"]),
        ({"objective": "vr-iwae:alpha=.9->0@21"}, ["objective"]),
        ({"objective": "vr-iwae:alpha=.9->-1@5"}, ["objective"]),
        ({"objective": "vr-iwae:alpha=2->0@5:linear"}, ["objective"]),
        ({"objective": "vr-iwae:alpha=.9->0@5", "track_estimators": "vr-iwae:alpha=.9/stl"}, ["track-estimators"]),
        ({"kl_warmup": 5, "objective": "rws"}, ["kl-warmup"]),
        ({"kl_warmup": 5, "track_estimators": "stl,rws/dreg"}, ["kl-warmup"]),
        ({"kl_warmup": 5, "estimator": "dreg-nrm"}, ["estimator"]),
        ({"ema": 0.0, "patience": 0, "lr_schedule": "cosine:ends=0"}, ["ema", "lr-schedule", "patience"]),
    ],
)
def test_what_cannot_work_is_refused_at_once(flags: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        _plan(**flags)
    assert sorted(fault.field for fault in caught.value.faults) == faults


def test_an_objective_that_changes_is_one_setting() -> None:
    """However it is written; and it is judged at both ends: stl has no bias for the ELBO, where this one begins."""
    spellings = ("vr-iwae:alpha=1->0@12:linear", "vr-iwae:alpha=1.0->-0.0@012:linear")
    one, other = (_plan(objective=each, estimator="stl").spec for each in spellings)
    assert as_json(one)["objective"] == "vr-iwae:alpha=1.0->0.0@12:linear"
    assert group_hash(as_json(one)) == group_hash(as_json(other))
    assert run_name(one) == "digits-vr-iwae-alpha-1.0-to-0.0-in-12-linear-stl-k2"
    plan = _plan(objective=spellings[0], estimator="stl")
    (warning,) = warnings_of(plan.spec, plan.data.dataset)
    assert "(at 'vr-iwae:alpha=0.5')" in warning
    assert "its objective changes for 12 steps" in str(ending_changes(one, 11))
    assert ending_changes(one, 12) is None


def test_a_line_says_how_parameters_change(tmp_path) -> None:
    listener = Recorder()
    _train(RunStore(tmp_path), listener, steps=11, patience=1, **EVERYTHING)
    assert (
        "adamw:weight_decay=0.1, learning rate 0.001 and 0.003 for phi, cosine, after a warm-up of 4 steps; "
        "the objective's KL part rises to its whole weight in 11 steps; gradients limited to a norm of 2; "
        "evaluations use the moving average of the weights (--ema 0.9); stops "
        "after 1 validation without a better bound"
    ) in listener.notes
    plan = _plan()
    assert len(opening_lines(plan, train.built(plan, None)[0])) == 2, "nothing is said of the usual way"


# The average of the weights.


def test_commands_use_the_average_and_say_so(tmp_path) -> None:
    store = RunStore(tmp_path)
    run = _train(store, ema=0.9)
    checkpoint = run.load_checkpoint("last")
    weights = {
        name: each for name, each in checkpoint.model.items() if checkpoint.optimizer[RAW + name].ne(each).any()
    }
    assert len(weights) > 4
    listener = Recorder()
    assert load_checkpoint(run, "last", listener).model.keys() == checkpoint.model.keys()
    assert listener.notes == [f"{run.label}: the weights are the moving average of those in training (--ema 0.9)"]
    assert run.info().summary["ema"] == 0.9
    assert not replay("run", 20, runs_dir=store.root, data_dir=NOWHERE, listener=Recorder()).differences


# Patience: validations with bounds that a script gives.


def _damage(run: Run, step: int) -> None:
    (run.path / "checkpoints" / f"step-{step:08d}" / "model.safetensors").write_bytes(b"damaged")


def _scripted(monkeypatch: pytest.MonkeyPatch, *bounds: float) -> None:
    """Let the validations have these bounds, by step: at 5, 10, 15, ..."""

    def validate(self: Evaluations, model: Any, step: int, *_: Any, last: bool = False) -> SplitBounds:
        return SplitBounds(Split.VALID, 2, 0, np.full(4, bounds[step // 5 - 1]), np.ones(4), {}, {})

    monkeypatch.setattr(Evaluations, "validate", validate)


def test_a_run_stops_after_so_many_validations_without_a_better_one(tmp_path, monkeypatch) -> None:
    plain = _train(RunStore(tmp_path / "plain"), steps=10, eval_every=5)
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.0, -1.0, 0.0)
    listener = Recorder()
    run = _train(RunStore(tmp_path / "patient"), listener, steps=40, patience=2, log_every=7)
    summary = run.info().summary
    assert (summary["step"], summary["final_step"], summary["stopped_early"]) == (20, 10, True)
    assert summary["best"] == {"step": 10, "valid": -2.0}
    assert run.status() is RunStatus.COMPLETED
    assert run.checkpoints()[-1] == 20
    assert run.metrics("train")["step"].tolist() == [7, 14, 20]
    # The bounds are those of the weights after step 10, which a shorter run has at its end.
    assert summary["bound"] == plain.info().summary["bound"]
    assert "stopped at step 20: 2 validations without a better bound (--patience)" in listener.notes
    assert "the final bounds are those of the best checkpoint, step 10 (--patience)" in listener.notes
    assert load_checkpoint(run, "last", listener).step == 10, "the checkpoint that the run ended with"
    _damage(run, 10)
    assert load_checkpoint(run, "last", listener).step == 20
    assert listener.warnings[-1].startswith("checkpoint skipped: step-00000010: ")
    with pytest.raises(RunStateError, match="it stopped early"):
        resume_plan(run, {}, NOWHERE)


def test_a_run_that_never_waits_so_long_takes_all_its_steps(tmp_path, monkeypatch) -> None:
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.6)
    run = _train(RunStore(tmp_path), patience=3)
    summary = run.info().summary
    assert (summary["step"], summary["final_step"], summary["stopped_early"]) == (20, 10, False)


def test_a_resumed_run_stops_where_the_uncut_run_does(tmp_path, monkeypatch) -> None:
    """Also if the signal comes before the validation with the best bound, or before that after which it stops."""
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.0, -1.0, 0.0)
    flags: dict[str, Any] = {"steps": 30, "patience": 2, "keep_last": 1, "log_every": 7}
    whole = _train(RunStore(tmp_path / "whole"), **flags)
    for step in (9, 10, 15, 19, 20):
        run = _stopped(RunStore(tmp_path / f"cut{step}"), monkeypatch, step, **flags)
        summary = _resumed(run).summary
        # The last checkpoint is from before the signal: its state does not know of the validation after it.
        assert set(differences(whole, run)) <= ({"state"} if step == 20 else set()), step
        for key in ("step", "final_step", "stopped_early", "bounds", "best"):
            assert summary[key] == whole.info().summary[key], step


@pytest.mark.parametrize("at", [5, 15, 20])
def test_a_signal_during_a_validation_ends_the_run_and_the_resumed_one_validates(tmp_path, monkeypatch, at) -> None:
    """Twice: in the run, and where it continues. The checkpoint has the weights in training, not their average."""
    whole = _train(RunStore(tmp_path / "whole"), **EVERYTHING, keep_last=1)
    compute, returned, signals = evaluations.split_bounds, list[Split](), [at // 5, 1]

    def signalled(model: Any, data: Any, split: Split, **options: Any) -> SplitBounds:
        signals[0] -= split is Split.VALID
        if signals[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
        found = compute(model, data, split, **options)
        returned.append(split)
        return found

    store = RunStore(tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(evaluations, "split_bounds", signalled)
        with pytest.raises(Interrupted, match="a checkpoint was written first"):
            _train(store, **EVERYTHING, keep_last=1)
        (run,) = store.runs()
        assert returned == [Split.VALID] * (at // 5 - 1), "it is not finished first"
        del signals[0], returned[:]
        with pytest.raises(Interrupted):
            _resumed(run)
        assert returned == []
    assert (run.status(), run.checkpoints()[-1]) == (RunStatus.INTERRUPTED, at)
    assert at not in run.metrics("valid").get("step", ())
    _resumed(run)
    assert set(differences(whole, run)) <= ({"state"} if at == 20 else set())


def test_a_kill_before_the_mark_of_the_best_leaves_no_other_best(tmp_path, monkeypatch) -> None:
    """The validation that a resumed run makes up for is written before the checkpoint that was there is marked."""
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.6)
    run = _stopped(RunStore(tmp_path), monkeypatch, 10)
    with monkeypatch.context() as patch:

        def dies(*_: Any, **__: Any) -> None:
            raise Killed

        patch.setattr(writer.checkpoints, "save", dies)
        with pytest.raises(Killed):
            _resumed(run)
    assert (run.metrics("valid")["step"].tolist(), run.best()) == ([5, 10], 5)
    bury(run)
    assert _resumed(run).summary["best"]["step"] == run.best() == 10


@pytest.mark.parametrize(
    ("every", "last", "now"), [(6, 18, "the next validation is the best"), (5, 15, "the best is now step 15")]
)
def test_a_best_checkpoint_that_is_gone_does_not_end_a_run(tmp_path, monkeypatch, every, last, now) -> None:
    """Step 20 is better than step 10, whose checkpoint is removed; the last whole one calls step 10 the best."""
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -1.0)
    flags: dict[str, Any] = {"steps": 30, "patience": 3, "keep_last": 3, "checkpoint_every": every}
    run = _stopped(RunStore(tmp_path), monkeypatch, 21, **flags)
    assert (run.checkpoints(), run.best()) == ([last, 20, 21], 20)
    for step in (20, 21):
        _damage(run, step)
    listener = Recorder()
    summary = _resumed(run, listener, end=True).summary
    assert (summary["final_step"], summary["best"], run.best()) == (last, {"step": last, "valid": -2.5}, last)
    assert f"the checkpoint of the best validation, step 10, is gone or damaged: {now}." in listener.warnings


@pytest.mark.parametrize(("kept", "damaged"), [(4, (25, 27)), (2, (10,))], ids=["gone", "damaged"])
def test_a_run_without_its_best_checkpoint_goes_on_and_ends(tmp_path, monkeypatch, kept: int, damaged) -> None:
    """Step 10 is the best: it was removed for step 25, which is damaged, or it is damaged itself."""
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.6, -1.0)
    flags: dict[str, Any] = {"steps": 40, "patience": 4, "keep_last": kept, "checkpoint_every": 5}
    run = _stopped(RunStore(tmp_path), monkeypatch, 27 if 25 in damaged else 17, **flags)
    for step in damaged:
        _damage(run, step)
    _scripted(monkeypatch, -3.0, -2.0, -2.5, -2.6, -2.65, -2.7, -2.8, -2.9)
    summary = _resumed(run).summary
    assert (summary["final_step"], summary["best"]) == (20, {"step": 20, "valid": -2.6})
    assert (run.status(), run.best(), run.has_whole_checkpoint(20)) == (RunStatus.COMPLETED, 20, True)


# Another length.


@pytest.mark.parametrize("flags", [{"lr_schedule": "cosine"}, {"patience": 3}])
def test_a_run_whose_steps_depend_on_their_number_is_not_prolonged(tmp_path, flags: dict[str, Any]) -> None:
    run = _train(RunStore(tmp_path), **flags)
    with pytest.raises(SpecError, match="the run keeps its 20 steps, because"):
        resume_plan(run, {"steps": 30}, NOWHERE)
    with pytest.raises(RunStateError) as caught:
        resume_plan(run, {}, NOWHERE)
    assert "start a new run from its spec" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"lr_schedule": "cosine"}, "learning rate"),
        ({"warmup_steps": 9}, "warm-up"),
        ({"kl_warmup": 9}, "KL warm-up"),
    ],
)
def test_nor_is_it_ended_early(tmp_path, monkeypatch, flags: dict[str, Any], said: str) -> None:
    run = _stopped(RunStore(tmp_path), monkeypatch, 7, **flags)
    with pytest.raises(RunStateError, match=f"cannot end at step 7 of 20: .*{said}"):
        _resumed(run, end=True)
    assert run.status() is RunStatus.INTERRUPTED


def test_a_run_with_patience_can_be_ended(tmp_path, monkeypatch) -> None:
    run = _stopped(RunStore(tmp_path), monkeypatch, 7, patience=3)
    summary = _resumed(run, end=True).summary
    assert summary["step"] == 7
    assert summary["final_step"] == summary["best"]["step"]


def test_a_resumed_run_keeps_its_settings(tmp_path, monkeypatch) -> None:
    run = _stopped(RunStore(tmp_path), monkeypatch, 7, **EVERYTHING)
    with pytest.raises(SpecError) as caught:
        resume_plan(run, {"optimizer": "sgd", "ema": 0.5, "lr_schedule": "cosine:end=0"}, NOWHERE)
    assert [fault.field for fault in caught.value.faults] == ["optimizer", "ema"]
    resume_plan(run, {"lr_posterior": 3e-3, "optimizer": "adamw:weight_decay=0.1,eps=1e-8"}, NOWHERE)
