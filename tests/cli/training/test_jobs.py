"""``dreg train --jobs``: the runs of a study in processes of their own."""

import os
import signal

import pytest
import torch

from dregcli.app.studies import launch, pipes, side_by_side
from dregcli.errors import WorkerLost
from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.cli import run
from tests.support.forked_workers import ForkedPopen

TINY = (
    *("--k", 2, "--batch-size", 16, "--hidden", "8", "--latent-dim", 2, "--final-eval", "test", "--eval-every", 0),
    *("--seeds", "0-1", "--estimator", "dreg,stl", "--log-every", 5),
)


def test_fresh_processes_train_what_the_serial_study_trains_bit_for_bit(capsys, tmp_path) -> None:
    study = ("train", *TINY[:-6], "--seeds", 0, "--estimator", "dreg,stl", "--log-every", 5, "--steps", 20, "--json")
    serial = run(capsys, *study, "--runs-dir", tmp_path / "serial")
    beside = run(capsys, *study, "--jobs", 2)
    assert (serial.code, beside.code) == (0, 0), beside.err
    stores = RunStore(tmp_path / "serial").runs(), RunStore(tmp_path / "runs").runs()
    assert [each.key for each in stores[0]] == [each.key for each in stores[1]]
    for one, other in zip(*stores, strict=True):
        assert differences(one, other) == []
        assert one.spec() == other.spec()
    assert beside.json["runs"][1].keys() == serial.json["runs"][1].keys()
    assert [each["bound"] for each in beside.json["runs"]] == [each["bound"] for each in serial.json["runs"]]
    assert "run 2 of 2: iwae/stl, seed 0: training iwae/stl at K=2" in beside.err
    assert beside.err.count("warning: estimator 'stl' is biased") == 1


def test_ctrl_c_stops_all_with_checkpoints(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipes, "Popen", ForkedPopen)
    passing_on, heard = side_by_side._pass_on, set[int]()

    def passed_on(message, running, listener, *, stopping) -> None:
        passing_on(message, running, listener, stopping=stopping)
        if "update" in message:
            heard.add(running.worker._process.pid)
            if len(heard) == 2 and not stopping:
                os.kill(os.getpid(), signal.SIGINT)
                heard.clear()

    monkeypatch.setattr(side_by_side, "_pass_on", passed_on)
    outcome = run(capsys, "train", *TINY, "--steps", 1_000_000, "--jobs", 2)
    assert outcome.code == 130, outcome.err
    runs = RunStore(tmp_path / "runs").runs()
    assert [each.status() for each in runs] == [RunStatus.INTERRUPTED] * 2
    steps = [each.load_checkpoint("last").step for each in runs]
    assert all(0 < step < 1_000_000 for step in steps)
    assert "Stopped by SIGINT; what the 2 runs in progress had done is kept." in outcome.err
    assert all(f"{each.path}, step {step}" in outcome.err for each, step in zip(runs, steps, strict=True))
    assert "run the same command again" in outcome.err


def test_a_killed_run_is_named_and_the_same_command_trains_it_after_all(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipes, "Popen", ForkedPopen)
    study = (*TINY[:-6], "--seeds", "0-1", "--log-every", 5, "--steps", 400)
    passing_on, killed = side_by_side._pass_on, list[int]()

    def passed_on(message, running, listener, *, stopping) -> None:
        passing_on(message, running, listener, stopping=stopping)
        if "update" in message and not killed:
            killed.append(running.worker._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(side_by_side, "_pass_on", passed_on)
    outcome = run(capsys, "train", *study, "--jobs", 2)
    assert outcome.code == WorkerLost.exit_code, outcome.err
    assert "failed: The process that trained this run was killed by SIGKILL." in outcome.err
    assert "study: 2 runs: 1 trained, 1 failed" in outcome.out
    again = run(capsys, "train", *study)
    assert again.code == 0, again.err
    assert "study: 2 runs: 1 trained, 1 done before" in again.out
    runs = RunStore(tmp_path / "runs").runs()
    assert [each.status() for each in runs] == [RunStatus.COMPLETED] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--seeds", "0-1", "--jobs", 0), "jobs: must be at least 1, got 0."),
        (("--seeds", "0-1", "--jobs", -3), "jobs: must be at least 1, got -3."),
        (("--jobs", 2), "jobs: is about the runs of a study"),
        (("--jobs", 2, "--print-config"), "jobs: is about the runs of a study"),
        (("--jobs", 2, "--resume", "x"), "--jobs cannot be given with --resume"),
        (("--jobs", 0, "--k", 0), "k: must be at least 1, got 0."),
    ],
)
def test_what_cannot_be_is_told_before_any_work(capsys, tmp_path, arguments, told) -> None:
    outcome = run(capsys, "train", *arguments)
    assert outcome.code == 2, outcome.err
    assert outcome.err.count(told) == 1, outcome.err
    assert not (tmp_path / "runs").exists()
    assert "--resume" in arguments or outcome.err.count("jobs:") == 1


def test_each_run_gets_its_share_of_the_threads_and_a_number_is_kept(capsys, monkeypatch) -> None:
    asked: list[list[int | None]] = []
    monkeypatch.setattr(launch, "threads", lambda: 7)
    monkeypatch.setattr(
        launch, "run_study", lambda plan, **_: asked.append([each.spec.threads for each in plan.combinations])
    )
    before = torch.get_num_threads()
    for words in (("--jobs", 2), ("--jobs", 9), ("--jobs", 2, "--threads", 5), ()):
        run(capsys, "train", "--seeds", "0", *words)
    assert asked == [[3], [1], [5], [7]]
    assert torch.get_num_threads() == before
