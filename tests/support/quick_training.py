"""Training by ``dreg train`` in this process, for tests of what is around it."""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from dregcli.app.training import session, train
from dregcli.engine.training import Trainer
from dregcli.errors import Interrupted
from dregcli.names import RunStatus
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.support.data_few import few_digits

Act = Callable[[RunSpec, Trainer], None]


def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small run takes a tenth of a second: few digits, no capture of the environment, no clearing of garbage."""

    def nothing(*_: object) -> dict[str, Any]:
        return {}

    few_digits(monkeypatch)
    monkeypatch.setattr(train, "environment_now", nothing)
    monkeypatch.setattr(session, "settled_process", nullcontext)


def each_step(monkeypatch: pytest.MonkeyPatch, act: Act) -> None:
    """After each step that ``dreg train`` takes ``act`` is called with the run's spec and its trainer."""
    build = train.build_trainer

    def built(spec: RunSpec, data: Any, code: Any = None) -> Trainer:
        trainer = build(spec, data, code)
        advance = trainer.advance

        def acting() -> None:
            advance()
            act(spec, trainer)

        monkeypatch.setattr(trainer, "advance", acting)
        return trainer

    monkeypatch.setattr(train, "build_trainer", built)


def interrupted(store: RunStore, monkeypatch: pytest.MonkeyPatch, step: int, start: Callable[[], object]) -> Run:
    """Return the store's only run, which got the signal of Ctrl-C at a step of its training."""

    def act(_: RunSpec, trainer: Trainer) -> None:
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        each_step(patch, act)
        with pytest.raises(Interrupted):
            start()
    (run,) = store.runs()
    assert run.status() is RunStatus.INTERRUPTED
    return run
