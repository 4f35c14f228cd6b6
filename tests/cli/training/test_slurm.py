"""``dreg train --on slurm``: a study on a cluster that preempts its jobs and whose time is up."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dregcli.app.runs import watch
from dregcli.app.studies.claiming import find_or_claim
from dregcli.app.studies.repeats import key_of
from dregcli.app.studies.slurm import task
from dregcli.app.studies.slurm.arrays import read_order
from dregcli.app.studies.slurm.task import MOST_IDLE, run_task
from dregcli.errors import ClusterError
from dregcli.names import RunStatus
from dregcli.store.runs import RunStore
from tests.crash.harness import differences
from tests.support.cli import Outcome, run
from tests.support.fake_slurm import FakeSlurm, LeftBehind, variables_of
from tests.support.quick_training import each_step

STEPS = 300
TINY = (
    *("--k", 2, "--batch-size", 16, "--hidden", "8", "--latent-dim", 2, "--final-eval", "test", "--eval-every", 0),
    *("--seeds", "0-1", "--log-every", 50, "--checkpoint-every", 10, "--steps", STEPS),
    *("--threads", 1, "--capture", "none"),
)
ON_SLURM = ("--on", "slurm", "--slurm", "partition=gpu", "--slurm", "timeout_min=5", "--at-once", 1)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm.at(tmp_path / "cluster", monkeypatch)


@pytest.fixture
def _own_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A task in this process leaves its signals and its warnings as they were."""
    monkeypatch.setattr(task, "prepare_environment", lambda: None)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGXCPU)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def orders(root: Path) -> list[Path]:
    return sorted(root.glob(".slurm/*/orders/????.json"))


def until_done(cluster: FakeSlurm, job: str, start: Callable[[int], int]) -> list[int]:
    """Start a job as often as it asks for it, and return its exit codes; a task that ends unasked is left behind."""
    codes = [start(0)]
    while codes[-1] != 0:
        if not cluster.taken_from_queue(job):
            raise LeftBehind(codes)
        codes.append(start(len(codes)))
    return codes


def in_this_process(order: Path, job: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Return a function that starts a task in this process."""

    def start(restarts: int) -> int:
        with monkeypatch.context() as patch:
            for name, value in variables_of(job, restarts).items():
                patch.setenv(name, value)
            try:
                run_task(str(order))
            except SystemExit as ended:
                return int(str(ended.code))
        return 0

    return start


def handed_over(capsys, root: Path, *more: object) -> Outcome:
    return run(capsys, "train", *TINY, *ON_SLURM, "--runs-dir", root, *more)


@pytest.mark.usefixtures("_own_handlers")
def test_preempted_and_timed_out_tasks_end_with_the_weights_of_the_local_study(
    capsys, tmp_path, monkeypatch, cluster
) -> None:
    first = handed_over(capsys, tmp_path / "slurm")
    assert first.code == 0, first.err
    assert "study: 2 runs: 2 in the queue of the cluster" in first.out
    (script,) = cluster.scripts
    for line in ("array=0-1%1", "partition=gpu", "time=5", "requeue", "cpus-per-task=1", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in script

    timed_out, preempted = orders(tmp_path / "slurm")

    def timing_out(restarts: int) -> int:
        """On the first node the time is up: the warning comes, and SIGTERM right after it."""
        if restarts:
            return in_this_process(timed_out, "77_0", monkeypatch)(restarts)
        process = cluster.start("77_0", restarts)
        wait_for(lambda: any(each.checkpoints() for each in RunStore(tmp_path / "slurm").runs()))
        assert cluster.pid
        for number in (signal.SIGUSR2, signal.SIGTERM):
            os.kill(cluster.pid, number)
        return process.wait(timeout=120)

    assert until_done(cluster, "77_0", timing_out) == [143, 0]
    with monkeypatch.context() as patch:
        stopped_at(patch, 150)
        assert until_done(cluster, "77_1", in_this_process(preempted, "77_1", patch)) == [143, 0]

    local = run(capsys, "train", *TINY, "--runs-dir", tmp_path / "local")
    assert local.code == 0, local.err
    stores = RunStore(tmp_path / "slurm").runs(), RunStore(tmp_path / "local").runs()
    for one, other in zip(*stores, strict=True):
        lease = one.info().lease
        assert lease
        assert lease.generation == 2, "it was stopped once"
        assert differences(one, other) == []


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def order(capsys, tmp_path: Path, cluster: FakeSlurm) -> Path:
    """The order of the first of two tasks that were handed over."""
    assert handed_over(capsys, tmp_path / "runs").code == 0
    return orders(tmp_path / "runs")[0]


def stopped_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Every start gets SIGTERM at a step, if it comes there."""
    each_step(monkeypatch, lambda _, trainer: os.kill(os.getpid(), signal.SIGTERM) if trainer.step == step else None)


@pytest.mark.usefixtures("_own_handlers")
def test_a_task_that_only_ends_would_be_left_behind(tmp_path, monkeypatch, cluster, order) -> None:
    """The wrong twin of the test above: checkpoint and exit code alone."""
    stopped_at(monkeypatch, 3)
    monkeypatch.setattr(task, "_start_again", lambda *_: None)
    with pytest.raises(LeftBehind):
        until_done(cluster, "77_0", in_this_process(order, "77_0", monkeypatch))
    (found,) = RunStore(tmp_path / "runs").runs()
    assert (found.status(), found.checkpoints()) == (RunStatus.INTERRUPTED, [3])


@pytest.mark.usefixtures("_own_handlers")
def test_a_cancelled_task_does_not_start_again_and_the_same_command_hands_it_over_anew(
    capsys, tmp_path, monkeypatch, cluster, order
) -> None:
    cluster.say("shown", "JobId=77 JobState=COMPLETING Reason=None")
    cluster.say("ended", "CANCELLED by 1000")
    with monkeypatch.context() as patch:
        stopped_at(patch, 3)
        assert in_this_process(order, "77_0", patch)(0) == 143
    assert not cluster.taken_from_queue("77_0")
    assert "SLURM ends job 77_0" in capsys.readouterr().out
    cluster.say("queue", "77_1\n99_4")
    again = handed_over(capsys, tmp_path / "runs")
    assert again.code == 0, again.err
    assert "seed 1: in the queue as job 77_1 of SLURM" in again.err
    assert "handed over to SLURM: 1 run, as job 78; logs: " in again.err
    assert "--array" not in cluster.scripts[1], "one run is a job, and no array"


def test_a_run_that_another_process_is_about_to_train_is_left_to_it(capsys, tmp_path, cluster, order) -> None:
    find_or_claim(RunStore(tmp_path / "runs"), key_of(read_order(order).spec))
    cluster.say("queue", "77_1")
    again = handed_over(capsys, tmp_path / "runs", "--json")
    assert again.code == 0, again.err
    assert [each["status"] for each in again.json["runs"]] == ["running", "queued"]
    assert len(cluster.scripts) == 1


@pytest.mark.usefixtures("_own_handlers")
def test_a_run_without_progress_is_not_started_again_for_ever(capsys, monkeypatch, cluster, order) -> None:
    stopped_at(monkeypatch, 3)
    start = in_this_process(order, "77_0", monkeypatch)
    assert start(0) == 143
    stopped_at(monkeypatch, 3)  # no start comes beyond it

    def stop_at_once(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dregcli.app.studies.worker.carry_out", stop_at_once)
    asked = [cluster.taken_from_queue("77_0")]
    for restarts in range(1, MOST_IDLE + 1):
        assert start(restarts) == 143
        asked.append(cluster.taken_from_queue("77_0"))
    assert asked == [True] * MOST_IDLE + [False]
    assert f"no progress in {MOST_IDLE} starts in a row" in capsys.readouterr().out


def test_watching_goes_on_while_runs_are_in_the_queue(capsys, tmp_path, monkeypatch, cluster, order) -> None:
    """Pauses between two tasks of an array are longer than those between two runs of a local study."""
    looks: list[float] = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 30:
            cluster.say("queue", "99_1")

    cluster.say("queue", "77_1")
    monkeypatch.setattr(watch.watch, "__kwdefaults__", {**watch.watch.__kwdefaults__, "wait": wait})
    watched = run(capsys, "report", "--watch", "--runs-dir", tmp_path / "runs")
    assert "runs wait in the queue of SLURM" in watched.err
    assert 30 < len(looks) < 40
    named = run(capsys, "report", "--watch", "--runs-dir", tmp_path)
    assert "queue" not in named.err


def test_a_dry_run_shows_the_array_and_hands_nothing_over(capsys, tmp_path, cluster) -> None:
    def dry(*words: object) -> Outcome:
        return handed_over(capsys, tmp_path / "runs", "--dry-run", *words)

    shown = dry()
    assert "2 new" in shown.out
    for told in (
        "SLURM would get 2 tasks",
        "partition=gpu",
        "timeout_min=5",
        "cpus_per_task=1",
        "array_parallelism=1",
    ):
        assert told in shown.out
    assert cluster.scripts == []
    assert orders(tmp_path / "runs") == []
    assert handed_over(capsys, tmp_path / "runs").code == 0
    cluster.say("queue", "77_0")
    queued, new = dry("--json").json["elsewhere"]
    assert queued == "In SLURM's queue already: 1."
    assert new.startswith("SLURM would get 1 task ")


def test_what_slurm_refuses_is_told_and_leaves_nothing(capsys, tmp_path, cluster) -> None:
    cluster.say("refuse", "sbatch: error: invalid partition specified: gpu")
    refused = handed_over(capsys, tmp_path / "runs")
    assert refused.code == ClusterError.exit_code
    assert "sbatch: error: invalid partition specified: gpu" in refused.err
    assert orders(tmp_path / "runs") == []
    (cluster.home / "refuse").unlink()
    assert handed_over(capsys, tmp_path / "runs").code == 0
    cluster.say("silent", "")
    assert handed_over(capsys, tmp_path / "runs").code == ClusterError.exit_code
    assert len(cluster.scripts) == 1, "runs that may be in the queue are not handed over twice"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--at-once", 0), "at-once: must be at least 1, got 0."),
        (("--jobs", 2), "jobs: is about runs on this machine, and cannot be given with --on slurm."),
        (("--slurm", "partion=gpu"), "slurm: no setting is called 'partion'. Did you mean 'partition'?"),
        (("--slurm", "gpu"), "slurm: must be NAME=VALUE, such as partition=gpu, got 'gpu'."),
        (("--slurm", "timeout_min=4h"), "slurm: timeout_min must be a whole number, at least 1, got '4h'."),
        (("--slurm", "timeout_min=1"), "slurm: timeout_min=1 leaves no time to train"),
        (("--slurm", "array_parallelism=3"), "slurm: array_parallelism is set by --at-once."),
        (("--slurm", "qos=a", "--slurm", "qos=b"), "slurm: qos is given twice."),
        (("--resume", "x"), "--on slurm cannot be given with --resume"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(capsys, tmp_path, cluster, words, told) -> None:
    outcome = run(capsys, "train", "--on", "slurm", *words, "--runs-dir", tmp_path / "runs")
    assert outcome.code == 2, outcome.err
    assert told in outcome.err
    assert not (tmp_path / "runs").exists()
    assert cluster.scripts == []


def test_all_that_is_missing_is_told_at_once(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dregcli.app.studies.slurm.launcher.find_spec", lambda _: None)
    outcome = run(capsys, "train", "--on", "slurm", "--k", 0, "--at-once", 0)
    assert outcome.code == 2
    for told in (
        "this host does not have SLURM's sbatch, srun, squeue and scontrol",
        "--jobs",
        "pip install -e '.[slurm]'",
        "at-once: must be at least 1",
        "k: must be at least 1, got 0.",
    ):
        assert told in outcome.err


@pytest.mark.parametrize(
    ("words", "device", "gpus"),
    [
        ((), "cpu", 0),
        (("--slurm", "gpus_per_node=2"), "cuda", 2),
        (("--device", "cuda"), "cuda", 1),
        (("--device", "cpu", "--slurm", "gres=gpu:1"), "cpu", 0),
    ],
)
def test_the_device_is_that_of_the_jobs_and_not_of_the_host_that_hands_over(
    capsys, tmp_path, monkeypatch, cluster, words, device, gpus
) -> None:
    """A host on which people log in has no GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = handed_over(capsys, tmp_path / "runs", *words)
    assert outcome.code == 0, outcome.err
    assert {read_order(path).spec.device for path in orders(tmp_path / "runs")} == {device}
    (script,) = cluster.scripts
    assert (f"--gpus-per-node={gpus}\n" in script) is (gpus > 0)
    assert ("leaves it idle" in outcome.err) is ("gres=gpu:1" in words)
    alone = run(capsys, "train", "--on", "slurm", *words, "--print-config", "--json")
    assert alone.json["device"] == device, alone.err


def test_options_of_a_cluster_need_one(capsys) -> None:
    outcome = run(capsys, "train", "--at-once", 4, "--slurm", "partition=gpu")
    assert outcome.code == 2
    assert "at-once: needs --on slurm or --on ray." in outcome.err
    assert "slurm: needs --on slurm." in outcome.err
