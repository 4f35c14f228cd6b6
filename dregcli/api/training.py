"""Train a run from Python: what the command line does, with what happens as a generator of events."""

import os
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from dregcli.api.listening import PythonListener
from dregcli.api.runs import Folder, folder
from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.app.loading.named import find_run_to_resume
from dregcli.app.studies.launch import plan_run
from dregcli.app.studies.request import TrainRequest
from dregcli.app.training.events import Done, Event
from dregcli.app.training.resuming import resume_plan
from dregcli.app.training.session import Session
from dregcli.app.training.train import claimed, resumed
from dregcli.engine.device import prepare_process, using_threads
from dregcli.errors import UsageError
from dregcli.specs.options import RunOptions
from dregcli.store.runs import RunStore

if TYPE_CHECKING:
    from dregcli.app.planning.plan import Plan

Options = RunOptions | Mapping[str, Any]


def train(
    options: Options | None = None,
    *,
    name: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    trust_code: bool = False,
    runs_dir: Folder = None,
    data_dir: Folder = None,
) -> Generator[Event]:
    """Train a run as ``dreg train`` does, and keep everything about it in the store.

    All faults of the options are reported by this call. The run begins with the first event that is asked for, and
    continues while events are asked for. Closing the generator (``events.close()``) ends the run with a checkpoint,
    and so does Ctrl-C while the run trains: ``resume`` continues the run bit for bit. This call sets torch to flush
    denormal numbers to zero in this process, for speed. It cannot do so in threads that torch has started before, for
    other work of the process: then numbers below 1e-38 of a run on several threads may differ after a resume.

    Args:
        options: the options by their names in a config file: ``RunOptions(...)``, or a mapping such as
            ``{"dataset": "mnist", "k": 64}``, whose faults are all reported at once.
        name: name of the run.
        resume: the run to continue, instead of a new one; ``{"steps": N}`` prolongs it.
        trust_code: with ``resume``, whether the copy of the model's code that the run keeps may be run.
        runs_dir: the store; ``runs`` if it is not given.
        data_dir: the data folder.

    Returns:
        A generator of events: ``Progress``, ``Metrics``, ``Validation``, ``CheckpointWritten``, and at the end
        ``Done`` with the result.

    Raises:
        SpecError: all faults of the options at once.
        UsageError: the options ask for several runs.
        Interrupted: while it trains, a signal such as Ctrl-C came; a checkpoint was written first.
        DregError: every other error of ``dreg train``.
    """
    prepare_process()
    given = _given(options)
    store, data = RunStore(runs_folder(folder(runs_dir))), data_folder_if_any(folder(data_dir))
    argv = ["dregcli.train", *(f"{key}={value}" for key, value in given.items())]
    listener = PythonListener()
    request = TrainRequest(given, name=name)
    files = request.read_files()
    if request.is_study(files):
        what = "The options ask for several runs, but dregcli.train trains one."
        raise UsageError(what, where="seeds, or a list of values", hint="give one seed and one value for each option")
    if resume is None:
        if trust_code:
            what = "trust_code is about the code that a run keeps: it needs resume with the run."
            raise UsageError(what)
        plan = plan_run(request, files, data)
        return _events(plan, lambda: claimed(plan, name=name, store=store, argv=argv, listener=listener))
    if name is not None:
        what = "name cannot be given with resume: a resumed run keeps its name."
        raise UsageError(what)
    run = find_run_to_resume(store, os.fspath(resume), listener)
    plan = resume_plan(run, request.flags, data, trust=trust_code, listener=listener)
    home = RunStore.of(run)
    return _events(plan, lambda: resumed(run, plan, store=home, argv=argv, listener=listener))


def _given(options: Options | None) -> dict[str, Any]:
    """Return the options that were given, by field."""
    if isinstance(options, RunOptions):
        return options.model_dump(exclude_unset=True)
    return dict(options or {})


def _events(plan: "Plan", begin: Callable[[], tuple[Session, str]]) -> Generator[Event]:
    """Yield the events of a run. Signals and threads of the caller are changed only while the run trains."""
    session, opening = begin()
    stop = StopRequest()
    events = session.events(opening, stop)
    try:
        while True:
            with stop_requests(stop), using_threads(plan.spec.threads):
                try:
                    event = next(events)
                except StopIteration as end:
                    event = Done(end.value)
            yield event
            if isinstance(event, Done):
                return
    finally:
        events.close()
