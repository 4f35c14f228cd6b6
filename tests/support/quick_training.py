"""Training by ``dreg train`` in this process, for tests of what is around it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from dregcli.app.training import session, train
from dregcli.engine.training import Trainer
from dregcli.specs.run import RunSpec
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
