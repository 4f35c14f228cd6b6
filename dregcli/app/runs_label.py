"""``dreg runs tag`` and ``note``: words on runs, by anyone, at any time."""

from collections.abc import Sequence
from pathlib import Path

from dregcli.app.listener import Listener
from dregcli.store.labels import Labels, Note, check_tags
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

__all__ = ["Labels", "Note", "label_runs", "newest_version"]


def newest_version(store: RunStore, reference: str, listener: Listener) -> Run:
    """A version as named; of a name the newest, and the listener is told.

    Raises:
        RunNotFound: no such run.
    """
    runs = store.resolve(reference)
    if len(runs) > 1:
        listener.note(f"{reference} means {runs[-1].path}, its newest version")
    return runs[-1]


def label_runs(
    references: Sequence[str],
    *,
    runs_dir: Path,
    listener: Listener,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
) -> list[tuple[Run, Labels]]:
    """Add and remove tags and add a note, where any are given; what then holds of each run.

    Raises:
        UsageError: what cannot be a tag, or too long a note; nothing is written then.
        RunNotFound: no such run; the same.
        StoreWriteError: the disk refuses.
    """
    check_tags([*add, *remove])
    store = RunStore(runs_dir)
    runs = [newest_version(store, reference, listener) for reference in references]
    for run in runs:
        if add or remove or note is not None:
            run.add_label(add=add, remove=remove, note=note)
    return [(run, run.labels()) for run in runs]
