"""Which run a command means that needs one which is done."""

from pathlib import Path

from dregcli.app.listener import Listener
from dregcli.commands import command, quoted
from dregcli.errors import RunNotFound
from dregcli.names import RunStatus
from dregcli.store.run import Run
from dregcli.store.runs import RunStore


def find_completed_run(store: RunStore, reference: str, listener: Listener) -> Run:
    """A version as named, whatever its status; of a name, the newest completed version, and the listener is told.

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
        on = command("train", "--resume", newest.path)
        hint = f"name the version itself, {quoted(newest.path)}; or train it on: {on}"
        raise RunNotFound(what, where=str(newest.path.parent), hint=hint)
    listener.note(f"{reference} means {completed[-1].path}, its newest completed version")
    return completed[-1]
