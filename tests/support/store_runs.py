"""Small runs for the tests of the store."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import torch
from torch import Tensor

from dregcli.filesystem import FileSystem
from dregcli.store.records import Clock
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter
from tests.support.store_faults import CountingFileSystem

SPEC = {"objective": "iwae", "k": 64, "lr": 0.1 + 0.2, "seed": 7}
ENVIRONMENT = {"python": "3.11", "threads": 2}


class FakeClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.seconds = 0.0

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, monotonic=lambda: self.seconds)


def claim(root: Path, name: str = "digits", fs: FileSystem | None = None) -> RunWriter:
    """A run in this process; without ``fs``, on the real disk but for the fsyncs."""
    return RunStore(root, fs or CountingFileSystem()).claim(name, spec=SPEC, environment=ENVIRONMENT)


def tensors(step: int) -> dict[str, Tensor]:
    return {"weight": torch.full((3, 2), float(step)), "count": torch.tensor(step)}


def train(writer: RunWriter, first: int, last: int) -> None:
    for step in range(first, last + 1):
        writer.append("train", {"step": step, "bound": -step / 3})


def save(writer: RunWriter, step: int, *, best: bool = False) -> None:
    model, optimizer = tensors(step), {"moment": torch.arange(4.0) * step}
    about, data = {"model": "vae"}, {"mean": torch.ones(2)}
    state = {"step": step}
    writer.save_checkpoint(step, model=model, optimizer=optimizer, state=state, about=about, data=data, best=best)


def train_steps(run: Run) -> list[int]:
    return run.metrics("train")["step"].tolist() if run.all_metrics() else []


def dead_process(code: str, *arguments: str) -> None:
    """Runs Python code in a process of its own that must kill itself with SIGKILL."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    assert done.returncode == -9


# To be followed by what the process does before it dies: ``writer`` is its run, digits/v001 of the store argv[1].
CLAIMING = """
import os, signal, sys
from pathlib import Path
from dregcli.store.runs import RunStore
writer = RunStore(Path(sys.argv[1])).claim("digits", spec={"k": 1}, environment={})
"""
DYING = "\nos.kill(os.getpid(), signal.SIGKILL)\n"


def killed_run(root: Path, doing: str = "") -> Run:
    """A run whose writer was killed with SIGKILL after ``doing``."""
    dead_process(CLAIMING + doing + DYING, str(root))
    return RunStore(root).resolve("digits")[-1]
