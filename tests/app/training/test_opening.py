"""What a run says before its first step, and that it tracks the estimator that trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dregcli.app.loading import build
from dregcli.app.loading.build import build_trainer
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.training import opening, train
from dregcli.app.training.finetune import FinetuneRequest, finetune
from dregcli.app.training.opening import opening_lines
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.captured import MovedRandomness
from dregcli.engine.training import Trainer
from dregcli.specs.resolve import merge_options
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.engine.test_captured import call_again
from tests.support.cli import SMALL as TYPED
from tests.support.cli import run as typed
from tests.support.listener import Recorder
from tests.support.quick_training import each_step, quick_training

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 4,
    "hidden": (6,),
    "latent_dim": 2,
    "batch_size": 16,
    "backward": "dense",
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def _plan(**flags: Any) -> Plan:
    options, faults = merge_options({**SMALL, **flags}, {}, None)
    return resolve_plan(options, NOWHERE, faults)


def _train(store: RunStore, listener: Recorder | None = None, **flags: Any) -> Run:
    plan = _plan(**flags)
    return train.start(plan, name="run", store=store, argv=["dreg"], listener=listener or Recorder()).run


def _lines(**flags: Any) -> list[str]:
    plan = _plan(**flags)
    return opening_lines(plan, build_trainer(plan.spec, plan.data))


def test_two_lines_say_what_is_trained() -> None:
    theta = (2 * 6 + 6) + (6 * 64 + 64)
    phi = (64 * 6 + 6) + 2 * (6 * 2 + 2)
    assert _lines() == [
        "training iwae/dreg at K=2 on digits: 48 train, 48 valid and 48 test examples of 8x8 pixels; "
        "batches of 16, 4 steps",
        f"on cpu, 1 thread; vae: theta has {theta:,} parameters, phi {phi:,} parameters; "
        "gradient dense, over all rows",
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"estimator": "dreg-alpha:alpha=0.5"}, "training iwae/dreg-alpha:alpha=0.5 at K=2"),
        ({"task": "structured"}, "on digits, structured: 48 train"),
        ({"backward": "screened"}, "gradient screened, inflation 0.15"),
        (
            {"backward": "screened", "screen_precision": "bfloat16"},
            "first pass and logged training bound: bfloat16",
        ),
        ({"k": 64, "k_chunk": 16}, "over all rows, 16 samples at a time"),
        ({"threads": 2}, "on cpu, 2 threads; vae: "),
        ({"eval_k": 8}, "evaluations: 8 samples per example (--eval-k)"),
        ({"k": 2048}, "evaluations: 1,000 samples per example (--eval-k)"),
    ],
)
def test_the_lines_name_what_was_chosen(flags, text) -> None:
    assert text in "\n".join(_lines(**flags))
    assert text not in "\n".join(_lines())


@pytest.mark.parametrize(("records", "words"), [(True, "recorded"), (False, "not recorded")])
def test_a_gpu_has_its_name_and_says_whether_steps_are_recorded(monkeypatch, records, words) -> None:
    plan = _plan()
    trainer = build_trainer(plan.spec, plan.data)
    monkeypatch.setattr(opening, "gpu", lambda device: {"name": "Some GPU"} if device == "cuda" else None)
    monkeypatch.setattr(Trainer, "records", records)
    on_gpu = Plan(plan.spec.model_copy(update={"device": "cuda"}), plan.data)
    text = opening_lines(on_gpu, trainer)[1]
    assert text.startswith("on cuda (Some GPU), 1 thread; ")
    assert text.endswith(f"dense, over all rows, {words} as a CUDA graph")
    assert "CUDA" not in opening_lines(plan, trainer)[1]


@pytest.mark.parametrize(("flags", "records"), [({}, True), ({"estimator": "dreg-cv"}, False)])
def test_a_trainer_knows_whether_it_will_record_steps(monkeypatch, flags, records) -> None:
    def with_recorder(*arguments: Any, **options: Any) -> Trainer:
        return Trainer(*arguments, **{**options, "record": object()})

    plan = _plan(**flags)
    assert not build_trainer(plan.spec, plan.data).records, "on the CPU nothing is recorded"
    monkeypatch.setattr(build, "Trainer", with_recorder)
    assert build_trainer(plan.spec, plan.data).records is records


@pytest.mark.parametrize("has_room", [True, False])
def test_a_recording_for_which_there_is_no_memory_is_told(tmp_path, monkeypatch, has_room) -> None:
    def record(work: Callable[[], Tensor], randomness: MovedRandomness) -> Any:
        if has_room:
            return call_again(work, randomness)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(build, "Trainer", lambda *args, **kwargs: Trainer(*args, **{**kwargs, "record": record}))
    listener = Recorder()
    _train(RunStore(tmp_path), listener)
    told = "the GPU has no memory to record a step: steps are not recorded and may be slower."
    assert listener.warnings == ([] if has_room else [told])


def test_the_lines_come_before_the_first_step(tmp_path, monkeypatch) -> None:
    listener, seen = Recorder(), list[int]()
    each_step(monkeypatch, lambda spec, trainer: seen.append(len(listener.notes)))
    run = _train(RunStore(tmp_path), listener)
    assert seen[0] == 2
    assert listener.notes[0].startswith("training iwae/dreg at K=2 on digits: ")
    resumed = Recorder()
    plan = resume_plan(run, {"steps": 6}, NOWHERE)
    train.resume(run, plan, store=RunStore(tmp_path), argv=["dreg"], listener=resumed)
    assert any("batches of 16, 6 steps, 4 of them done" in note for note in resumed.notes)


def test_a_frozen_theta_is_said_to_be_frozen(tmp_path) -> None:
    _train(RunStore(tmp_path))
    listener = Recorder()
    finetune(
        FinetuneRequest("run", {"steps": 2}, name="f"),
        runs_dir=tmp_path,
        data_dir=NOWHERE,
        argv=["dreg"],
        listener=listener,
    )
    assert any("vae: theta (frozen) has " in note for note in listener.notes)


def test_the_lines_go_to_stderr_unless_quiet(capsys, tmp_path) -> None:
    words = ("train", *TYPED, "--runs-dir", tmp_path / "runs", "--name", "a", "--json")
    shown = typed(capsys, *words)
    assert "training iwae/dreg at K=4 on digits" in shown.err
    assert shown.json["run"].endswith("a/v001"), "stdout holds the JSON alone"
    assert "training" not in typed(capsys, *words, "--quiet").err


@pytest.mark.parametrize("estimator", ["reparam", "dreg-cv"])
def test_the_estimator_that_trains_is_tracked(tmp_path, estimator) -> None:
    plain = _train(RunStore(tmp_path / "plain"), estimator=estimator)
    run = _train(RunStore(tmp_path / "tracked"), estimator=estimator, track_estimators="stl")
    rows = run.metrics("train")
    for word in (estimator, "stl"):
        assert f"{word}.posterior_variance" in rows, sorted(rows)
    assert rows["bound"].tolist() == plain.metrics("train")["bound"].tolist()


def test_a_run_that_tracked_only_others_continues_with_the_same_words(tmp_path) -> None:
    """A run from before the trained estimator was tracked too keeps what it tracks."""
    store = RunStore(tmp_path)
    plan = _plan(track_estimators="stl")
    old = Plan(plan.spec.model_copy(update={"track_estimators": ("stl",)}), plan.data)
    run = train.start(old, name="run", store=store, argv=["dreg"], listener=Recorder()).run
    longer = resume_plan(run, {"steps": 6, "track_estimators": "stl"}, NOWHERE)
    assert longer.spec.track_estimators == ("stl",)
    train.resume(run, longer, store=store, argv=["dreg"], listener=Recorder())
    assert "stl.posterior_variance" in run.metrics("train")
