"""Writes the store in ``format-1/``: run by the last version that wrote format 1, at commit 3804b5f.

    git worktree add ../old 3804b5f && PYTHONPATH=../old python tests/store/old/write_format_1.py format-1

A completed run with two checkpoints, an evaluation, a bias check and a figure; one that was interrupted; and one that
was killed after a checkpoint, with metrics past it.
"""

import os
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from dregcli.names import RunStatus
from dregcli.store.records import Clock
from dregcli.store.runs import RunStore
from dregcli.store.writer import RunWriter

SPEC = {"objective": "iwae", "estimator": "dreg", "k": 8, "lr": 0.1 + 0.2, "seed": 7, "steps": 20}
ENVIRONMENT = {"encoding-type": "environment", "encoding-version": "1", "threads": 2}
FIGURE = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


def rows(writer: RunWriter, first: int, last: int) -> None:
    for step in range(first, last + 1):
        writer.append("train", {"step": step, "bound": -100.0 / step, "ess": 1.0 + step / 7})
    writer.append("valid", {"step": last, "bound": -99.0 / last, "stderr": float("nan")})


def checkpoint(writer: RunWriter, step: int, *, best: bool) -> None:
    model = {"weight": torch.arange(6.0).reshape(2, 3) / step, "empty": torch.zeros(0)}
    optimizer = {"moment": torch.arange(4.0) * step}
    state = {"step": step, "window": {"bound": [1.5, 2]}, "best": [step, -1.5], "seconds": 0.25}
    writer.save_checkpoint(step, model=model, optimizer=optimizer, state=state, best=best)


def write(root: Path) -> None:
    store = RunStore(root, clock=Clock(now=lambda: datetime(2026, 1, 2, tzinfo=UTC)))
    done = store.claim("old", spec=SPEC, environment=ENVIRONMENT)
    done.log("started: dreg train --name old")
    for first, last in ((1, 10), (11, 20)):
        rows(done, first, last)
        checkpoint(done, last, best=last == 10)
    done.finish(RunStatus.COMPLETED, {"step": 20, "bound": {"test": -5.5}})
    done.run.add_result("evals", "test-k8", arrays={"bound": np.linspace(-6, -5, 5)}, attrs={"k": 8, "value": -5.5})
    done.run.add_result("bias", "k8", arrays={"t": np.eye(2)}, attrs={"k": 8})
    done.run.add_file("figures", "learning-curves", ".png", FIGURE)

    stopped = store.claim("old", spec=SPEC, environment=ENVIRONMENT)
    rows(stopped, 1, 10)
    checkpoint(stopped, 10, best=True)
    stopped.finish(RunStatus.INTERRUPTED, {"step": 10})

    killed = store.claim("old", spec=SPEC, environment=ENVIRONMENT)
    killed.log("started: dreg train --name old")
    rows(killed, 1, 10)
    checkpoint(killed, 10, best=True)
    rows(killed, 11, 15)
    killed.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    socket.gethostname = lambda: "a-host-of-old"
    write(Path(sys.argv[1]))
