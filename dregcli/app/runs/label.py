"""``dreg runs tag`` and ``note``: add tags and notes to runs at any time."""

from collections.abc import Sequence
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_run
from dregcli.errors import UsageError
from dregcli.store.labels import Labels, Note, check_note, check_tags
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

__all__ = ["Labels", "Note", "label_runs"]


def label_runs(
    references: Sequence[str],
    *,
    runs_dir: Path,
    listener: Listener,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
    all_versions: bool = False,
) -> list[tuple[Run, Labels]]:
    """Add and remove tags, and add a note; return the labels of each run after that.

    Args:
        references: names or versions; a name means its newest completed version.
        runs_dir: the store.
        listener: receives notes that say which version a name means.
        add: tags to add.
        remove: tags to remove.
        note: text of a note to add, or None.
        all_versions: whether a name means all its versions.

    Raises:
        UsageError: a tag or the note is not valid; nothing is written.
        RunNotFound: no such run; nothing is written.
        StoreWriteError: a label cannot be written.
    """
    check_tags([*add, *remove])
    if both := [tag for tag in add if tag in remove]:
        what = f"A tag cannot be added and removed at once: {', '.join(both)}."
        raise UsageError(what, where="tag", hint="name each tag only after --add or only after --remove")
    if note is not None:
        check_note(note)
    store = RunStore(runs_dir)
    if all_versions:
        runs = store.resolve_all(references)
    else:
        runs = list(dict.fromkeys(find_run(store, reference, listener) for reference in references))
    if add or remove or note is not None:
        for run in runs:  # check all runs before the first label is written
            run.check_can_keep("labels")
        for run in runs:
            run.add_label(add=add, remove=remove, note=note)
    return [(run, run.labels()) for run in runs]
