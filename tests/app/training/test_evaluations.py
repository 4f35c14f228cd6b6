"""The evaluations of a run: how often, with how many samples, over which splits, and never the same one twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.training import evaluations, train
from dregcli.app.training.finetune import FinetuneRequest, finetune
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.errors import RunStateError, SpecError
from dregcli.names import RunStatus
from dregcli.specs.presets import PRESETS
from dregcli.specs.resolve import merge_options, read_options
from dregcli.specs.run import as_json, group_hash
from dregcli.specs.toml import as_toml
from dregcli.store.runs import RunStore
from tests.support.data_few import COUNT
from tests.support.listener import Recorder
from tests.support.quick_training import quick_training

NOWHERE = Path("unused")
SMALL: dict[str, Any] = {
    "k": 2,
    "steps": 6,
    "hidden": (6,),
    "latent_dim": 2,
    "eval_every": 3,
    "backward": "dense",
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_training(monkeypatch)


def _plan(config: dict[str, Any] | None = None, preset: str | None = None, **flags: Any) -> Plan:
    options, faults = merge_options(flags, config or {}, preset)
    return resolve_plan(options, NOWHERE, faults)


def _train(store: RunStore, listener: Recorder | None = None, **flags: Any) -> train.TrainResult:
    plan = _plan(**{**SMALL, **flags})
    return train.start(plan, name="run", store=store, argv=["dreg"], listener=listener or Recorder())


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """Every evaluation of this process: its split and its limit of examples."""
    found: list[tuple[str, int | None]] = []
    compute = evaluations.split_bounds

    def seen(model: Any, data: Any, split: Any, **options: Any) -> Any:
        found.append((split.value, options["limit"]))
        return compute(model, data, split, **options)

    monkeypatch.setattr(evaluations, "split_bounds", seen)
    return found


@pytest.mark.parametrize(
    ("final_eval", "after_training"), [("all", ["train", "test"]), ("test", ["test"]), ("none", [])]
)
def test_the_end_costs_only_what_is_asked_for(tmp_path, evaluated, final_eval, after_training) -> None:
    result = _train(RunStore(tmp_path), final_eval=final_eval)
    assert [split for split, _ in evaluated] == ["valid", "valid", *after_training]
    assert result.run.status() is RunStatus.COMPLETED
    splits = ["train", "valid", "test"] if final_eval == "all" else after_training
    assert list(result.summary["bound"]) == list(result.summary["bounds"]) == splits
    if final_eval == "all":
        last = result.run.metrics("valid")
        assert last["step"].tolist() == [3, 6]
        assert result.summary["bounds"]["valid"]["value"] == last["bound"][-1]
        assert result.summary["bounds"]["valid"]["n"] == COUNT
    assert result.run.spec().get("final_eval", "all") == final_eval
    assert ("final_eval" in result.run.spec()) == (final_eval != "all"), "a default is not written"


def test_a_run_may_be_evaluated_never(tmp_path, evaluated) -> None:
    result = _train(RunStore(tmp_path), final_eval="none", eval_every=0)
    assert evaluated == []
    assert result.run.status() is RunStatus.COMPLETED
    assert result.run.best() is None
    assert result.summary["best"] is None


def test_final_bounds_can_be_had_later(tmp_path, evaluated) -> None:
    whole = _train(RunStore(tmp_path / "whole"))
    store = RunStore(tmp_path / "later")
    run = _train(store, final_eval="none", eval_every=0).run
    evaluated.clear()
    with pytest.raises(RunStateError, match="completed"):
        resume_plan(run, {"final_eval": "none"}, NOWHERE)
    plan = resume_plan(run, {"final_eval": "all"}, NOWHERE)
    later = train.resume(run, plan, store=store, argv=["dreg"], listener=Recorder())
    assert [split for split, _ in evaluated] == ["valid", "train", "test"]
    assert later.summary["bounds"] == whole.summary["bounds"]
    assert later.summary["steps_per_second"] > 0, "the rate of the steps is still known"
    assert run.best() == 6
    with pytest.raises(RunStateError, match="completed"):
        resume_plan(run, {"final_eval": "test"}, NOWHERE)


@pytest.mark.parametrize("later", ["all", "test"])
def test_a_finetune_has_a_gain_where_both_bounds_are_known(tmp_path, later) -> None:
    store = RunStore(tmp_path)
    _train(store)
    request = FinetuneRequest("run", {"steps": 4, "final_eval": "test"}, name="tuned")
    places: Any = {"runs_dir": tmp_path, "data_dir": NOWHERE, "argv": ["dreg"], "listener": Recorder()}
    first = finetune(request, **places)
    assert list(first.summary["gain"]) == list(first.summary["bounds_before"]) == ["test"]
    plan = resume_plan(first.run, {"steps": 5, "final_eval": later}, NOWHERE)
    longer = train.resume(first.run, plan, store=store, argv=["dreg"], listener=Recorder())
    assert list(longer.summary["gain"]) == ["test"]
    assert len(longer.summary["bounds"]) == (3 if later == "all" else 1)


@pytest.mark.parametrize(
    ("flags", "bound_k", "written"),
    [
        ({"k": 64}, 64, None),
        ({"k": 1000}, 1000, None),
        ({"k": 65_536}, 1000, 1000),
        ({"k": 65_536, "eval_k": 65_536}, 65_536, None),
        ({"k": 64, "eval_k": 500}, 500, 500),
        ({"k": 64, "eval_k": 64}, 64, None),
    ],
)
def test_the_samples_of_an_evaluation(tmp_path, flags, bound_k, written) -> None:
    spec = _plan(**SMALL | flags).spec
    assert spec.bound_k == bound_k
    assert as_json(spec).get("eval_k") == written
    # Both forms of a resolved run mean the same number.
    (tmp_path / "a.toml").write_text(as_toml(spec))
    (tmp_path / "b.json").write_text(json.dumps(as_json(spec)))
    for name in ("a.toml", "b.json"):
        assert _plan(preset=str(tmp_path / name)).spec == spec, name


def test_a_stored_spec_keeps_its_numbers_until_its_k_changes() -> None:
    stored = as_json(_plan(**SMALL | {"k": 5000, "eval_k": 5000, "eval_every": 500}).spec)
    assert not {"eval_k", "eval_every", "final_eval"} & set(stored), "as in a run from before these settings"
    assert (_plan(stored).spec.bound_k, _plan(stored).spec.eval_every) == (5000, 500)
    assert _plan(stored, k=8000).spec.bound_k == 1000
    assert _plan(stored, k=16).spec.eval_k is None


def test_another_k_of_evaluation_is_another_experiment() -> None:
    plain, other = (as_json(_plan(**SMALL, eval_k=k).spec) for k in (None, 8))
    assert group_hash(plain) != group_hash(other)
    assert group_hash(plain) == group_hash(as_json(_plan(**SMALL, eval_k=2).spec))


def test_evaluations_take_their_own_k(tmp_path) -> None:
    found = _train(RunStore(tmp_path / "a"), eval_k=8, k=2)
    same = _train(RunStore(tmp_path / "b"), eval_k=8, k=2, steps=6)
    other = _train(RunStore(tmp_path / "c"), k=2)
    assert {each["k"] for each in found.summary["bounds"].values()} == {8}
    assert (found.summary["k"], found.summary["eval_k"]) == (2, 8)
    assert found.summary["bounds"] == same.summary["bounds"]
    assert found.summary["bounds"]["test"]["value"] > other.summary["bounds"]["test"]["value"]
    assert other.summary["eval_k"] == 2
    assert found.run.metrics("train")["bound"].tolist() == other.run.metrics("train")["bound"].tolist()


def test_a_resumed_run_keeps_the_k_of_its_evaluations(tmp_path) -> None:
    run = _train(RunStore(tmp_path)).run
    assert resume_plan(run, {"eval_k": 2, "steps": 8}, NOWHERE).spec.bound_k == 2
    with pytest.raises(SpecError, match="eval-k: the run was made with 2"):
        resume_plan(run, {"eval_k": 4, "steps": 8}, NOWHERE)


# An evaluation has 48 examples and a step 32, at the same K: four times an evaluation are the rows of six steps.
@pytest.mark.parametrize(
    ("steps", "settings", "every"),
    [
        *((steps, {}, steps // 20) for steps in (120, 600, 2000, 1_000_000)),
        (2001, {}, 101),  # 20 times; an interval of 100 would be 21 times
        (119, {}, 7),  # 17 times: room for 19, but an interval of 6 would be 20 times
        *(
            (60, each, every)
            for each, every in (({}, 6), ({"batch_size": 16}, 12), ({"k": 4}, 6), ({"eval_k": 4}, 12))
        ),
        *((steps, {}, steps) for steps in (11, 6, 5, 1)),
        (12, {}, 6),
        *((steps, {"patience": 2}, every) for steps, every in ((120, 6), (60, 3), (20, 1), (19, 1), (1, 1))),
    ],
)
def test_the_interval_of_evaluations_follows_from_the_work_of_the_steps(steps, settings, every) -> None:
    plain = {key: value for key, value in SMALL.items() if key != "eval_every"} | settings | {"steps": steps}
    spec = _plan(**plain).spec
    assert spec.eval_every == every
    assert _plan(**plain | {"eval_every": "auto"}).spec.eval_every == every
    assert _plan({"eval_every": 7}, **plain).spec.eval_every == 7
    if "patience" not in settings:
        assert _plan(**plain | {"eval_every": 0}).spec.eval_every == 0
        evaluations_of = -(-steps // every)
        rows = evaluations_of * COUNT * spec.bound_k
        assert evaluations_of == 1 or 4 * rows <= steps * spec.batch_size * spec.k


def test_the_paper_preset_has_twenty_evaluations_too() -> None:
    options, faults = merge_options({"dataset": "digits", "steps": 4000, "device": "cpu"}, {}, "paper")
    assert not faults
    assert resolve_plan(options, NOWHERE).spec.eval_every == 200
    assert "eval_every" not in PRESETS["paper"]


def test_epochs_count_as_steps() -> None:
    plain = {key: value for key, value in SMALL.items() if key not in ("steps", "eval_every")}
    spec = _plan(**plain, epochs=50, batch_size=24).spec
    assert (spec.steps, spec.eval_every) == (100, 9)


def test_a_finetune_has_the_interval_of_its_own_steps(tmp_path) -> None:
    store = RunStore(tmp_path)
    _train(store)
    request = FinetuneRequest("run", {"steps": 120}, name="tuned")
    found = finetune(request, runs_dir=tmp_path, data_dir=NOWHERE, argv=["dreg"], listener=Recorder())
    assert found.spec.eval_every == 6
    assert len(found.run.metrics("valid")["step"]) == 20


@pytest.mark.parametrize("word", ["often", -1, 1.5, True])
def test_an_interval_that_is_none(word) -> None:
    (fault,) = read_options({"eval_every": word})[1]
    assert str(fault) == f"eval-every: must be a whole number from 0 or auto, got {word!r}."


class _Order(Recorder):
    """Keeps notes and the beginnings of tasks in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def note(self, message: str) -> None:
        super().note(message)
        self.events.append(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        super().begin(task, total, unit, done=done)
        self.events.append(task)


def test_the_time_of_the_final_bounds_is_announced_and_their_progress_shown(tmp_path, monkeypatch) -> None:
    listener = _Order()
    monkeypatch.setattr(evaluations, "_NOTED_SECONDS", 0.0)
    _train(RunStore(tmp_path), listener, eval_k=4)
    announced, last_validation, task = listener.events[-3:]
    of = f"{COUNT} train, {COUNT} valid and {COUNT} test examples"
    assert announced.startswith(f"final bounds at K=4 over {of}: about 0 s; ")
    assert last_validation == "evaluate valid"
    assert "--eval-k" in announced
    assert "--final-eval test or none" in announced
    assert task == "final bounds"
    assert listener.begun[-1] == ("final bounds", 2 * COUNT, "examples", 0)
    assert [done for done, _ in listener.updates][-2:] == [COUNT, 2 * COUNT]
    assert listener.open_tasks == 0


def test_short_final_bounds_are_not_announced(tmp_path) -> None:
    listener = Recorder()
    _train(RunStore(tmp_path), listener)
    assert not [note for note in listener.notes if "final bounds at" in note]


def test_two_batches_say_how_long_it_takes_where_nothing_else_does(tmp_path, monkeypatch, evaluated) -> None:
    monkeypatch.setattr(evaluations, "_NOTED_SECONDS", 0.0)
    few = _Order()
    _train(RunStore(tmp_path / "few"), few, eval_every=0, final_eval="test")
    assert evaluated == [("test", None)], "a small evaluation is done at once"
    assert few.events[-1] == "final bounds"
    evaluated.clear()
    monkeypatch.setattr(evaluations, "_MEASURED_FROM", 0)
    many = _Order()
    _train(RunStore(tmp_path / "many"), many, eval_every=0, final_eval="test")
    assert evaluated == [("test", EVALUATION_BATCH), ("test", EVALUATION_BATCH), ("test", None)]
    assert f"over {COUNT} test examples: about " in many.events[-2]
    evaluated.clear()
    whole = _Order()
    _train(RunStore(tmp_path / "whole"), whole, eval_every=0)
    measured, rest = evaluated[:2], evaluated[2:]
    assert [limit for _, limit in measured] == [EVALUATION_BATCH] * 2
    assert [split for split, _ in rest] == ["valid", "train", "test"]
    assert next(each for each in whole.events if "final bounds" in each).startswith("final bounds at K=2 over ")
    assert whole.events[-1] == "final bounds"
    assert len([event for event in whole.events if "final bounds at" in event]) == 1
