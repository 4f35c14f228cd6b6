"""``--threads``: the number reaches torch in every command that computes, and is taken back afterwards."""

from collections.abc import Callable

import pytest
import torch

from dregcli.app.diagnosis import new_model
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.cli import SMALL, run

QUICK = {
    "train": (*SMALL, "--name", "new"),
    "finetune-encoder": ("r", "--steps", 2),
    "eval": ("r", "--k", 2, "--n", 8),
    "bias-check": ("r", "--max-batches", 48, "--examples", 2),
    "variance": ("r", "--k", 2, "--replicates", 20, "--reference-k", 16, "--examples", 2, "--estimator", "dreg"),
    "advise": ("r", "--replicates", 20, "--budget", 0.1, "--estimator", "dreg"),
    "sample": ("r", "--n", 4, "--steps", 2),
}


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of threads that torch was asked to use."""
    asked: list[int] = []
    setter: Callable[[int], None] = torch.set_num_threads

    def recorded(number: int) -> None:
        asked.append(number)
        setter(number)

    monkeypatch.setattr(torch, "set_num_threads", recorded)
    return asked


@pytest.fixture
def trained(ready: Callable[..., Run]) -> Run:
    return ready(*SMALL, name="r")


@pytest.mark.parametrize("command", QUICK)
def test_the_number_reaches_torch_in(command: str, capsys, trained, numbers: list[int]) -> None:
    before = torch.get_num_threads()
    outcome = run(capsys, command, *QUICK[command], "--threads", before + 1)
    assert outcome.code in ((0, 1, 5) if command == "bias-check" else (0,)), outcome.err
    assert before + 1 in numbers
    assert torch.get_num_threads() == before
    del numbers[:]
    refused = run(capsys, command, *QUICK[command], "--threads", 0, "--device", "tpu")
    assert refused.code == 2
    assert "threads: must be a whole number from 1 to 4,096 or auto, got 0." in refused.err
    assert "device: must be auto, cpu, cuda, cuda:N or mps, got 'tpu'." in refused.err
    assert 0 not in numbers


@pytest.mark.parametrize("command", ["bias-check", "variance"])
def test_a_model_that_is_trained_for_a_diagnosis_uses_the_number(command: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(new_model, "TRAINING_STEPS", 2)
    number = torch.get_num_threads() + 1
    outcome = run(capsys, command, *QUICK[command][1:], "--threads", number)
    assert outcome.code in ((0, 1, 5) if command == "bias-check" else (0,)), outcome.err
    (found,) = RunStore(tmp_path / "runs").runs()
    assert found.spec()["threads"] == number
