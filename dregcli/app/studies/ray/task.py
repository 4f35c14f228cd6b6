"""What runs on the nodes of a Ray cluster: the task that has one run trained, and the box for its messages.

A task starts the same process for its run as ``--jobs`` does, and passes on what this process says. So the code of a
run never runs in a process of Ray's, which serves many tasks. Nothing here loads torch.
"""

import queue
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from signal import Signals, raise_signal
from typing import Any, Final

from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.studies.messages import Gone, Message
from dregcli.app.studies.pipes import ProcessWorker
from dregcli.store.job import Job, JobKind

LOOK_SECONDS: Final = 0.2
"""Time between two looks at whether the task was cancelled, in seconds, if its process says nothing."""

UPDATE_SECONDS: Final = 1.0
"""Least time between two messages about the progress of a run: all runs of a study share one box."""

PATIENCE_SECONDS: Final = 60.0
"""Longest time for which a node is expected not to see a new file of a network disk."""


class Box:
    """Keeps what the tasks of a study say until the command takes it. It lives in an actor on the command's machine.

    Ray starts a task again if its node is lost. The lost node may be able to speak for a while: nothing of an earlier
    start is kept as soon as a later start has begun.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, Message]] = []
        self._starts: Counter[int] = Counter()
        self._nodes: dict[int, str] = {}

    def begin(self, number: int, node: str) -> int:
        """Note that a task begins on a node; return how often it began before."""
        start, before = self._starts[number], self._nodes.get(number)
        self._starts[number] += 1
        self._nodes[number] = node
        again = f"Ray lost it on node {before}, and goes on with it on node {node}"
        self._kept.append((number, {"started": [f"on node {node}" if before is None else again]}))
        return start

    def put(self, number: int, start: int, message: Message) -> None:
        """Keep a message of a task's start."""
        if start == self._starts[number] - 1:
            self._kept.append((number, message))

    def take(self) -> list[tuple[int, Message]]:
        """Return the messages since the last call, each with the number of its task."""
        kept, self._kept = self._kept, []
        return kept


def train(order: Mapping[str, Any], number: int, box: Any, mark: str, study: str) -> None:  # noqa: ANN401 - an actor
    """Have a run trained, and say what happens; the last message is ``gone``, with how the run's process ended.

    If the task is cancelled, the run stops with a checkpoint. If Ray ends this process because the node leaves the
    cluster, the run stops in the same way, and this function leaves it to Ray to start the task again.

    Args:
        order: the order, as ``Order.document`` returns it.
        number: number of the task in its study.
        box: the actor with the study's ``Box``.
        mark: a file in the store; a node that does not see it does not share the store.
        study: what distinguishes the tasks of this study from those of all others in any cluster.
    """
    ray: Any = import_module("ray")
    with stop_requests() as stop:
        start = ray.get(box.begin.remote(number, socket.gethostname()))
        job = Job(ray.get_runtime_context().get_task_id(), None, start, study, JobKind.RAY)
        last, updated = None, -UPDATE_SECONDS
        for message in _said(order, job, Path(mark), stop):
            if "update" in message:
                if time.monotonic() - updated < UPDATE_SECONDS:
                    continue
                updated = time.monotonic()
            if not _is_leaving(stop):  # then the end of the process is not the end of the run
                last = box.put.remote(number, start, message)
        if last is not None:
            ray.get(last)  # the messages are kept before the task ends
    if stop.received is not None and _is_leaving(stop):
        raise_signal(stop.received)


def _is_leaving(stop: StopRequest) -> bool:
    """Whether the node is leaving the cluster. A task that is cancelled gets SIGINT."""
    return stop.received not in (None, Signals.SIGINT)


def _said(order: Mapping[str, Any], job: Job, mark: Path, stop: StopRequest) -> Iterator[Message]:
    if not _is_seen(mark, stop):
        yield {"error": _unseen(order, mark)}
        yield {"gone": "was not started"}
        return
    messages: queue.SimpleQueue[Message | Gone] = queue.SimpleQueue()
    worker = ProcessWorker(order, messages.put, job.variables)
    while True:
        if stop.received is not None:
            worker.stop()
        try:
            message = messages.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        if isinstance(message, Gone):
            yield {"gone": message.how}
            return
        if "started" not in message:
            yield message


def _is_seen(mark: Path, stop: StopRequest) -> bool:
    began = time.monotonic()
    while not mark.exists():
        if time.monotonic() - began > PATIENCE_SECONDS or stop.received is not None:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _unseen(order: Mapping[str, Any], mark: Path) -> dict[str, Any]:
    what = f"Node {socket.gethostname()} of the Ray cluster does not see this folder of runs."
    hint = "repeat the command with a folder that all nodes share: --runs-dir FOLDER"
    return {"kind": "StoreWriteError", "what": what, "where": str(mark.parent), "hint": hint}
