"""Signals to the real command, and real processes that want the same run.

SIGINT goes to a process that was started as a user starts one; the other processes are forked with torch imported.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dregcli.names import RunStatus
from dregcli.store import layout
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.verify import verify_run
from tests.crash.harness import ENVIRONMENT, NAME, STEPS, command, differences, only_run, resume_command, until
from tests.support.forked import Forked
from tests.support.store_faults import temporaries

PATIENCE = 60.0


def _wait_for(path: Path, process: Forked) -> None:
    assert until(process, path.exists), process.err


def _checkpoint(root: Path, step: int) -> Path:
    return root / NAME / "v001" / layout.CHECKPOINTS_FOLDER / layout.step_name(step)


def _interrupted_when_fresh(root: Path, variant: str) -> tuple[int | None, str]:
    words = [sys.executable, "-m", "dregcli", *command(root, variant)]
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + PATIENCE
    while not _checkpoint(root, 50).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def _terminated_when_forked(root: Path, variant: str) -> tuple[int | None, str]:
    process = Forked(command(root, variant), root.with_name("output"))
    _wait_for(_checkpoint(root, 50), process)
    process.send(signal.SIGTERM)
    assert process.wait(PATIENCE)
    return process.code, process.err


@pytest.mark.parametrize(
    ("stopped", "expected", "variant"),
    [(_interrupted_when_fresh, 130, "tracking"), (_terminated_when_forked, 143, "dreg-cv")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_keeps_a_checkpoint_and_the_run_goes_on_bit_for_bit(
    references: dict[str, Run], tmp_path: Path, stopped, expected: int, variant: str
) -> None:
    root = tmp_path / "runs"
    code, err = stopped(root, variant)
    assert code == expected, err
    assert f"dreg train --resume {root / NAME / 'v001'}" in err
    run = only_run(root)
    info = run.info()
    assert info.status is RunStatus.INTERRUPTED
    assert run.checkpoints()[-1] == info.summary["step"] < STEPS
    assert verify_run(run) == []
    resumed = Forked(resume_command(root), tmp_path / "output")
    assert resumed.wait(PATIENCE)
    assert resumed.code == 0, resumed.err
    assert differences(run, references[variant]) == []


def test_a_second_signal_ends_the_command_at_once(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    process = Forked(command(root, "dense"), tmp_path / "output")
    _wait_for(_checkpoint(root, 25), process)
    # Stopped while both arrive, so that the first cannot have done its work before the second.
    process.send(signal.SIGSTOP)
    process.send(signal.SIGINT)
    process.send(signal.SIGCONT)
    time.sleep(0.001)
    process.send(signal.SIGTERM)
    assert process.wait(PATIENCE)
    # Whichever came to be handled first; by the first alone where the command was quicker.
    assert process.code in (130, 143, -signal.SIGTERM)
    run = only_run(root)
    assert run.status() in (RunStatus.CRASHED, RunStatus.INTERRUPTED)
    assert [finding for finding in verify_run(run) if finding.kind == "fault"] == []
    assert run.load_checkpoint("last").skipped == ()


def test_of_two_resumes_one_wins_and_the_other_says_who_holds_it(references: dict[str, Run], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    process = Forked(command(root, "dense"), tmp_path / "output")
    _wait_for(_checkpoint(root, 25), process)
    process.kill()
    both = [Forked(resume_command(root), tmp_path / f"output-{number}") for number in range(2)]
    assert all(each.wait(PATIENCE) for each in both)
    won = [each for each in both if each.code == 0]
    lost = [each for each in both if each.code != 0]
    assert len(won) == 1
    assert lost[0].code == 14
    # The loser may find a run that the winner has finished meanwhile.
    assert f"is being written by process {won[0].pid}" in lost[0].err or "completed" in lost[0].err
    run = only_run(root)
    assert differences(run, references["dense"]) == []
    assert not temporaries(root)


CLAIMERS = 50
_CLAIM_TOGETHER = """
import os, sys
from pathlib import Path
from dregcli.store.runs import RunStore
ready, go = os.pipe()
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        os.close(go)
        os.read(ready, 1)  # until the parent closes its end: then all at once
        RunStore(Path(sys.argv[1])).claim("x", spec={"pid": os.getpid()}, environment={})
        os._exit(0)
os.close(ready)
os.close(go)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(int(sys.argv[2]))]
raise SystemExit(any(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here, so that fifty start at once")
def test_fifty_processes_that_start_the_same_name_get_fifty_versions(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _CLAIM_TOGETHER, str(tmp_path), str(CLAIMERS)], check=True, timeout=PATIENCE
    )
    runs = RunStore(tmp_path).runs()
    assert [run.version for run in runs] == list(range(1, CLAIMERS + 1))
    assert len({run.spec()["pid"] for run in runs}) == CLAIMERS
    assert {run.status() for run in runs} == {RunStatus.CRASHED}
    assert not temporaries(tmp_path)
