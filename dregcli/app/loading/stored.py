"""Find the run, the checkpoint and the spec that a command names, without loading the engine."""

from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.commands import command, quoted
from dregcli.errors import Fault, RunNotFound, SpecError, StoreFormatError
from dregcli.names import RunStatus
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.checkpoints import Which
from dregcli.store.run import Run
from dregcli.store.runs import RunStore


def newest_version(store: RunStore, reference: str, listener: Listener) -> Run:
    """Return the named version, or the newest version of a name; then a note says which version it is.

    Raises:
        RunNotFound: no such run.
    """
    runs = store.resolve(reference)
    newest = runs[-1]
    if len(runs) > 1 or Path(reference).name != newest.path.name:
        listener.note(f"{reference} means {newest.path}, its newest version")
    return newest


def find_completed_run(store: RunStore, reference: str, listener: Listener) -> Run:
    """Return the named version with any status, or the newest completed version of a name; then a note says which.

    Raises:
        RunNotFound: no such run, or no version of the name is completed.
    """
    runs = store.resolve(reference)
    newest = runs[-1]
    if len(runs) == 1 and Path(reference).name == newest.path.name:
        return newest
    completed = [run for run in runs if run.status() is RunStatus.COMPLETED]
    if not completed:
        what = f"No version of '{newest.name}' is completed."
        resume = command("train", "--resume", newest.path)
        hint = f"name the version itself, {quoted(newest.path)}; or continue its training: {resume}"
        raise RunNotFound(what, where=str(newest.path.parent), hint=hint)
    listener.note(f"{reference} means {completed[-1].path}, its newest completed version")
    return completed[-1]


def spec_of(run: Run) -> RunSpec:
    """Return the spec of a run.

    Raises:
        StoreFormatError: this version of the program does not know such a spec.
    """
    content = run.spec()
    if faults := spec_faults(content):
        what = "This version of dreg does not know the run's spec: " + "; ".join(map(str, faults))
        raise StoreFormatError(what, where=str(run.path / "spec.json"), hint="use the dreg version that wrote it")
    return RunSpec.model_validate(content)


def parse_checkpoint(text: str) -> Which:
    """Parse the word for a checkpoint: ``last``, ``best`` or a step.

    Raises:
        SpecError: the text is none of these.
    """
    if text == "last" or text == "best":
        return text
    if text.isdecimal():
        return int(text)
    raise SpecError([Fault("checkpoint", f"must be last, best or a step, got '{text}'.")])
