"""``dreg eval`` and ``dreg report`` as a user sees them."""

import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dregcli.app.evaluation import evaluate
from dregcli.cli.main import main
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run, typed
from tests.support.store_faults import FailingFileSystem


@pytest.fixture
def trained(tmp_path, once) -> None:
    def train(store: Path) -> None:
        for seed in ("0", "1"):
            words = (*SMALL, "--name", "t", "--seed", seed, "--runs-dir", store, "--quiet")
            assert main(typed("train", *words)) == 0

    shutil.copytree(once("two seeds", train), tmp_path / "runs")


@pytest.mark.usefixtures("trained")
def test_eval_gives_the_count_weighted_bound_and_keeps_every_example(capsys, tmp_path) -> None:
    outcome = run(capsys, "eval", "t/v001", "--split", "test", "--k", 30, "--json")
    assert outcome.code == 0, outcome.err
    (result,) = outcome.json["results"]
    assert (result["n"], result["k"], result["split"], result["checkpoint"]) == (250, 30, "test", 20)
    assert result["binarisation"] == "dynamic"
    (kept,) = RunStore(tmp_path / "runs").resolve("t/v001")[0].results("evals")
    values = kept.arrays()["bound"]
    assert values.shape == (250,)
    assert result["bound"]["value"] == pytest.approx(values.mean(), rel=1e-12)
    assert result["bound"]["stderr"] == pytest.approx(values.std(ddof=1) / math.sqrt(250), rel=1e-12)
    again = run(capsys, "eval", "t/v001", "--split", "test", "--k", 30, "--json").json["results"][0]
    assert again["bound"] == result["bound"], "the pixels and the noise are fixed by the evaluation's seed"
    assert again["file"] != result["file"], "results are never overwritten"
    other = run(capsys, "eval", "t/v001", "--k", 30, "--eval-seed", 1, "--json").json["results"][0]
    assert other["bound"]["value"] != result["bound"]["value"]


@pytest.mark.usefixtures("trained")
def test_a_larger_k_gives_a_larger_bound(capsys) -> None:
    values = [run(capsys, "eval", "t/v001", "--k", k, "--json").json["results"][0]["bound"]["value"] for k in (1, 64)]
    assert values[1] > values[0]


@pytest.mark.usefixtures("trained")
def test_a_name_means_all_versions(capsys) -> None:
    results = run(capsys, "eval", "t", "--k", 2, "--json").json["results"]
    assert [r["run"].rsplit("/", 1)[1] for r in results] == ["v001", "v002"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--k", 0), "k: must be whole numbers from 1 to 1,048,576"),
        (("--split", "tset"), "split: must be one of train, valid, test"),
        (("--checkpoint", "newest"), "checkpoint: must be last, best or a step"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_bad_options(capsys, arguments, text) -> None:
    outcome = run(capsys, "eval", "t", *arguments)
    assert outcome.code == 2
    assert text in outcome.err


def test_a_run_that_is_not_there(capsys) -> None:
    for command in ("eval", "report"):
        outcome = run(capsys, command, "nothing")
        assert outcome.code == 13
        assert "nothing" in outcome.err


@pytest.mark.usefixtures("trained")
def test_report_means_over_seeds(capsys, tmp_path) -> None:
    assert run(capsys, "eval", "t", "--k", 8).code == 0
    outcome = run(capsys, "report", "t", "--json")
    assert outcome.code == 0, outcome.err
    (group,) = outcome.json["groups"]
    tests = [r["bound"]["test"] for r in group["runs"]]
    assert group["seeds"] == 2
    assert group["bound"]["test"]["mean"] == pytest.approx(np.mean(tests))
    assert group["bound"]["test"]["stderr"] == pytest.approx(abs(tests[0] - tests[1]) / 2)
    assert group["evals"][0]["n"] == 2
    text = run(capsys, "report", "t").out
    assert "mean ± s.e. over 2 seeds" in text
    assert "nats per example" in text
    assert "v001" in text
    assert "v002" in text


@pytest.mark.usefixtures("trained")
def test_repeats_count_once_and_other_specs_are_another_group(capsys) -> None:
    assert run(capsys, "train", *SMALL, "--name", "t", "--seed", 1).code == 0
    assert run(capsys, "train", *SMALL, "--name", "t", "--lr", 0.01).code == 0
    groups = run(capsys, "report", "t", "--json").json["groups"]
    assert [(g["seeds"], len(g["runs"])) for g in groups] == [(2, 3), (1, 1)]


@pytest.mark.usefixtures("trained")
def test_what_was_computed_is_told_even_where_it_cannot_be_kept(capsys, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "RunStore", partial(RunStore, fs=FailingFileSystem(1, lasting=True)))
        evaluated = run(capsys, "eval", "t", "--k", 2)
    assert evaluated.code == 16
    assert "computed but not kept" in evaluated.err
    assert "Traceback" not in evaluated.err
    # What can never be kept is not computed.
    (tmp_path / "runs/t/v001/evals").write_text("a file where the folder should be")
    refused = run(capsys, "eval", "t/v001", "--k", 2)
    assert refused.code == 16
    assert "computed but not kept" not in refused.err


@pytest.mark.usefixtures("trained")
def test_other_checkpoints_are_not_averaged_with_each_other(capsys) -> None:
    assert run(capsys, "eval", "t", "--k", 2).code == 0
    assert run(capsys, "train", "--resume", "t/v002", "--steps", 25).code == 0
    assert run(capsys, "eval", "t/v002", "--k", 2).code == 0
    groups = run(capsys, "report", "t", "--json").json["groups"]
    assert [[(e["checkpoint"], e["n"]) for e in g["evals"]] for g in groups] == [[(20, 1)], [(20, 1), (25, 1)]]


@pytest.mark.usefixtures("trained")
def test_a_checkpoint_that_one_of_the_runs_lacks(capsys) -> None:
    outcome = run(capsys, "eval", "t", "--checkpoint", 7)
    assert outcome.code == 13
    assert "its checkpoints are" in outcome.err
