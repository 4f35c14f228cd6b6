"""Connect this process to a Ray cluster, and have the runs of a study trained there."""

import contextlib
import io
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from dregcli.app.studies.messages import Gone, Message
from dregcli.app.studies.ray.task import Box, train
from dregcli.app.studies.worker import Order
from dregcli.devices import DeviceKind
from dregcli.errors import ClusterError
from dregcli.filesystem import write_errors
from dregcli.specs.run import RunSpec
from dregcli.store import layout
from dregcli.store.runs import RunStore

RETRIES: Final = 20
"""How often Ray starts a task again whose node or process it lost. Each start goes on from the last checkpoint."""

LOOK_SECONDS: Final = 0.2
"""Time between two looks into the box of messages."""

CONNECT_SECONDS: Final = 10.0
"""Longest time in which a cluster must answer. Ray itself would wait for minutes."""

_START: Final = "start a cluster, ray start --head, and repeat the command on one of its machines"


@contextmanager
def connected(address: str) -> Generator[Any]:
    """Connect to a cluster, and return Ray's module; disconnect at the end.

    Ray prints what it has to say of a cluster to standard output, which is for the results of a command alone. It is
    discarded: what matters is said by this program.

    Args:
        address: as ``ray.init`` takes it: ``auto``, or the host and the port of the cluster.

    Raises:
        ClusterError: there is no cluster, or this machine does not belong to it.
    """
    ray: Any = import_module("ray")
    _knock(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
    on_termination = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except Exception as error:
            what = f"This process cannot join the Ray cluster '{address}': {_first_sentence(error)}"
            raise ClusterError(what, where="--ray-address", hint=_START) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_termination)  # Ray's own handler would end this process
        try:
            yield ray
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise ClusterError if nothing listens at an address; an address without a port is left to Ray."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        what = f"No Ray cluster answers at {address}: {error}"
        raise ClusterError(what, where="--ray-address", hint=_START) from error


@contextmanager
def marked(store: RunStore) -> Generator[Path]:
    """Put a file into a store, by which the nodes of a cluster recognise it; return its whole path.

    Raises:
        StoreFormatError: the store has another format.
        StoreWriteError: the disk refuses.
    """
    layout.prepare_store(store.root, store.fs)
    # Not the name of a temporary file: `dreg runs gc` removes those after an hour, and the study may run for days.
    mark = store.root.absolute() / f".{secrets.token_hex(8)}.nodes"
    with write_errors(mark):
        store.fs.write(mark, b"")
    try:
        yield mark
    finally:
        with contextlib.suppress(OSError):
            store.fs.remove(mark)


@dataclass
class _Open:
    """A task that has not ended."""

    tell: Callable[[Message | Gone], None]
    how: str | None = None


class Tasks:
    """The tasks of a study in a cluster.

    Args:
        ray: Ray's module, connected.
        mark: the file by which nodes recognise the store.
    """

    def __init__(self, ray: Any, mark: Path) -> None:  # noqa: ANN401 - a module without types
        self._ray, self._mark = ray, mark
        self._study = secrets.token_hex(8)
        strategies = import_module("ray.util.scheduling_strategies")
        here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._box = ray.remote(Box).options(num_cpus=0, scheduling_strategy=here).remote()
        self._train = ray.remote(train)
        self._open: dict[int, tuple[Any, _Open]] = {}
        self._count = 0
        self._lock = threading.Lock()  # so that no message is taken out of the box whose task is not known yet
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def start(self, order: Order, tell: Callable[[Message | Gone], None]) -> "Task":
        """Submit the task of a run, which begins as soon as a node has room; see ``side_by_side.Start``."""
        here = replace(order, runs_dir=order.runs_dir.absolute(), data_dir=order.data_dir.absolute())
        number, self._count = self._count, self._count + 1
        wanted = self._train.options(name=order.label, max_retries=RETRIES, **needs(order.spec))
        with self._lock:
            reference = wanted.remote(here.document(), number, self._box, str(self._mark), self._study)
            self._open[number] = reference, _Open(tell)
        return Task(self._ray, reference)

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            with self._lock:
                try:
                    self._look()
                except Exception as error:  # of Ray or of gRPC: the cluster is gone
                    for _, opened in self._open.values():
                        opened.tell(Gone(f"is out of reach: {_first_sentence(error)}", _ASK))
                    self._open.clear()

    def _look(self) -> None:
        """Pass on what tasks have said, and the end of those that have ended."""
        references = {reference: number for number, (reference, _) in self._open.items()}
        ended: list[Any] = []
        if references:  # a task ends only after all that it said is in the box
            ended, _ = self._ray.wait([*references], num_returns=len(references), timeout=0)
        for number, message in self._ray.get(self._box.take.remote()):
            if number not in self._open:  # a lost node may speak after Ray has given its task up
                continue
            _, opened = self._open[number]
            if "gone" in message:
                opened.how = message["gone"]
            else:
                opened.tell(message)
        for reference in ended:
            _, opened = self._open.pop(references[reference])
            for last in self._last_words(reference, opened):
                opened.tell(last)

    def _last_words(self, reference: Any, ended: _Open) -> list[Message | Gone]:  # noqa: ANN401 - Ray's own
        if ended.how is not None:
            return [Gone(ended.how)]
        try:
            self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return [Gone("was cancelled", _ASK)]
        except self._ray.exceptions.RayTaskError as error:
            if "No module named 'dregcli'" in str(error):
                what = "A node of the Ray cluster has no dreg."
                return [_error(ClusterError(what, hint="install this dreg on every node")), Gone("failed")]
            return [{"unexpected": str(error)}, Gone("failed")]
        except Exception as error:
            return [Gone(f"was lost: {_first_sentence(error)}", _ASK)]
        return [Gone("ended without a result", _ASK)]


_ASK: Final = "for the state of the cluster: ray status"


class Task:
    """The task of a run in a cluster; see ``side_by_side.Worker``."""

    def __init__(self, ray: Any, reference: Any) -> None:  # noqa: ANN401 - a module without types
        self._ray, self._reference, self._cancelled = ray, reference, False

    def stop(self) -> None:
        """See ``Worker``: Ray sends a task that has begun SIGINT."""
        if not self._cancelled:
            self._cancelled = True
            with contextlib.suppress(Exception):  # the cluster may be gone; its end is reported as such
                self._ray.cancel(self._reference, force=False, recursive=False)


def needs(spec: RunSpec) -> Mapping[str, int]:
    """Return what a run needs of a node: as many CPUs as it has threads, and a GPU if it is trained on one."""
    return {"num_cpus": spec.threads or 1, "num_gpus": int(spec.device == DeviceKind.CUDA)}


def _error(error: ClusterError) -> Message:
    parts = {"what": error.what, "where": error.where, "hint": error.hint}
    return {"error": {"kind": type(error).__name__, **parts}}


def _first_sentence(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].strip().partition(". ")[0].rstrip(".") + "."
