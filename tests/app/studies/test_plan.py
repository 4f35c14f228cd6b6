"""What a study consists of, and that all that is wrong with it is told before any work."""

from pathlib import Path
from typing import Any

import pytest

from dregcli.app.planning.plan import resolve_plan
from dregcli.app.planning.words import spread_pair
from dregcli.app.studies.plan import StudyPlan, plan_study
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.errors import DatasetMissing, SpecError
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import as_json
from tests.support.data_few import few_digits

NOWHERE = Path("unused")


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def planned(config: dict[str, Any] | None = None, *, name: str | None = None, **flags: Any) -> StudyPlan:
    return plan_study(TrainRequest({"k": 4, "steps": 5, **flags}, name=name), Files(config or {}, {}), NOWHERE)


def faults(**options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        planned(**options)
    return [str(fault) for fault in caught.value.faults]


def test_seed_by_seed_so_that_what_a_stop_leaves_is_in_pairs() -> None:
    found = planned(seeds="1,0", estimator=["dreg", "rws/dreg", "vimco:baseline=geometric"])
    assert [each.label for each in found.combinations] == [
        f"{pair}, seed {seed}"
        for seed in (1, 0)
        for pair in ("iwae/dreg", "rws/dreg", "iwae/vimco:baseline=geometric")
    ]


@pytest.mark.parametrize("word", ["dreg", "rws/dreg", "dreg-alpha:alpha=0.5"])
def test_every_run_is_as_it_would_be_alone(word: str) -> None:
    """Also its seed, which is set after all else was decided."""
    given = {"k": 32, "steps": None, "epochs": 2, "hidden": (7,), "track_estimators": "dreg", "k_chunk": 16}
    config = {"lr": 0.01, "seed": 5}
    for each in planned(config, **given, seeds="0,3", estimator=["reparam", word]).combinations:
        if each.spec.estimator == "reparam":
            continue
        flags, _ = spread_pair({**given, "seed": each.spec.seed, "estimator": word})
        options, none = merge_options(flags, config, None)
        assert as_json(each.spec) == as_json(resolve_plan(options, NOWHERE, none).spec)


def test_without_seeds_it_is_of_the_one_seed() -> None:
    assert [each.spec.seed for each in planned(estimator=["dreg", "stl"], seed=7).combinations] == [7, 7]
    assert [each.spec.seed for each in planned(estimator=["dreg", "stl"]).combinations] == [0, 0]
    assert faults(estimator=["dreg", "stl"], seed=-1) == ["seed: must be at least 0, got -1."]


def test_flags_stand_before_what_a_config_says() -> None:
    config = {"seeds": "0-4", "estimator": ["dreg", "stl"], "objective": "elbo"}
    assert len(planned(config).combinations) == 10
    assert {each.spec.objective for each in planned(config).combinations} == {"elbo"}
    by_seed = planned(config, seed=9)
    assert [(each.spec.estimator, each.spec.seed) for each in by_seed.combinations] == [("dreg", 9), ("stl", 9)]
    assert len(planned({"seed": -1}, seeds="1-2").combinations) == 2
    by_estimator = planned(config, estimator="iwae/reparam")
    assert {each.label for each in by_estimator.combinations} == {f"iwae/reparam, seed {seed}" for seed in range(5)}
    by_both = planned({"seed": 3, "estimator": "dreg"}, seeds="1-2", estimator=["stl", "iwae/dreg"], objective="iwae")
    assert len(by_both.combinations) == 4
    sizes = {"model_options": {"latent_dim": [8, 16]}, "split_convention": "dreg"}
    assert [each.spec.model_options["latent_dim"] for each in planned(sizes, model="conv").combinations] == [8, 16]
    for_vae = planned({"model": "vae", "hidden": ["9", "8"]}, model="conv", seeds="0-1").combinations
    assert [(each.spec.hidden, each.spec.seed) for each in for_vae] == [(None, 0), (None, 1)]
    # What belongs to the values of a list goes with it, but not where the stronger layer names one of them.
    listed = {"k": [16, 64], "k_chunk": 16, "model": ["vae", "linear-gaussian"], "model_options": {"width": 3}}
    assert [each.spec.k_chunk for each in planned(listed, k=8, model="conv").combinations] == [None]
    assert [each.spec.k_chunk for each in planned({"k": [16, 64], "k_chunk": 16}, k=64).combinations] == [16]


def test_a_runs_spec_may_be_the_config() -> None:
    spec = as_json(planned(seeds="4", k_chunk=None, lr=0.5).combinations[0].spec)
    again = planned(spec, seeds="4-6", k=None, steps=None).combinations
    assert [as_json(each.spec) for each in again] == [{**spec, "seed": seed} for seed in (4, 5, 6)]


def test_faults_of_all_runs_at_once_each_once() -> None:
    told = faults(seeds="4-0,x", name="../x", k=0, estimator=["dreg", "dregg", "rws/stl", "rws/stll"], lr=-1)
    assert len(told) == len(set(told))
    for of_all in (
        "seeds: '4-0' ends",
        "seeds: must be whole numbers",
        "name: '../x'",
        "k: must be at least 1",
        "lr: ",
    ):
        assert len([each for each in told if each.startswith(of_all)]) == 1, told
    assert any(each.startswith("iwae/dregg: estimator: ") and "'dreg'" in each for each in told), told
    assert any(each.startswith("rws/stl: ") for each in told), told
    assert any(each.startswith("rws/stll: estimator: ") for each in told), told
    assert not any(each.startswith("iwae/dreg: ") for each in told), told


def test_a_fault_of_some_runs_names_them_all() -> None:
    (told,) = faults(estimator=["rws/dreg", "iwae/reparam", "rws/reparam"], track_estimators="stl", seeds="0-9")
    assert told.startswith("rws/dreg, rws/reparam: track-estimators: ")


def test_a_pair_that_contradicts_the_objective() -> None:
    (told,) = faults(objective="iwae", estimator=["dreg", "rws/dreg"])
    assert told.startswith("rws/dreg: estimator: 'rws/dreg' contradicts --objective iwae")


@pytest.mark.parametrize(
    "words", [["dreg", "dreg"], ["dreg", "iwae/dreg"], ["dreg-alpha", "dreg-alpha:alpha=.9"], ["dreg", "x", "x"]]
)
def test_one_pair_twice(words: list[str]) -> None:
    assert any("is given twice" in each for each in faults(estimator=words))
    assert not any("is given twice" in each for each in faults(estimator=["dreg", "iwae/stl", "x"]))
    with pytest.raises(SpecError, match="is given twice"):
        planned({"estimator": words})


def test_what_is_no_list_of_estimators() -> None:
    with pytest.raises(SpecError, match="estimator: is empty"):
        planned({"estimator": []})
    with pytest.raises(SpecError, match="iwae/dreg: estimator: must be a text, got 5"):
        planned({"estimator": ["dreg", 5]})


def test_seed_and_seeds_in_one_place() -> None:
    assert faults(seeds="0-4", seed=1) == ["seeds: give --seed or --seeds, not both."]
    with pytest.raises(SpecError, match="give --seed or --seeds, not both"):
        planned({"seeds": "0-4", "seed": 1})


def test_missing_data_are_told_when_nothing_else_is_wrong(tmp_path) -> None:
    def ask(**options: Any) -> None:
        plan_study(TrainRequest({"dataset": "mnist", "seeds": "0-1", **options}), Files({}, {}), tmp_path)

    with pytest.raises(DatasetMissing):
        ask()
    with pytest.raises(SpecError, match="lr: "):
        ask(lr=-1)
