"""``dreg train --on ray``: the runs of a study as tasks of a Ray cluster, here one in this process.

``tests/benchmarks/ray_cluster.py`` does the same with real nodes.
"""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from dregcli.app.studies import side_by_side, study
from dregcli.app.studies.ray import cluster, launcher, task
from dregcli.errors import ClusterError, StoreWriteError
from dregcli.names import RunStatus
from dregcli.store.job import Job, JobKind
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.cli import run
from tests.support.fake_ray import FakeRay

SMALL = (
    *("--k", 2, "--batch-size", 16, "--hidden", "8", "--latent-dim", 2, "--final-eval", "test", "--eval-every", 0),
    *("--log-every", 5, "--checkpoint-every", 20),
)
TINY = (*SMALL, "--seeds", "0-2")
LOST = (*SMALL, "--seeds", "0", "--steps", 120)


def test_a_node_is_lost_and_its_run_goes_on_elsewhere_at_once_bit_for_bit(capsys, tmp_path, monkeypatch) -> None:
    assert run(capsys, "train", *LOST, "--runs-dir", tmp_path / "local", "--quiet").code == 0
    ray, on_termination = FakeRay(monkeypatch, loses_at=20), signal.getsignal(signal.SIGTERM)
    outcome = run(capsys, "train", *LOST, "--on", "ray", "--json")
    assert outcome.code == 0, outcome.err
    assert [each["status"] for each in outcome.json["runs"]] == ["completed"]
    (local,), (beside,) = (RunStore(tmp_path / name).runs() for name in ("local", "runs"))
    assert differences(local, beside) == []
    assert [each.starts for each in ray.tasks] == [2]
    (again,) = (line for line in outcome.err.splitlines() if "Ray lost it on node" in line)
    assert again.endswith(f"on node {ray.tasks[0].host}")
    assert "resuming" in outcome.err
    info = beside.info()
    assert info.lease
    assert (info.lease.generation, info.lease.host) == (2, ray.tasks[0].host)
    assert info.lease.job
    assert (info.lease.job.kind, info.lease.job.id, info.lease.job.restarts) == (JobKind.RAY, "task0", 1)
    assert (ray.address, ray.connected) == ("auto", False)
    assert signal.getsignal(signal.SIGTERM) is on_termination
    assert [each.options["num_cpus"] for each in ray.tasks] == [1]
    assert not [*(tmp_path / "runs").glob(".*.tmp")]


def test_a_task_that_does_not_know_its_job_would_wait_for_the_dead_one(capsys, monkeypatch) -> None:
    FakeRay(monkeypatch, loses_at=20)
    monkeypatch.setattr(Job, "variables", {})

    def waits(*_: object) -> None:
        raise ClusterError("waits")

    monkeypatch.setattr(study._Study, "_ended", waits)
    outcome = run(capsys, "train", *LOST, "--on", "ray")
    assert outcome.code == ClusterError.exit_code, outcome.err
    assert "is being written by" in outcome.err


def test_ctrl_c_stops_all_with_checkpoints_and_a_waiting_task_never_begins(capsys, tmp_path, monkeypatch) -> None:
    ray = FakeRay(monkeypatch)
    passing_on, heard = side_by_side._pass_on, set[int]()

    def passed_on(message, running, listener, *, stopping) -> None:
        passing_on(message, running, listener, stopping=stopping)
        if "update" in message:
            heard.add(id(running))
            if len(heard) == 2 and not stopping:
                os.kill(os.getpid(), signal.SIGINT)
                heard.clear()

    monkeypatch.setattr(side_by_side, "_pass_on", passed_on)
    outcome = run(capsys, "train", *TINY, "--steps", 1_000_000, "--on", "ray")
    assert outcome.code == 130, outcome.err
    runs = RunStore(tmp_path / "runs").runs()
    assert [each.status() for each in runs] == [RunStatus.INTERRUPTED] * 2
    steps = [each.load_checkpoint("last").step for each in runs]
    assert all(f"{each.path}, step {step}" in outcome.err for each, step in zip(runs, steps, strict=True))
    assert "Stopped by SIGINT; what the 2 runs in progress had done is kept." in outcome.err
    assert [each.starts for each in ray.tasks] == [1, 1, 0]
    assert "run 3 of 3" not in outcome.err


def test_a_node_without_the_store_trains_nothing(capsys, tmp_path, monkeypatch) -> None:
    FakeRay(monkeypatch, nodes=1)
    monkeypatch.setattr(task, "PATIENCE_SECONDS", 0.0)

    @contextmanager
    def elsewhere(store: RunStore):
        yield store.root / "mark"

    monkeypatch.setattr(launcher, "marked", elsewhere)
    outcome = run(capsys, "train", *TINY, "--steps", 20, "--on", "ray", "--at-once", 1)
    assert outcome.code == StoreWriteError.exit_code, outcome.err
    assert "Node node0 of the Ray cluster does not see this folder of runs." in outcome.err
    assert f"where: {tmp_path / 'runs'}" in outcome.err
    assert "--runs-dir FOLDER" in outcome.err
    assert RunStore(tmp_path / "runs").runs() == []


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("auto", "This process cannot join the Ray cluster 'auto': No cluster."),
        ("127.0.0.1:1", "answers at 127.0.0.1:1"),
    ],
)
def test_no_cluster(capsys, tmp_path, monkeypatch, address: str, told: str) -> None:
    FakeRay(monkeypatch, refuses=ConnectionError("No cluster. Please specify one"))
    outcome = run(capsys, "train", *TINY, "--on", "ray", "--ray-address", address)
    assert outcome.code == ClusterError.exit_code
    assert told in outcome.err
    assert "ray start --head" in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--on", "ray", "--jobs", 2), ["jobs: is about runs on this machine, and cannot be given with --on ray."]),
        (("--ray-address", "auto"), ["ray-address: needs --on ray."]),
        (("--at-once", 0), ["at-once: must be at least 1, got 0."]),
        (("--on", "ray", "--ray-address", "local"), ["ray-address: 'local' would be a new cluster"]),
        (
            ("--on", "ray", "--ray-address", "ray://a:1", "--k", 0),
            ["HOST:PORT, got 'ray://a:1'", "k: must be at least 1"],
        ),
        (("--on", "ray", "--ray-address", "a"), ["ray-address: must be auto or HOST:PORT, got 'a'."]),
    ],
)
def test_what_cannot_be_is_told_before_any_work(capsys, tmp_path, monkeypatch, words, told) -> None:
    FakeRay(monkeypatch)
    outcome = run(capsys, "train", *TINY, *words)
    assert outcome.code == 2, outcome.err
    assert all(outcome.err.count(each) == 1 for each in told), outcome.err
    assert not (tmp_path / "runs").exists()


def test_without_ray_its_extra_is_named(capsys, monkeypatch) -> None:
    monkeypatch.setattr(launcher, "find_spec", lambda _: None)
    outcome = run(capsys, "train", *TINY, "--on", "ray")
    assert outcome.code == 2
    assert "on: ray needs Ray: in your clone of dreg: pip install -e '.[ray]'" in outcome.err


def test_a_dry_run_says_what_ray_would_get(capsys, tmp_path, monkeypatch) -> None:
    ray = FakeRay(monkeypatch, refuses=ConnectionError("A dry run needs no cluster."))
    outcome = run(capsys, "train", *TINY, "--on", "ray", "--threads", 2, "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "Ray would get 3 tasks, each with 2 CPUs." in outcome.out + outcome.err
    assert ray.tasks == []
    assert not (tmp_path / "runs").exists()


def test_runs_that_fit_on_no_node_are_told(capsys, monkeypatch) -> None:
    FakeRay(monkeypatch)

    def never(*_: object, **__: object) -> None:
        raise ClusterError("enough")

    monkeypatch.setattr(launcher, "carried_out", never)
    outcome = run(capsys, "train", *TINY, "--threads", 3, "--on", "ray")
    assert "no node of the cluster has the 3 CPUs that a run takes (the most is 1 CPU)" in outcome.err
    assert "no node" not in run(capsys, "train", *TINY, "--threads", 1, "--on", "ray").err


def test_a_lost_node_that_speaks_after_its_task_was_given_up_is_not_heard(tmp_path, monkeypatch) -> None:
    tasks = cluster.Tasks(FakeRay(monkeypatch), tmp_path)
    tasks.close()
    tasks._box.begin.remote(7, "node7")
    tasks._look()  # an error here would end all tasks
    assert tasks._box.take.remote() == []


def test_a_store_is_recognised_by_a_file_that_no_reader_sees(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    with cluster.marked(store) as mark:
        assert mark.exists()
        assert mark.is_absolute()
        assert store.runs() == []
    assert not mark.exists()
