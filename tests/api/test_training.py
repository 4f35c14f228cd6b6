"""Training from Python: the events of a run, and its end in every case."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dregcli
from dregcli import RunOptions
from dregcli.api.runs import LoadedRun
from dregcli.app.training import session
from dregcli.app.training.events import CheckpointWritten, Done, Event, Metrics, Progress, Validation
from dregcli.errors import Interrupted, RunStateError, SpecError, UsageError
from tests.support.cli import run

SMALL = {"k": 4, "steps": 20, "batch_size": 16, "hidden": (16, 8), "latent_dim": 4, "log_every": 5, "eval_every": 10}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        yield


def _weights(loaded: LoadedRun) -> dict[str, torch.Tensor]:
    return loaded.model.state_dict()


def _equal(a: LoadedRun, b: LoadedRun) -> bool:
    first, second = _weights(a), _weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_the_run_of_the_command(capsys, monkeypatch) -> None:
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.0)
    events = list(dregcli.train(RunOptions(**SMALL), name="here"))
    words = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", value)]
    words[words.index((16, 8))] = "16,8"
    told = run(capsys, "train", *words, "--name", "there", "--json").json
    here, there = (dregcli.load_run(name) for name in ("here", "there"))
    assert here.spec == there.spec
    assert _equal(here, there)
    *others, last = events
    assert isinstance(last, Done)
    assert last.result.summary["bound"] == told["bound"]
    assert last.result.run.path.name == "v001"
    of: dict[type[Event], list[int]] = {}
    for event in others:
        of.setdefault(type(event), []).append(event.step)
    assert of == {
        Metrics: [5, 10, 15, 20],
        Validation: [10, 20],
        CheckpointWritten: [10, 20],
        Progress: list(range(1, 21)),
    }
    rows = [event.values for event in others if isinstance(event, Metrics)]
    assert [row["bound"] for row in rows] == here.metrics()["bound"].tolist()
    valid = [event.bound for event in others if isinstance(event, Validation)]
    assert valid == here.metrics("valid")["bound"].tolist()


def test_a_closed_run_is_interrupted_with_a_checkpoint_and_resumes_bit_for_bit() -> None:
    list(dregcli.train(SMALL, name="whole"))
    events = dregcli.train(SMALL, name="closed")
    assert any(isinstance(event, Metrics) and event.step == 15 for event in events)
    events.close()
    (closed,) = dregcli.open_store().runs("closed")
    assert str(closed.status) == "interrupted"
    assert closed.step == 15
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    *_, last = dregcli.train(resume="closed")
    assert isinstance(last, Done)
    assert _equal(dregcli.load_run("closed"), dregcli.load_run("whole"))
    *_, last = dregcli.train({"steps": 25}, resume="closed")
    assert last.result.summary["step"] == 25
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == (threads, handler)
    with pytest.raises(RunStateError):
        dregcli.train(resume="closed")


def test_a_signal_while_the_run_trains_interrupts_it(monkeypatch) -> None:
    from dregcli.engine.training import Trainer

    before = signal.getsignal(signal.SIGINT)
    advance = Trainer.advance

    def then_signal(self: Trainer) -> None:
        advance(self)
        if self.step == 7:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "advance", then_signal)
    events = dregcli.train(SMALL, name="t")
    assert isinstance(next(events), Metrics)
    assert signal.getsignal(signal.SIGINT) is before, "the caller's own code has its own handlers"
    with pytest.raises(Interrupted, match="SIGINT"):
        list(events)
    (found,) = dregcli.open_store().runs("t")
    assert (str(found.status), found.step) == ("interrupted", 7)


def test_faults_are_reported_before_a_run_is_claimed() -> None:
    with pytest.raises(SpecError) as caught:
        dregcli.train({"k": 0, "latent": 3, "estimator": "dregg"})
    assert {fault.field for fault in caught.value.faults} == {"k", "latent", "estimator"}
    for options, what in (({"seeds": "0-3"}, "several runs"), ({"estimator": ["dreg", "stl"]}, "several runs")):
        with pytest.raises(UsageError, match=what):
            dregcli.train(options)
    with pytest.raises(UsageError, match="keeps its name"):
        dregcli.train(name="a", resume="b")
    dregcli.train(SMALL, name="never-begun")
    assert not Path("runs").exists()


def test_another_thread_can_train() -> None:
    """Only the main thread can handle signals."""
    found: list[Event] = []
    worker = threading.Thread(target=lambda: found.extend(dregcli.train({**SMALL, "steps": 5, "final_eval": "none"})))
    worker.start()
    worker.join()
    assert isinstance(found[-1], Done)
