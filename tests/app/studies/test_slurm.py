"""What a study tells submitit and SLURM, and what it makes of their answers."""

import inspect
from functools import partial
from pathlib import Path

import pytest
import submitit
from submitit.slurm.slurm import _make_sbatch_string  # pyright: ignore[reportPrivateUsage]

from dregcli.app.studies.plan import plan_study
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.app.studies.slurm import queue
from dregcli.app.studies.slurm.arrays import new_array
from dregcli.app.studies.slurm.launcher import Slurm
from dregcli.app.studies.slurm.settings import COMMON, SETTINGS, of_submitit, parse
from dregcli.app.studies.slurm.task import run_task
from dregcli.app.studies.worker import Order
from dregcli.errors import ClusterError
from dregcli.names import Place, RunStatus
from dregcli.store.job import Job
from dregcli.store.runs import RunStore
from tests.support.fake_slurm import FakeSlurm

JOB = Job("77", "0", 0, None)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(queue.time, "sleep", lambda _: None)
    return FakeSlurm.at(tmp_path / "cluster", monkeypatch)


@pytest.mark.parametrize(
    ("shown", "ended", "asks"),
    [
        ("JobState=RUNNING Reason=None", None, True),
        ("JobState=TIMEOUT Reason=TimeLimit", None, True),
        ("JobState=COMPLETING Reason=TimeLimit", None, True),
        ("JobState=PREEMPTED Reason=None", None, True),
        ("JobState=CANCELLED Reason=None", None, False),
        ("JobState=COMPLETING Reason=None", "CANCELLED by 1000", False),
        ("JobState=COMPLETING Reason=None", "PREEMPTED", True),
        ("JobState=COMPLETING Reason=None", "REQUEUED", False),
        ("JobState=COMPLETING Reason=None", "RUNNING", False),
        ("JobState=COMPLETING Reason=None", None, False),
        ("slurm_load_jobs error: Invalid job id specified", None, False),
    ],
)
def test_a_job_asks_to_start_again_unless_it_was_cancelled_or_slurm_does_it(cluster, shown, ended, asks) -> None:
    cluster.say("shown", f"JobId=77 ArrayJobId=77 JobName=dreg {shown} Dependency=(null)")
    if ended:
        cluster.say("ended", ended)
    assert queue.must_ask(JOB) is asks


def test_a_command_of_slurm_that_fails_or_is_missing_is_an_error(tmp_path, monkeypatch, cluster) -> None:
    cluster.say("silent", "")
    with pytest.raises(ClusterError, match="squeue failed: it printed nothing"):
        queue.in_queue()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"scontrol failed: .*No such file"):
        queue.start_again(JOB)


def test_every_setting_is_one_of_submitits(tmp_path) -> None:
    accepted = set(inspect.signature(_make_sbatch_string).parameters)
    assert set(SETTINGS) - set(COMMON) <= accepted
    values = {
        "timeout_min": "7",
        "mem_gb": "1.5",
        "cpus_per_task": "2",
        "gpus_per_node": "1",
        "setup": "module load x",
    }
    settings, faults = parse(f"{name}={value}" for name, value in values.items())
    assert faults == []
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="debug")
    executor.update_parameters(**of_submitit(settings, at_once=3, threads=4, gpu=True))


def test_a_job_has_the_cores_of_its_runs_threads_and_the_other_way_round() -> None:
    of = partial(of_submitit, at_once=None, threads=3)
    assert of({}, gpu=False)["cpus_per_task"] == 3
    assert of({"cpus_per_task": 8}, gpu=False)["cpus_per_task"] == 8
    assert "gpus_per_node" not in of({}, gpu=False)
    assert of({}, gpu=True)["gpus_per_node"] == 1
    assert "gpus_per_node" not in of({"gres": "gpu:a100:1"}, gpu=True)
    request = TrainRequest({}, on=Place.SLURM, slurm=["cpus_per_task=8"])
    assert (Slurm().threads(request), Slurm().threads(TrainRequest({}, on=Place.SLURM))) == (8, 1)


def test_submitits_local_executor_carries_out_an_order(tmp_path) -> None:
    small = {"k": 2, "steps": 3, "hidden": (4,), "latent_dim": 2, "final_eval": "none", "eval_every": 0}
    request = TrainRequest({**small, "device": "cpu", "backward": "dense", "threads": 1}, on=Place.SLURM)
    (one,) = plan_study(request, Files({}, {}), tmp_path).combinations
    order = Order("run 1 of 1", one.spec, one.warnings, one.free, "x", tmp_path / "runs", tmp_path, ("dreg",))
    store = RunStore(tmp_path / "runs")
    array, paths = new_array(store, [order])
    (job,) = submitit.AutoExecutor(folder=array.jobs, cluster="local").map_array(run_task, [str(paths[0])])
    assert job.result() is None
    (run,) = store.runs()
    assert run.status() is RunStatus.COMPLETED
    assert f"trained: {run.key}" in (job.stdout() or "")
