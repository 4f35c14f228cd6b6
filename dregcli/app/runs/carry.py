"""``dreg runs export`` and ``import``: one run in one file."""

from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import find_completed_run
from dregcli.app.runs.captured import Captured, captured
from dregcli.store.archive import Imported, import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

__all__ = ["Imported", "export_to", "import_from"]


def export_to(reference: str, file: Path, *, force: bool, runs_dir: Path, listener: Listener) -> tuple[Run, Captured]:
    """Write a run into one new file; see :func:`dregcli.store.archive_writer.export_run`.

    Returns:
        The run, and what it holds of the source tree it was made from.
    """
    store = RunStore(runs_dir)
    run = find_completed_run(store, reference, listener)
    for found in export_run(store.fs, run, file, force=force):
        tell = listener.warn if found.kind == "fault" else listener.note
        tell(f"{found.file}: {found.what}")
    holds = captured(run)
    for warning in holds.warnings():
        listener.warn(warning)
    return run, holds


def import_from(file: Path, name: str | None, *, runs_dir: Path) -> Imported:
    """Bring a run from a file into a store; see :func:`dregcli.store.archive.import_run`."""
    return import_run(RunStore(runs_dir), file, name=name)
