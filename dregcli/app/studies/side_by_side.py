"""Carry out the runs of a study in other processes, several at once: start them, pass on what they say, stop them."""

import queue
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from dregcli import errors
from dregcli.app.common.interrupts import StopRequest
from dregcli.app.studies.listening import RunListener
from dregcli.app.studies.messages import Gone, Message
from dregcli.app.studies.outcome import GO_ON, Failure
from dregcli.app.studies.pipes import ProcessWorker
from dregcli.app.studies.worker import Order, Outcome
from dregcli.errors import DregError, Interrupted, UsageError, WorkerLost
from dregcli.wording import counted

LOOK_SECONDS: Final = 0.2
"""Time between two looks at whether a signal came, in seconds, if no worker says anything."""


class Worker(Protocol):
    """A run of a study in another process."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and to end; if it was asked before, do nothing."""
        ...


Start = Callable[[Order, Callable[[Message | Gone], None]], Worker]
"""Starts a worker, which tells its messages from any thread, in order; the last one that counts is ``Gone``.

If no worker can be started, it raises ``WorkerLost``, which ends the study."""


def start_process(order: Order, tell: Callable[[Message | Gone], None]) -> Worker:
    """Start a worker on this machine; see ``Start``.

    Raises:
        WorkerLost: the system does not allow one more process.
    """
    try:
        return ProcessWorker(order.document(), tell)
    except OSError as error:
        what = f"No process for a run can be started: {error}."
        raise WorkerLost(what, hint="repeat the command with a smaller --jobs; it continues the study") from error


class UnexpectedInWorker(Exception):
    """A fault of the program in a worker; the notes of the exception hold the traceback."""


@dataclass
class _Running:
    worker: Worker
    listener: RunListener | None = None
    last: Message | None = None


def carried_out(
    orders: Mapping[int, Order],
    *,
    at_once: int,
    start: Start,
    listener_of: Callable[[int], RunListener],
    stop: StopRequest,
    where: str,
) -> Generator[tuple[int, Outcome]]:
    """Carry out orders, and yield the number of each order and its outcome as soon as it has ended.

    A worker that is gone without a last word is a failure of its run; the others go on. If a signal comes, or an
    error concerns the whole study, the runs in progress are stopped, each with a checkpoint, and no other is started.

    Args:
        orders: the orders by number, in the order in which they are started.
        at_once: the number of workers at the same time.
        start: starts a worker.
        listener_of: called with the number of an order when its worker begins to speak; returns the run's listener.
        stop: changed by a signal.
        where: the store, for messages.

    Raises:
        Interrupted: a signal came, and not all orders have been carried out.
        WorkerLost: a worker cannot be started.
        DregError: an error of a worker that concerns the whole study.
        UnexpectedInWorker: a fault of the program in a worker.
    """
    messages: queue.SimpleQueue[tuple[int, Message | Gone]] = queue.SimpleQueue()

    def tell(number: int, message: Message | Gone) -> None:
        messages.put((number, message))

    waiting, running = [*orders], dict[int, _Running]()
    stopped: list[str] = []
    problem: Exception | None = None
    left_off = 0
    try:
        while waiting or running:
            stopping = problem is not None or stop.received is not None
            if stopping:
                left_off += len(waiting)
                waiting.clear()
                for each in running.values():
                    each.worker.stop()
            while waiting and len(running) < at_once and problem is None:
                number = waiting.pop(0)
                try:
                    running[number] = _Running(start(orders[number], partial(tell, number)))
                except WorkerLost as error:
                    problem = error
            try:
                number, message = messages.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if not isinstance(message, Gone):
                # What a worker started may print after its end: nobody listens any more.
                if each := running.get(number):
                    each.listener = each.listener or listener_of(number)
                    _pass_on(message, each, each.listener, stopping=stopping)
                continue
            ended = running.pop(number)
            if ended.listener:
                ended.listener.close()
            found = _ending(ended.last, message)
            if isinstance(found, Outcome):
                yield number, found
            elif not isinstance(found, Interrupted | WorkerLost):
                problem = problem or found
            elif stopping:
                stopped += [found.where] if isinstance(found, Interrupted) and found.where else []
                left_off += 1
            else:
                yield number, Outcome(failure=Failure.of(found))
    finally:
        for each in running.values():
            each.worker.stop()
    if problem is not None:
        raise problem
    if stop.received is not None and left_off:
        kept = f"what the {counted(len(stopped), 'run')} in progress had done is kept"
        raise stop.error(kept if stopped else "no run was in progress", where="; ".join(stopped) or where, hint=GO_ON)


def _pass_on(message: Message, running: _Running, listener: RunListener, *, stopping: bool) -> None:
    """Pass a message on to the run's listener, or keep it if it is the last one."""
    ((kind, content),) = message.items()
    match kind:
        case "started":
            listener.begin_again()
            running.last = None
            for note in content:
                listener.note(note)
        case "begin":
            *words, done = content
            listener.begin(*words, done=done)
        case "note" | "warn" | "update" | "end":
            getattr(listener, kind)(*content)
        case "output":
            if not stopping:  # what a process prints that is stopped while it starts says nothing
                listener.note(content)
        case _:
            running.last = message


def _ending(last: Message | None, gone: Gone) -> Outcome | Exception:
    """Return what has come of an order, or the error that ended it."""
    match last:
        case {"outcome": document}:
            return Outcome.parse(document)
        case {"error": {"kind": kind, **parts}}:
            return _error(kind, parts)
        case {"unexpected": traceback}:
            error = UnexpectedInWorker(str(traceback).strip().rpartition("\n")[2])
            error.add_note(str(traceback))
            return error
        case _:
            what = f"The process that trained this run {gone.how}."
            return WorkerLost(what, hint=f"{GO_ON}; {gone.hint}")


def _error(kind: str, parts: Mapping[str, Any]) -> DregError:
    """Return an error of a worker as this process would have raised it."""
    known = getattr(errors, kind, DregError)
    if issubclass(known, UsageError):  # a list of faults is one text here
        known = UsageError
    return known(parts["what"], where=parts["where"], hint=parts["hint"])
