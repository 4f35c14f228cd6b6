"""A Ray cluster in this process: tasks are threads, their runs have real processes, and a node can be lost."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.studies import pipes
from dregcli.app.studies.ray import task
from tests.support.forked_workers import HOST, ForkedPopen


class RayTaskError(Exception):
    """A task raised an error."""


class TaskCancelledError(Exception):
    """A task was cancelled before it began."""


class _Lost(BaseException):
    """Ends the thread of a task whose node is lost."""


def _pinned(node: str, *, soft: bool) -> str:
    assert not soft
    return node


class _Now(threading.local):
    task: "FakeTask | None" = None


class FakeTask:
    """A task: Ray's reference to what it returns."""

    def __init__(self, ray: "FakeRay", work: Callable[[], None], options: dict[str, Any]) -> None:
        self.ray, self.work, self.options = ray, work, options
        self.id = f"task{len(ray.tasks)}"
        self.stop = StopRequest()
        self.host = ""
        self.starts = 0
        self.process: ForkedPopen | None = None
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self.cancelled = False
        ray.tasks.append(self)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.ray.now.task = self
        while not self.ray.room.acquire(timeout=0.02):
            if self.cancelled:
                self.error = TaskCancelledError()
                self.ended.set()
                return
        while self.starts <= self.options["max_retries"]:
            self.host, self.starts = f"node{len(self.ray.hosts)}", self.starts + 1
            self.ray.hosts.append(self.host)
            try:
                self.work()
                break
            except _Lost:
                continue
            except Exception as error:
                self.error = RayTaskError(repr(error))
                break
        self.ray.room.release()
        self.ended.set()

    def lose(self) -> None:
        """Lose the node of this task, whose thread this is, with everything that runs there."""
        assert self.process
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        raise _Lost


class _Actor:
    """An actor: ``actor.method.remote(...)`` calls the method."""

    def __init__(self, ray: "FakeRay", of: Any) -> None:
        self._ray, self._of, self._lock = ray, of, threading.Lock()

    def __getattr__(self, method: str) -> Any:
        def remote(*arguments: Any) -> Any:
            if (now := self._ray.now.task) and method == "put":
                self._ray.hear(now, arguments[-1])
            with self._lock:
                return getattr(self._of, method)(*arguments)

        return SimpleNamespace(remote=remote)


class FakeRay(ModuleType):
    """The module ``ray``, with what dreg uses of it.

    Args:
        monkeypatch: puts the module, its hosts and its processes in the place of the real ones.
        nodes: number of nodes, with one CPU each.
        loses_at: the step after which the node of the first task is lost, with its process, at the latest when it has
            taken all steps; None for never.
        refuses: the error of ``init``.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        nodes: int = 2,
        loses_at: int | None = None,
        refuses: Exception | None = None,
    ) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.now = _Now()
        self.room = threading.Semaphore(nodes)
        self.tasks: list[FakeTask] = []
        self.hosts: list[str] = []
        self.address: str | None = None
        self.connected = False
        self._nodes, self._loses_at, self._refuses = nodes, loses_at, refuses
        self.exceptions = SimpleNamespace(RayTaskError=RayTaskError, TaskCancelledError=TaskCancelledError)
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=_pinned)
        monkeypatch.setitem(sys.modules, "ray", self)
        monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
        monkeypatch.setattr(socket, "gethostname", lambda: self.now.task.host if self.now.task else "head")
        monkeypatch.setattr(pipes, "Popen", self._popen)
        monkeypatch.setattr(task, "stop_requests", self._stop_requests)
        monkeypatch.setattr(task, "UPDATE_SECONDS", 0.0)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def init(self, *, address: str, log_to_driver: bool, configure_logging: bool) -> None:
        assert not log_to_driver
        assert not configure_logging
        print("(raylet) Ray says something, as it always does.")  # noqa: T201
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if self._refuses:
            raise self._refuses
        self.address, self.connected = address, True

    def shutdown(self) -> None:
        self.connected = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}] * self._nodes + [
            {"Alive": False, "Resources": {"CPU": 9}}
        ]

    def get_runtime_context(self) -> Any:
        now = self.now.task
        return SimpleNamespace(get_node_id=lambda: "head", get_task_id=lambda: now.id if now else None)

    def remote(self, what: Any) -> Any:
        def begin(options: dict[str, Any], *arguments: Any) -> Any:
            if isinstance(what, type):
                return _Actor(self, what(*arguments))
            return FakeTask(self, lambda: what(*arguments), options)

        def options(**wanted: Any) -> Any:
            return SimpleNamespace(remote=partial(begin, wanted))

        return SimpleNamespace(options=options)

    def get(self, value: Any) -> Any:
        if isinstance(value, FakeTask):
            value.ended.wait()
            if value.error:
                raise value.error
            return None
        return value

    def wait(self, values: list[FakeTask], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        assert (num_returns, timeout) == (len(values), 0)
        ended = [each for each in values if each.ended.is_set()]
        return ended, [each for each in values if each not in ended]

    def cancel(self, value: FakeTask, *, force: bool, recursive: bool) -> None:
        assert not force
        assert not recursive
        value.cancelled = True
        if value.starts:
            value.stop.received = signal.SIGINT

    def hear(self, speaks: FakeTask, message: Any) -> None:
        """Lose a node if its time has come."""
        lost = self._loses_at is not None and speaks is self.tasks[0] and speaks.starts == 1
        if lost and ("end" in message or ("update" in message and message["update"][0] > self._loses_at)):
            speaks.lose()

    def _popen(self, command: list[str], *, env: dict[str, str], **streams: int) -> ForkedPopen:
        now = self.now.task
        assert now
        now.process = ForkedPopen(command, env={**env, HOST: now.host}, **streams)
        return now.process

    @contextmanager
    def _stop_requests(self) -> Generator[StopRequest]:
        assert self.now.task
        yield self.now.task.stop
