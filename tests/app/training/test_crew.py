"""What rank 0 tells the others: messages whole, and no rank stops before rank 0 knows why."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.loading.bounds import Parts
from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.find import find_code
from dregcli.app.training import following
from dregcli.app.training.crew import (
    ANSWER,
    RUN_ENDS,
    STEP,
    Crew,
    EvaluationOrder,
    RunOrder,
    parts_message,
    parts_of,
)
from dregcli.engine import training
from dregcli.engine.process_group import ProcessGroup
from dregcli.engine.training import Trainer
from dregcli.engine.training_state import TrainerState
from dregcli.errors import CodeRefused, Diverged, Terminated
from dregcli.names import Split
from dregcli.specs.run import RunSpec
from tests.support.own_models import write_model
from tests.support.small_training import small_trainer

LOGGED_AT, BROKEN_AT, MOST_PENDING = 5, 7, 8


class BreaksLater(Trainer):
    """A trainer that cannot go on after some steps."""

    def _take(self, stored: Tensor, *rest: Any, **more: Any) -> Tensor:
        return super()._take(stored if self.step < BROKEN_AT else stored * torch.nan, *rest, **more)


class Wire:
    """A group of two, in which the other rank does at once what it is told."""

    rank, size, is_lost = 0, 2, False

    def __init__(self) -> None:
        self.trainer = small_trainer(BreaksLater)
        self.refused = 0
        self._follower: Any = vars(following)["_Follower"](self, None, None)

    def tell(self, message: bytes) -> None:
        self.refused += vars(self.trainer)["_diverged"] is not None
        self._follower._do(message, self.trainer, None)

    def leave(self) -> None:
        self.is_lost = True


def trained_until_it_breaks() -> Wire:
    wire = Wire()
    crew, trainer = Crew(cast("ProcessGroup", wire)), small_trainer(BreaksLater)

    def train() -> None:
        while trainer.step < 4 * MOST_PENDING:
            crew.advance(trainer)
            if trainer.step == LOGGED_AT:
                trainer.collect()

    with pytest.raises(Diverged):
        train()
    return wire


def test_no_rank_stops_before_rank_0_knows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_PENDING", MOST_PENDING)
    wire = trained_until_it_breaks()
    assert wire.refused == 0, "each step of rank 0 is one of all ranks"
    assert not wire.is_lost

    monkeypatch.setattr(Trainer, "is_collected", False)
    assert trained_until_it_breaks().refused > 0, "a rank that looks at other steps than rank 0 would show"


def test_an_order_to_begin_a_run_arrives_whole(tmp_path: Path) -> None:
    state = TrainerState(7, {"a.b": torch.ones(2, 3)}, {"step": torch.tensor(4.0)}, {"count": 3.0})
    spec = RunSpec(dataset="digits", data_checksum="0" * 64, split_convention="dreg", steps=9)
    code = find_code(f"{write_model(tmp_path)}:TinyVae")
    found = RunOrder.of(RunOrder(spec, code, state).message())
    assert (found.spec, found.code, found.state.step, found.state.window) == (spec, code, 7, {"count": 3.0})
    assert_equal([found.state.model["a.b"], found.state.optimizer["step"]], [torch.ones(2, 3), torch.tensor(4.0)])


def test_a_rank_with_other_programs_does_not_follow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = RunSpec(dataset="digits", data_checksum="0" * 64, split_convention="dreg", steps=9)
    state = TrainerState(0, {}, {}, {})
    of_file = find_code(f"{write_model(tmp_path)}:TinyVae")
    following.require_same_programs(RunOrder(spec, of_file, state), rank=1)
    with pytest.raises(CodeRefused, match=r"Rank 1 has dreg .*, and rank 0 has dreg 0\.0\.1"):
        following.require_same_programs(RunOrder(spec, of_file, state, version="0.0.1"), rank=1)
    installed = replace(of_file, kind=CodeKind.MODULE)
    other = replace(installed, files={"tiny.py": b"other"})

    def found(_: str) -> Code:
        return other

    monkeypatch.setattr(following, "find_code", found)
    with pytest.raises(CodeRefused, match="is not the same as on rank 0"):
        following.require_same_programs(RunOrder(spec, installed, state), rank=1)


def test_a_rank_that_alone_got_a_signal_leaves_at_a_step_and_not_in_the_end_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rank 0 got the signal too if it asks for no further step, however long its last evaluation takes."""
    monkeypatch.setattr(following, "GRACE_SECONDS", 0.0)
    messages = iter([STEP, ANSWER, RUN_ENDS, ANSWER, STEP])

    class Group:
        rank = 1

        def heard(self) -> bytes:
            return next(messages)

    follower: Any = vars(following)["_Follower"](Group(), None, StopRequest(signal.SIGTERM))
    for expected in (STEP, ANSWER, RUN_ENDS, ANSWER):
        assert follower._next() == expected
    with pytest.raises(Terminated, match="SIGTERM, which came to this rank alone"):
        follower._next()


def assert_equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def test_an_order_to_evaluate_arrives_whole() -> None:
    weights = {"w": torch.arange(3.0)}
    found = EvaluationOrder.of(EvaluationOrder(Split.TEST, 5, 1, None, 300, weights).message())
    assert (found.split, found.k, found.seed, found.k_chunk, found.limit) == (Split.TEST, 5, 1, None, 300)
    assert_equal([found.weights["w"]], [weights["w"]])


def test_bounds_arrive_whole() -> None:
    parts: Parts = {"bound": [np.arange(3.0), np.arange(2.0)], "kl_layers": [np.ones((2, 3)), np.ones((2, 2))]}
    found = parts_of(parts_message(parts))
    assert found.keys() == parts.keys()
    for name, arrays in parts.items():
        for mine, theirs in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert parts_of(parts_message({})) == {}
