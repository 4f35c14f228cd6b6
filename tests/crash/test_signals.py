"""Signals to the real command, and real processes that want the same run."""

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
from tests.crash.harness import ENVIRONMENT, NAME, command, differences, only_run, resume_command
from tests.support.store_faults import temporaries

PATIENCE = 60.0


def _started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.002)


def _checkpoint(root: Path, step: int) -> Path:
    return root / NAME / "v001" / layout.CHECKPOINTS_FOLDER / layout.step_name(step)


@pytest.mark.parametrize(
    ("number", "code", "variant"), [(signal.SIGINT, 130, "tracking"), (signal.SIGTERM, 143, "dreg-cv")]
)
def test_a_signal_keeps_a_checkpoint_and_the_run_goes_on_bit_for_bit(
    references: dict[str, Run], tmp_path: Path, number: signal.Signals, code: int, variant: str
) -> None:
    process = _started(command(tmp_path, variant))
    _wait_for(_checkpoint(tmp_path, 50), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    assert f"dreg train --resume {tmp_path / NAME / 'v001'}" in err
    run = only_run(tmp_path)
    info = run.info()
    assert info.status is RunStatus.INTERRUPTED
    assert run.checkpoints()[-1] == info.summary["step"] < 240
    assert verify_run(run) == []
    subprocess.run(resume_command(tmp_path), env=ENVIRONMENT, check=True, capture_output=True)
    assert differences(run, references[variant]) == []


def test_a_second_signal_ends_the_command_at_once(tmp_path: Path) -> None:
    process = _started(command(tmp_path, "dense"))
    _wait_for(_checkpoint(tmp_path, 25), process)
    # Stopped while both arrive, so that the first cannot have done its work before the second.
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    # Whichever came to be handled first; by the first alone where the command was quicker.
    assert process.returncode in (130, 143, -signal.SIGTERM)
    run = only_run(tmp_path)
    assert run.status() in (RunStatus.CRASHED, RunStatus.INTERRUPTED)
    assert [finding for finding in verify_run(run) if finding.kind == "fault"] == []
    assert run.load_checkpoint("last").skipped == ()


def test_of_two_resumes_one_wins_and_the_other_says_who_holds_it(references: dict[str, Run], tmp_path: Path) -> None:
    process = _started(command(tmp_path, "dense"))
    _wait_for(_checkpoint(tmp_path, 25), process)
    process.kill()
    process.communicate()
    both = [_started(resume_command(tmp_path)) for _ in range(2)]
    ends = [(each.communicate(timeout=PATIENCE), each.returncode, each.pid) for each in both]
    won = [pid for _, code, pid in ends if code == 0]
    lost = [(streams[1], code) for streams, code, _ in ends if code != 0]
    assert len(won) == 1
    ((err, code),) = lost
    assert code == 14
    # It may be told of a run that the winner has finished meanwhile.
    assert f"is being written by process {won[0]}" in err or "completed" in err
    run = only_run(tmp_path)
    assert differences(run, references["dense"]) == []
    assert not temporaries(tmp_path)


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
