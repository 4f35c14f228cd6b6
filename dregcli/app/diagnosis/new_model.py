"""Train a model for a diagnosis that names no run, once for equal settings."""

from dataclasses import replace

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import RESUMABLE
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.words import run_name
from dregcli.app.training.train import resume, start
from dregcli.defaults import TRAINING_STEPS
from dregcli.errors import DregError, RunNotFound
from dregcli.names import RunStatus
from dregcli.specs.run import as_json, numbers_of
from dregcli.store.run import Run
from dregcli.store.runs import RunStore


def trained_run(plan: Plan, store: RunStore, argv: list[str], listener: Listener) -> Run:
    """Train the model of a plan and return its run; a run with equal numbers is used again or continued."""
    name = f"bias-check-{run_name(plan.spec)}"
    for run in _versions(store, name):
        if _is_of(run, plan):
            status = run.status()
            if status is RunStatus.COMPLETED:
                listener.note(f"using {run.path}, which was trained before for {TRAINING_STEPS} steps")
                return run
            if status in RESUMABLE:
                kept = replace(plan, spec=spec_of(run))  # with the plan's code, which has the same digest
                return resume(run, kept, store=store, argv=argv, listener=listener).run
    listener.note(f"training a model for {TRAINING_STEPS} steps first; it is kept as a run")
    return start(plan, name=name, store=store, argv=argv, listener=listener).run


def _versions(store: RunStore, name: str) -> list[Run]:
    """Return the versions of a name, the newest first; none if there is no such name."""
    try:
        return list(reversed(store.resolve(name, only_here=True)))
    except RunNotFound:
        return []


def _is_of(run: Run, plan: Plan) -> bool:
    try:
        return numbers_of(run.spec()) == numbers_of(as_json(plan.spec))
    except DregError:  # a run that cannot be read is not used, and a new one will be trained
        return False
