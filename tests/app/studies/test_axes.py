"""Options with several values: what is combined, what is refused, and what each combination is called."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dregcli.app.common import ranks
from dregcli.app.planning import load_data
from dregcli.app.studies.claiming import find_or_claim
from dregcli.app.studies.launch import preview
from dregcli.app.studies.plan import StudyPlan, plan_study
from dregcli.app.studies.repeats import key_of
from dregcli.app.studies.request import TrainRequest
from dregcli.errors import SpecError, UsageError
from dregcli.names import Place
from dregcli.specs.axes import grid_of
from dregcli.specs.run import NO_EFFECT, as_json
from dregcli.store.claims import Claim
from dregcli.store.runs import RunStore
from tests.support.data_few import few_digits
from tests.support.listener import Recorder

NOWHERE = Path("unused")


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def planned(tmp_path: Path | None = None, *, config: str = "", sweep: str = "", **flags: Any) -> StudyPlan:
    files: dict[str, Path] = {}
    for name, text in {"config": config, "sweep": sweep}.items():
        if text and tmp_path:
            files[name] = tmp_path / f"{name}.toml"
            files[name].write_text(text)
    request = TrainRequest({"k": 4, "steps": 5, **flags}, **files)  # pyright: ignore[reportArgumentType]
    return plan_study(request, request.read_files(), NOWHERE)


def labels(plan: StudyPlan) -> list[str]:
    return [each.label for each in plan.combinations]


def faults(tmp_path: Path | None = None, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, **options)
    return [str(fault) for fault in caught.value.faults]


def test_every_combination_at_every_seed_with_a_name_that_says_what_differs() -> None:
    plan = planned(k=[2, 4], lr=[0.01, 0.001], estimator=["dreg", "stl"], seeds="1,0")
    assert len(plan.combinations) == 16
    assert labels(plan)[:3] == [
        "iwae/dreg K=2 lr=0.01, seed 1",
        "iwae/dreg K=2 lr=0.001, seed 1",
        "iwae/dreg K=4 lr=0.01, seed 1",
    ]
    assert labels(plan)[8:] == [each.replace("seed 1", "seed 0") for each in labels(plan)[:8]]
    assert len({repr(as_json(each.spec)) for each in plan.combinations}) == 16


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"objective": ["iwae", "rws"]}, ["iwae/dreg, seed 0", "rws/dreg, seed 0"]),
        ({"batch_size": [8, 16]}, ["iwae/dreg batch=8, seed 0", "iwae/dreg batch=16, seed 0"]),
        (
            {"optimizer": ["adam", "sgd:momentum=0.9"]},
            ["iwae/dreg adam, seed 0", "iwae/dreg sgd:momentum=0.9, seed 0"],
        ),
        ({"steps": None, "epochs": [1, 2]}, ["iwae/dreg steps=1, seed 0", "iwae/dreg steps=2, seed 0"]),
        ({"model": ["vae", "conv"]}, ["iwae/dreg vae, seed 0", "iwae/dreg conv, seed 0"]),
        ({"prior_gradient": ["score", "blend"], "task": "structured"}, None),
        ({"hidden": ["7", "9,8"]}, ["iwae/dreg hidden=7, seed 0", "iwae/dreg hidden=9,8, seed 0"]),
        ({"dataset": ["digits", "linear-gaussian"], "model": "vae"}, None),
    ],
)
def test_any_option_of_a_run(given: dict[str, Any], expected: list[str] | None) -> None:
    plan = planned(**given)
    assert len(plan.combinations) == 2
    assert expected is None or labels(plan) == expected
    assert all(plan.data(each).dataset.name == each.spec.dataset for each in plan.combinations)


def test_a_list_that_is_one_value_stays_one() -> None:
    for layer in ({"hidden": [9, 8]}, {"latent_dim": [5, 4]}, {"track_estimators": ["stl", "dreg"]}, {"k": [4]}):
        grid = grid_of([layer if "k" not in layer else {"k": 4}])
        assert (grid.axes, grid.faults) == ((), ())
    assert grid_of([{"posterior": "flow:maf,layers=2", "seeds": "0,1", "lr": 0.1}]).axes == ()
    (axis,) = grid_of([{"estimator": "ovis-mc:samples=2,exclusive=true,dreg"}]).axes
    assert axis.values == ("ovis-mc:samples=2,exclusive=true", "dreg")
    assert grid_of([{"model": "a, b/c,d/x.py:C"}]).axes == (), "the path has commas"
    (axis,) = grid_of([{"model": "vae,a,b.py:C,conv, con"}]).axes
    assert axis.values == ("vae", "a,b.py:C", "conv", "con")
    (axis,) = grid_of([{"latent_dim": ["5,4", "3"]}]).axes
    assert axis.values == ((5, 4), 3)
    (axis,) = grid_of([{"model_options": {"width": [3, 4], "depth": 2}}]).axes
    assert (axis.name, axis.values) == ("model_options.width", (3, 4))
    request = TrainRequest({"estimator": ["stl"], "hidden": ["9,8"], "model_options": {"width": [3]}})
    assert request.flags == {"estimator": "stl", "hidden": (9, 8), "model_options": {"width": 3}}
    assert not request.is_study(request.read_files())


def test_each_data_set_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = load_data.load_dataset
    monkeypatch.setattr(load_data, "load_dataset", lambda name, *rest: loaded.append(name) or load(name, *rest))
    planned(dataset=["digits", "linear-gaussian"], lr=[0.1, 0.2], estimator=["dreg", "stl"], seeds="0-1")
    assert loaded == ["digits", "linear-gaussian"]


@pytest.mark.parametrize("field", [*(each for each in NO_EFFECT if each != "track_estimators"), "seed"])
def test_what_changes_no_numbers_has_one_value(field: str) -> None:
    (told,) = faults(**{field: ["1", "2"] if field == "seed" else [16, 32]})
    assert told.startswith(f"{field.replace('_', '-')}: takes one ")
    if field == "seed":
        assert told.endswith("--seeds 1,2")


def test_how_often_a_run_validates_counts_with_patience() -> None:
    assert len(planned(eval_every=[1, 2], patience=2).combinations) == 2


def test_values_that_mean_the_same() -> None:
    assert faults(k=[4, 4]) == ["k: 4 is given twice."]
    assert faults(optimizer=["adam", "sgd", "adam"]) == ["optimizer: adam is given twice."]
    assert faults(backward=["auto", "dense"], objective="elbo", k=1) == [
        "backward: auto and dense mean the same run: give one of them."
    ]
    # With one sample, auto is dense; with many it is not. So the four combinations are three runs.
    assert len(planned(backward=["auto", "dense"], k=[1, 32]).combinations) == 3


def test_faults_name_the_values_that_have_them_and_no_others() -> None:
    told = faults(k=[0, 4], lr=[0.1, -1.0], estimator=["dreg", "rws/stl"], batch_size=[8, 10**6])
    assert told[:3] == [
        "k: must be at least 1, got 0.",
        "lr: must be greater than 0.0, got -1.0.",
        "batch-size: must be at most the 48 training examples of digits, got 1000000.",
    ]
    assert told[3].startswith("rws/stl: estimator: ")
    assert len(told) == 4
    told = faults(estimator=["dreg", "vimco"], k=[1, 4], lr=[0.1, 0.2])
    assert [each.partition(": ")[0] for each in told] == ["iwae/vimco with k=1"]


def test_a_pair_contradicts_other_objectives_and_the_message_says_which() -> None:
    (told,) = faults(objective=["iwae", "rws"], estimator=["dreg", "rws/dreg-norm"])
    assert "contradicts --objective iwae" in told


def test_what_ranks_cannot_share_is_told_before_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_joined", SimpleNamespace(rank=0, size=3))
    (told,) = faults(k=[4, 64])
    assert told.startswith("k: 3 ranks need at least 3 blocks of 16 samples, which K=4 does not have")
    assert len(planned(k=[4, 64], shard="batch").combinations) == 2
    for where, option in {"jobs": {"jobs": 2}, "on": {"on": Place.RAY}}.items():
        with pytest.raises(SpecError, match=f"{where}: cannot be given with several ranks"):
            preview(TrainRequest({"k": [48, 64]}, **option), runs_dir=NOWHERE, data_dir=NOWHERE, listener=Recorder())


def test_too_many_runs() -> None:
    (told,) = faults(lr=[1e-6 * each for each in range(1, 201)], k=list(range(1, 101)))
    assert told == "study: the study would have 20,000 runs, and at most 10,000 are possible."


def test_a_stronger_place_overrules_a_list(tmp_path: Path) -> None:
    config = 'k = [2, 4]\nobjective = ["iwae", "rws"]\nlr = [1e-3, 1e-2]\n'
    assert len(planned(tmp_path, config=config, k=None, seeds="0").combinations) == 8
    assert labels(planned(tmp_path, config=config, k=8, estimator="rws/dreg", seeds="0")) == [
        "rws/dreg lr=0.001, seed 0",
        "rws/dreg lr=0.01, seed 0",
    ]
    epochs = planned(tmp_path, config="steps = [3, 4]\n", steps=None, epochs=1, seeds="0-1")
    assert len(epochs.combinations) == 2


SWEEP = """
[[run]]
estimator = "dreg"
k = [2, 4]

[[run]]
objective = "rws"
estimator = ["dreg", "reparam"]
lr = 0.01
k = 4
"""


def test_a_sweep_is_the_tables_one_after_the_other(tmp_path: Path) -> None:
    plan = planned(tmp_path, sweep=SWEEP, k=None, seeds="0-1")
    assert labels(plan)[:4] == [
        "iwae/dreg K=2 lr=0.001, seed 0",
        "iwae/dreg K=4 lr=0.001, seed 0",
        "rws/dreg K=4 lr=0.01, seed 0",
        "rws/reparam K=4 lr=0.01, seed 0",
    ]
    assert len(plan.combinations) == 8
    assert {each.spec.steps for each in plan.combinations} == {5}


def test_the_command_line_is_stronger_than_a_table_and_a_run_is_given_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, sweep=SWEEP, k=8, config="lr = 0.5\n")
    assert labels(plan) == ["iwae/dreg lr=0.5, seed 0", "rws/dreg lr=0.01, seed 0", "rws/reparam lr=0.01, seed 0"]
    twice = "[[run]]\ntrack_estimators = 'dreg,stl'\n[[run]]\n"
    assert len(planned(tmp_path, sweep=f"{twice}track_estimators = 'stl'\nlog_every = 50\n").combinations) == 1
    assert faults(tmp_path, sweep=f"{twice}eval_every = 0\n") == [
        "track-estimators: dreg,stl and none are for one run of iwae/dreg: give one of them.",
        "eval-every: 5 and 0 are for one run of iwae/dreg: give one of them.",
    ]
    assert len(planned(tmp_path, sweep=f"{twice}seed = 1\n").combinations) == 2


def test_faults_of_a_sweep(tmp_path: Path) -> None:
    told = faults(tmp_path, sweep=SWEEP.replace("0.01", "-1.0").replace('"reparam"', '"stl"'), k=None)
    assert [each.partition(": ")[0] for each in told] == ["rws/dreg, rws/stl", "rws/stl"]
    told = faults(tmp_path, sweep="[[run]]\nk = 2\n[[run]]\nk = 2\nnoise = 3\njob = 3\n", k=None)
    assert [each.rpartition(": ")[0].rpartition(": ")[2] for each in told] == ["job", "noise"], told
    for text, what in {
        "k = 2\n": "holds k outside",
        "run = 3\n": "has no",
        "x = [": "not valid TOML",
        "[[run]]\nlog-every=2\nlog_every=3": "log-every is given twice",
    }.items():
        with pytest.raises(UsageError, match=what):
            planned(tmp_path, sweep=text)
    for text in ("log-every = 2\nlog_every = 3\n", "[model-options]\nlog-every = 2\nlog_every = 3\n"):
        with pytest.raises(UsageError, match="log-every is given twice"):
            planned(tmp_path, config=text)
    (one,) = planned(
        tmp_path, config="[model-options]\nlatent-dim = [3, 5]\n", model="conv", model_options={"latent_dim": 4}
    ).combinations
    assert one.spec.model_options["latent_dim"] == 4


def test_a_dry_run_says_what_is_done_and_writes_nothing(tmp_path: Path) -> None:
    store = tmp_path / "runs"
    recorder = Recorder()
    request = TrainRequest({"k": [2, 4], "steps": 5, "estimator": "stl"}, name="mine")
    found = preview(request, runs_dir=store, data_dir=NOWHERE, listener=recorder)
    assert [(each.state, each.step, each.name) for each in found.runs] == [("new", None, "mine")] * 2
    assert len([each for each in recorder.warnings if "'stl' is biased" in each]) == 2
    assert not store.exists()
    first = found.runs[0].combination.spec
    RunStore(store).claim("other", spec=as_json(first), environment={})
    alone = TrainRequest({"k": 2, "steps": 5, "estimator": "stl"})
    for each in (request, alone):
        again = preview(each, runs_dir=store, data_dir=NOWHERE, listener=recorder)
        assert again.is_study == (each is request)
        assert again.runs[0].state == "running elsewhere"
        assert again.runs[0].repeat
        assert again.runs[0].repeat.run.label == "other/v001"
    # A process that has claimed a run and has not made it yet makes it soon; one that gave it back does not.
    right = find_or_claim(RunStore(store), key_of(found.runs[1].combination.spec))
    assert isinstance(right, Claim)
    for state, missing in (("starting elsewhere", False), ("new", True)):
        claimed = preview(request, runs_dir=store, data_dir=NOWHERE, listener=recorder).runs[1]
        assert (claimed.state, claimed.is_missing, claimed.repeat) == (state, missing, None)
        right.give_back()
    with pytest.raises(UsageError, match="--resume continues a run"):
        preview(TrainRequest({}, resume="other"), runs_dir=store, data_dir=NOWHERE, listener=recorder)
