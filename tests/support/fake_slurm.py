"""A cluster of SLURM on this machine: its commands as shell scripts, and what its daemons do as methods."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCRIPTS: Final = {
    "sbatch": """
        [ -e refuse ] && { cat refuse >&2; exit 1; }
        n=$(ls | grep -c script-); cp "$1" script-$((n + 77)); echo "Submitted batch job $((n + 77))"
    """,
    "srun": """
        while true; do case "$1" in
            --output) out=$2; shift 2;; --error) err=$2; shift 2;; --*) shift;; *) break;;
        esac; done
        ids="s/%A/$SLURM_ARRAY_JOB_ID/;s/%a/$SLURM_ARRAY_TASK_ID/;s/%j/$SLURM_JOB_ID/;s/%t/0/"
        out=$(echo "$out" | sed "$ids"); err=$(echo "$err" | sed "$ids")
        echo $$ > pid; exec "$@" >> "$out" 2>> "$err"
    """,
    "squeue": "[ -e silent ] && exit 1; cat queue 2> /dev/null; exit 0",
    "scontrol": """
        case "$*" in
            "--oneliner show job "*) cat shown 2> /dev/null || echo "JobId=7 JobState=RUNNING Reason=None";;
            "requeue "*) echo "$2" >> requeued;;
            *) echo "scontrol: unknown words: $*" >&2; exit 1;;
        esac
    """,
    "sacct": "cat ended 2> /dev/null",
}
"""The commands, each of which works in the folder of the cluster; ``srun`` gives way to the program."""


class LeftBehind(AssertionError):
    """A task has ended without its run, and is not in the queue: a real cluster would never start it again."""


@dataclass
class FakeSlurm:
    """A cluster.

    Args:
        home: its folder: ``queue`` is what squeue shows, ``shown`` what scontrol shows of a job, ``ended`` what sacct
            shows; ``requeued`` has a line for each job that is to be started again.
        environment: the variables of its programs.
    """

    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, home: Path, monkeypatch: Any) -> "FakeSlurm":
        """Make a cluster whose commands are found first, in this process too."""
        folder = home / "bin"
        folder.mkdir(parents=True)
        for name, script in SCRIPTS.items():
            path = folder / name
            path.write_text(f"#!/bin/sh\nhere=$PWD; cd {home}\n{script}\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        root = str(Path(__file__).parents[2])
        return cls(home, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "PYTHON": sys.executable})

    def say(self, name: str, text: str) -> None:
        (self.home / name).write_text(f"{text}\n")

    @property
    def scripts(self) -> list[str]:
        """The scripts that sbatch got."""
        return [path.read_text() for path in sorted(self.home.glob("script-*"))]

    def taken_from_queue(self, job: str) -> bool:
        """Whether a job has asked to be started again; it may ask anew afterwards."""
        path = self.home / "requeued"
        asked = path.read_text().split() if path.exists() else []
        path.write_text("")
        assert asked in ([], [job])
        return asked == [job]

    def start(self, job: str, restarts: int) -> "subprocess.Popen[bytes]":
        """Start a job as the daemon of a node does; its program is ``self.pid``."""
        (self.home / "pid").unlink(missing_ok=True)
        script = self.home / f"script-{job.partition('_')[0]}"
        variables = self.environment | variables_of(job, restarts)
        assert "#SBATCH --array=0-" in script.read_text()
        return subprocess.Popen(["bash", str(script)], env=variables)

    @property
    def pid(self) -> int | None:
        """The process of the job that was started last; None until it is there."""
        path = self.home / "pid"
        return int(path.read_text() or 0) or None if path.exists() else None


def variables_of(job: str, restarts: int) -> dict[str, str]:
    """What SLURM tells a task of an array in its environment."""
    array, task = job.split("_")
    found = {"SLURM_JOB_ID": str(int(array) + int(task)), "SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": task}
    return found | ({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {})
