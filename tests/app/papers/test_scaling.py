"""A scale shortens steps, schedules, seeds and samples together; every number is exact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dregcli.app.papers.asking import ask, find_paper
from dregcli.app.papers.kind import Asked, PaperRequest
from dregcli.app.papers.kinds import kind_of
from dregcli.app.papers.shares import fewer_samples, fewer_seeds, whole
from dregcli.app.papers.studies import training_of
from dregcli.app.papers.toy_file import toy_of
from dregcli.errors import SpecError
from dregcli.specs.papers.document import Paper, Training
from dregcli.specs.papers.named import paper_names

NOWHERE = Path("unused")


def asked(word: str, scale: float) -> Asked:
    return ask(PaperRequest(word, scale=scale), runs_dir=NOWHERE, data_dir=NOWHERE, argv=[])


def tables_of(experiment: Training) -> list[dict[str, Any]]:
    return [{**experiment.options, "seeds": experiment.seeds, **each} for each in experiment.runs]


def scaled(folder: Path, text: str, scale: float) -> Paper:
    (folder / "my.toml").write_text(text)
    return asked(str(folder / "my.toml"), scale).paper


def test_numbers() -> None:
    assert [whole(1_000_000, 0.05), whole(10, 0.04), whole(10, 0.04, least=3), whole(0, 0.5)] == [50_000, 1, 3, 0]
    assert fewer_seeds((4, 5, 6, 7), 0.25) == (4, 5)
    assert fewer_seeds((4, 5, 6, 7), 0.0001) == (4,)
    assert fewer_seeds((4, 5, 6, 7), 0.0001, least=3) == (4, 5, 6)
    assert fewer_samples(dict.fromkeys([50, 1, 5], 1), 0.04) == {1: 1, 5: 2, 50: 10}
    assert fewer_samples(dict.fromkeys([64, 16], 1), 0.25, multiple=8) == {16: 8, 64: 32}
    different = fewer_samples(dict.fromkeys([2, 3, 5, 10], 1), 1e-9)
    assert different == {2: 2, 3: 3, 5: 4, 10: 5}, "different K stay different"
    assert fewer_samples({5: 1, 15: 11, 60: 11}, 0.01) == {5: 2, 15: 11, 60: 12}, "a pair has its fewest samples"


def test_a_study_with_all_that_depends_on_steps(tmp_path: Path) -> None:
    text = """
title = "t"
authors = "a"
place = "p"
what = "w"
[experiment]
kind = "training"
seeds = "0,2,5-6"
[experiment.options]
dataset = "digits"
steps = 1000
eval_every = 100
checkpoint_every = 0
log_every = 3
warmup_steps = 200
kl_warmup = 40
eval_k = 40
lr_schedule = "step:every=300"
[[experiment.runs]]
estimator = ["dreg", "stl"]
k = [1, 16, 64]
[[experiment.runs]]
objective = "vr-iwae:alpha=0.9->0.1@400"
k = 64
steps = [1000, 2000]
hidden = [7, 6]
[experiment.evaluation]
k = 5000
[[figure]]
y = "bound-valid"
[[published]]
y = "bound-train"
at = { objective = "vr-iwae:alpha=0.9->0.1@400", k = 64, steps = 2000 }
value = -1.0
read = "table"
source = "s"
what = "w"
"""
    paper = scaled(tmp_path, text, 0.25)
    first, second = tables_of(training_of(paper))
    common = {
        "steps": 250,
        "eval_every": 50,
        "checkpoint_every": 0,
        "log_every": 1,
        "warmup_steps": 50,
        "kl_warmup": 10,
    }
    common |= {"eval_k": 10, "lr_schedule": "step:every=75", "seeds": "0,2", "dataset": "digits"}
    assert first == {**common, "estimator": ["dreg", "stl"], "k": [1, 8, 32]}
    assert second == {**common, "objective": "vr-iwae:alpha=0.9->0.1@100", "k": 32, "hidden": [7, 6]} | {
        "steps": [250, 500]
    }
    evaluation = training_of(paper).evaluation
    assert evaluation is not None
    assert evaluation.k == 1250
    assert paper.published[0].at == {"objective": "vr-iwae:alpha=0.9->0.1@100", "k": 32, "steps": 500}
    assert paper.published[0].value == -1.0
    changes = asked(str(tmp_path / "my.toml"), 0.25).scaled.changes
    told = {each.name: (each.before, each.after) for each in changes if each.is_main}
    assert told == {
        "steps": ("1,000, 2,000", "250, 500"),
        "K": ("64", "32"),
        "seeds": ("4", "2"),
        "samples of the evaluation": ("5,000", "1,250"),
    }
    assert ("lr-schedule", "step:every=300", "step:every=75") in {(e.name, e.before, e.after) for e in changes}
    floor = training_of(scaled(tmp_path, text, 1e-9))
    assert (floor.seeds, tables_of(floor)[0]["steps"], tables_of(floor)[0]["k"]) == ("0", 1, [1, 2, 3])
    assert tables_of(floor)[1]["steps"] == [1, 2], "different numbers stay different"


def test_stages_of_a_schedule_end_with_the_run() -> None:
    """3,280 passes are eight stages of Burda's schedule; 5 % of them are 164, into which five stages fit."""
    paper = asked("burda2015-1layer", 0.05).paper
    for table in tables_of(training_of(paper)):
        assert (table["lr_schedule"], table["epochs"]) == ("burda:stages=5", 121)
    assert tables_of(training_of(paper))[0]["k"] == [1, 2, 11]
    ours = [each.at["k"] for each in paper.published if each.y == "log-likelihood"]
    assert ours == [1, 2, 11, 2, 11]


@pytest.mark.parametrize("name", paper_names())
def test_every_experiment_can_be_run_shorter(name: str) -> None:
    for scale in (0.5, 0.3, 0.05, 0.01):
        paper = asked(name, scale).paper
        found = [(place, why) for place, why in kind_of(paper).faults(paper) if place[0] == "experiment"]
        assert not found, f"at scale {scale}"


def test_the_toy_leaves_out_the_largest_k() -> None:
    whole_toy, paper = toy_of(find_paper("tucker2018-toy").paper), asked("tucker2018-toy", 0.0625).paper
    toy = toy_of(paper)
    assert toy.k == [k for k in whole_toy.k if k <= 256]
    assert (toy.replicates, toy.seeds) == (62, "0,1")
    assert len(toy_of(asked("tucker2018-toy", 1e-9).paper).k) == 2


def test_the_whole_is_not_changed() -> None:
    found = asked("tucker2018-mnist", 1.0)
    assert (found.paper, found.scaled.changes, found.stem) == (found.file.paper, (), "tucker2018-mnist")
    assert replace(found, request=PaperRequest("x", scale=0.1)).stem == "tucker2018-mnist-scale0.1"


def test_a_scale_beyond_its_range_is_refused() -> None:
    for scale in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(SpecError, match="scale: must be more than 0 and at most 1"):
            asked("tucker2018-toy", scale)
