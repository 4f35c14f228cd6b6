"""Where the ranks of a process come from, and what they can share."""

from pathlib import Path
from typing import Any

import pytest

from dregcli.app.common import ranks
from dregcli.app.common.ranks import Place, place_in, shared
from dregcli.app.studies.elsewhere import faults_of_place
from dregcli.app.studies.plan import plan_study
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.engine.execution import Execution
from dregcli.errors import SpecError, UsageError
from dregcli.names import Place as Where
from dregcli.names import Shard

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def test_the_place_is_that_of_the_launcher() -> None:
    assert place_in(TORCHRUN) == Place(rank=3, size=4, local=1)
    assert place_in({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert place_in({}) is None
    assert place_in({"WORLD_SIZE": "4"}) is None, "a scheduler's variable alone starts no ranks"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MASTER_PORT": ""}, "MASTER_PORT"),
        ({"RANK": "4"}, "RANK=4, WORLD_SIZE=4"),
        ({"RANK": "three"}, "RANK=three"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK=-1"),
    ],
)
def test_a_launcher_that_contradicts_itself_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        place_in({**TORCHRUN, **change})
    assert "torchrun --standalone" in str(raised.value)


def test_more_ranks_than_parts_are_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Three:
        rank, size = 1, 3

    group: Any = Three()
    assert shared(Execution(), Shard.SAMPLES, device="cpu", k=16, batch_size=1) == Execution()
    monkeypatch.setattr(ranks, "_joined", group)
    shares = shared(Execution(), Shard.SAMPLES, device="cpu", k=33, batch_size=1).shards
    assert shares is not None
    assert shares.own(k=33, examples=1) == (range(16, 32), range(1))
    with pytest.raises(SpecError, match="k: 3 ranks need at least 3 blocks of 16 samples, which K=32") as raised:
        shared(Execution(), Shard.SAMPLES, device="cpu", k=32, batch_size=64)
    assert "--shard batch" in str(raised.value)
    with pytest.raises(SpecError, match="batch-size: 3 ranks need at least 3 examples per step, got 2"):
        shared(Execution(), Shard.BATCH, device="cpu", k=64, batch_size=2)
    for word in ("cuda:1", "mps"):
        with pytest.raises(SpecError, match=f"device: 3 ranks cannot train on '{word}' together") as raised:
            shared(Execution(), Shard.SAMPLES, device=word, k=64, batch_size=3)
        assert "--device cuda" in str(raised.value)


def test_ranks_train_one_run_after_the_other_and_only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    group: Any = object()
    requests = {
        "jobs": TrainRequest({}, jobs=2),
        "on": TrainRequest({}, on=Where.SLURM),
        "one job": TrainRequest({}, jobs=1),
        "nothing": TrainRequest({}),
    }

    def refused() -> set[str]:
        faults = {name: faults_of_place(request) for name, request in requests.items()}
        return {name for name, each in faults.items() if any("several ranks" in fault.message for fault in each)}

    assert refused() == set()
    monkeypatch.setattr(ranks, "_joined", group)
    assert refused() == {"jobs", "on"}


def test_a_study_that_ranks_cannot_share_is_refused_before_its_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        rank, size = 0, 2

    group: Any = Two()
    monkeypatch.setattr(ranks, "_joined", group)
    with pytest.raises(SpecError, match="blocks of 16 samples, which K=8 does not have: start") as raised:
        plan_study(TrainRequest({"k": [32, 8], "steps": 4, "lr": -1.0}), Files({}, {}), Path("unused"))
    assert {fault.field for fault in raised.value.faults} >= {"lr"}, "all faults at once"
