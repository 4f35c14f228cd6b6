"""Real runs over several ranks: what they keep, how they stop, and what is left when one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dregcli.cli.main import main
from dregcli.errors import RankLost
from dregcli.names import RunStatus
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from tests.crash.harness import ENVIRONMENT, until
from tests.support.forked import Forked
from tests.support.rank_processes import ranks_of

PATIENCE = 120.0
STEPS = 120
BASE = (
    *("train", "--dataset", "digits", "--device", "cpu", "--name", "x", "--quiet", "--json", "--threads", "1"),
    *("--hidden", "16", "--latent-dim", "4", "--k", "48", "--batch-size", "6", "--backward", "dense"),
    *("--eval-every", "0", "--eval-k", "4", "--log-every", "5", "--checkpoint-every", "10"),
)


def train(root: Path, steps: int, *more: str) -> list[str]:
    return [*BASE, "--steps", str(steps), "--runs-dir", str(root), *more]


def only_run(root: Path) -> Run:
    (run,) = RunStore(root).runs()
    return run


def newest(root: Path) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    return max((step for run in RunStore(root).runs() for step in run.checkpoints()), default=0)


def assert_same(run: Run, alone: Run) -> None:
    """Weights, rows of metrics and final bounds differ by rounding alone."""
    mine, theirs = (each.load_checkpoint("last") for each in (run, alone))
    assert mine.step == theirs.step
    for name, tensor in theirs.model.items():
        torch.testing.assert_close(mine.model[name], tensor, rtol=1e-4, atol=1e-4)
    bounds = [each.info().summary["bounds"] for each in (run, alone)]
    for split, bound in bounds[1].items():
        assert bounds[0][split] == pytest.approx(bound, rel=1e-4)


@pytest.fixture(name="alone", scope="module")
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("alone")
    assert main(train(root, STEPS)) == 0
    return only_run(root)


@pytest.fixture(name="ended")
def _ended() -> Iterator[list[Forked]]:
    """Processes that are ended at the end of the test, if they have not ended by then."""
    started: list[Forked] = []
    yield started
    for each in started:
        if each.code is None:
            each.kill()


def test_a_run_over_ranks_stops_loses_a_rank_and_ends_alone(tmp_path: Path, alone: Run, ended: list[Forked]) -> None:
    """SIGTERM on two ranks, SIGKILL to one of three, and the rest in one process: the numbers of one process."""
    root = tmp_path / "runs"
    two = ranks_of(train(root, STEPS), 2, tmp_path / "two")
    ended += two
    assert until(two[0], lambda: newest(root) > 0), two[0].err
    for each in two:
        each.send(signal.SIGTERM)  # as torchrun does
    assert all(each.wait(PATIENCE) for each in two)
    assert [each.code for each in two] == [143, 0], two[0].err
    run, stopped = only_run(root), newest(root)
    assert run.status() is RunStatus.INTERRUPTED
    assert run.environment()["ranks"] == 2

    words = ["train", "--resume", str(run.path), "--shard", "batch", "--json"]
    three = ranks_of(words, 3, tmp_path / "three")
    ended += three
    assert until(three[0], lambda: newest(root) > stopped), three[0].err
    three[2].send(signal.SIGKILL)
    killed = time.monotonic()
    assert all(each.wait(30.0) for each in three), "it hangs"
    assert time.monotonic() - killed < 30.0
    assert [each.code for each in three] == [RankLost.exit_code, RankLost.exit_code, -signal.SIGKILL], three[0].err
    assert "3 ranks in place of 2: the run continues with equal numbers up to rounding" in three[0].err
    lost = run.info().summary["step"]
    assert run.status() is RunStatus.INTERRUPTED
    assert stopped < lost == newest(root) < STEPS, "the last whole step is kept"
    assert f"step {lost}" in three[0].err
    assert f"dreg train --resume {run.path}" in three[0].err
    silent = [(each.out, each.err) for each in (two[1], three[2])]
    assert silent == [("", "")] * 2, "rank 0 alone speaks"

    assert main(["train", "--resume", str(run.path), "--quiet", "--json"]) == 0
    assert_same(run, alone)


def test_torchrun_trains_a_study(tmp_path: Path) -> None:
    """The launcher itself, and two runs one after the other."""
    launcher = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "dregcli",
    )
    roots = [tmp_path / "ranks", tmp_path / "alone"]
    words, alone = (
        [word for word in train(root, 6, "--seeds", "3,4") if word not in ("--name", "x")] for root in roots
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*launcher, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE * 3)
    assert done.returncode == 0, done.stderr
    assert main(alone) == 0
    found, expected = ({run.name: run for run in RunStore(root).runs()} for root in roots)
    assert found.keys() == expected.keys()
    for name, run in expected.items():
        assert_same(found[name], run)
