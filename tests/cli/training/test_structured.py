"""``--task structured`` through every command."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.cli import SMALL, run
from tests.support.data_few import few_digits

TASKS = ("structured", "structured-reference")
tasks = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)


def _train(capsys, task: str, *more: object, name: str = "s") -> dict:
    outcome = run(capsys, "train", "--task", task, *SMALL, "--name", name, "--json", *more)
    assert outcome.code == 0, outcome.err
    return outcome.json


def _model(path: Path, step: int = 20) -> dict[str, torch.Tensor]:
    return load_file(path / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


@tasks
def test_every_command_takes_it(capsys, tmp_path, task) -> None:
    trained = _train(capsys, task)
    assert trained["task"] == task
    # 32 binary pixels cost at most what a coin costs, and more than nothing.
    assert -32 * 0.6931471805599453 * 1.5 < trained["bound"]["test"] < 0

    evaluated = run(capsys, "eval", "s", "--k", 16, "--json")
    assert evaluated.code == 0, evaluated.err
    (result,) = evaluated.json["results"]
    assert result["task"] == task
    assert result["split_hash"] == trained["split_hashes"]["test"]
    told = run(capsys, "eval", "s", "--k", 4)
    halves = (
        "bottom half given top half" if task == "structured" else "top half given bottom half as in the reference"
    )
    assert halves in told.out
    assert result["split_hash"][:12] in told.out

    few = ("--max-batches", 48, "--examples", 4)
    checked = run(capsys, "bias-check", "s", "--estimator", "dreg", "--estimator", "reparam", *few, "--json")
    assert checked.code in (0, 5), checked.err
    assert {each["verdict"] for each in checked.json["results"]} <= {"unbiased", "inconclusive"}

    tuned = run(capsys, "finetune-encoder", "s", "--steps", 10, "--name", "f", "--json")
    assert tuned.code == 0, tuned.err
    before, after = _model(tmp_path / "runs/s/v001"), _model(tmp_path / "runs/f/v001", 10)
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder"}, "the prior and the likelihood's network are theta"
    assert {name.partition(".")[0] for name in before} >= {"encoder", "decoder", "prior", "context_layer"}

    reported = run(capsys, "report", "s", "f")
    assert reported.code == 0, reported.err
    assert halves in reported.out

    assert json.loads((tmp_path / "runs/f/v001/spec.json").read_text())["task"] == task


def test_default_names_tell_the_task(capsys) -> None:
    outcome = run(capsys, "train", "--task", "structured", *SMALL, "--json")
    assert Path(outcome.json["run"]).parent.name == "digits-structured-iwae-dreg-k4"


def test_all_of_theta_learns(capsys, tmp_path) -> None:
    _train(
        capsys, "structured", "--steps", 5, "--checkpoint-every", 1, "--objective", "rws", "--estimator", "reparam"
    )
    first, last = (_model(tmp_path / "runs/s/v001", step) for step in sorted(_steps(tmp_path / "runs/s/v001"))[-2:])
    still = [name for name in first if torch.equal(first[name], last[name])]
    assert still == ["mean"]


def _steps(path: Path) -> list[int]:
    return [int(each.name.removeprefix("step-")) for each in (path / "checkpoints").glob("step-*")]


def test_resuming_continues_bit_for_bit(capsys, tmp_path) -> None:
    _train(capsys, "structured", name="whole")
    _train(capsys, "structured", "--steps", 9, name="cut")
    again = run(capsys, "train", "--resume", "cut/v001", "--steps", 20, "--json")
    assert again.code == 0, again.err
    whole, cut = (_model(tmp_path / f"runs/{name}/v001") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize("estimator", ["stl", "dreg", "dreg-cv", "vimco-star", "rws/dreg", "jvi:order=2/dreg"])
def test_estimators_train(capsys, estimator) -> None:
    trained = _train(capsys, "structured", "--estimator", estimator)
    assert trained["bound"]["valid"] < 0


def test_a_check_without_a_run_trains_one_of_the_task(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dregcli.app.diagnosis.new_model.TRAINING_STEPS", 5)
    options = ("--k", 4, "--task", "structured", "--max-batches", 48, "--json")
    outcome = run(capsys, "bias-check", *options)
    assert outcome.code in (0, 5), outcome.err
    assert (tmp_path / "runs/bias-check-digits-structured-iwae-dreg-k4/v001").is_dir()
    named = run(capsys, "bias-check", "bias-check-digits-structured-iwae-dreg-k4", *options)
    assert named.code == 2
    assert "task: comes from the run" in named.err


def test_the_halves_are_the_papers(capsys, tmp_path) -> None:
    """The prior reads the top half, the likelihood's bias is of the bottom half; the reference crosses both."""
    _train(capsys, "structured", "--steps", 1, "--lr", "1e-30")
    _train(capsys, "structured-reference", "--steps", 1, "--lr", "1e-30", name="r")
    paper, reference = (_model(tmp_path / f"runs/{name}/v001", 1) for name in ("s", "r"))
    mean = paper["mean"]
    bias = torch.logit(mean[32:].clamp(1e-3, 1 - 1e-3))
    for model in (paper, reference):
        (last,) = [name for name in model if name.startswith("decoder") and model[name].shape == (32,)]
        torch.testing.assert_close(model[last], bias)
    assert not torch.equal(mean[:32], mean[32:])


def test_a_parents_task_stands(capsys) -> None:
    _train(capsys, "structured")
    resumed = run(capsys, "train", "--resume", "s", "--steps", 30, "--task", "generative")
    assert resumed.code == 2
    assert "task: the run was made with structured" in resumed.err
