"""How long ranks wait: for as long as another one works, and a limited time for one that hangs."""

import os
import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from dregcli.engine import process_group
from dregcli.engine.process_group import ProcessGroup
from dregcli.errors import RankLost
from tests.support.forked import CONTEXT
from tests.support.rank_processes import environments

SECONDS = 0.5
"""The longest wait for a rank."""
SLOW = 1.5 * SECONDS


def test_ranks_wait_for_work_and_not_for_ever_for_a_rank_that_takes_no_message() -> None:
    found, answers = CONTEXT.Pipe(duplex=False)
    ranks: list[Any] = [CONTEXT.Process(target=_rank, args=(each, answers)) for each in environments(2)]
    for each in ranks:
        each.start()
    try:
        assert found.poll(30.0), "rank 0 hangs"
        assert found.recv() == [b"early", b"late"], "the answers of a rank that is ready early, and late"
        assert found.poll(30.0), "rank 0 hangs"
        assert found.recv() == "lost", "the message was told to a rank that does not listen"
    finally:
        for each in ranks:
            each.kill()
            each.join()


def _rank(environment: Mapping[str, str], answers: Any) -> None:
    os.environ.update(environment)
    rank = int(environment["RANK"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process_group, "EXCHANGE_SECONDS", SECONDS)
        group = ProcessGroup.joined(rank, 2, rank)
        _talk(group, answers)


def _talk(group: ProcessGroup, answers: Any) -> None:
    group.sums([torch.ones(1)])
    if group.rank:
        # It waits for a late message, is ready before rank 0 and then after it, and hangs.
        assert group.heard() == b"late"
        group.answer(b"early")
        time.sleep(SLOW)
        group.answer(b"late")
        time.sleep(100.0)
    time.sleep(SLOW)
    group.tell(b"late")
    time.sleep(SLOW)
    (early,) = group.answers()
    (late,) = group.answers(work_seconds=SLOW)
    answers.send([early, late])
    try:
        group.tell(b"next")
        answers.send("told")
    except RankLost:
        answers.send("lost")
