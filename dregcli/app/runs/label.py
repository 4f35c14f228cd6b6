"""``dreg runs tag`` and ``note``: words on runs, by anyone, at any time."""

from collections.abc import Sequence
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import newest_version
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
    """Add and remove tags and add a note, where any are given; what then holds of each run.

    Args:
        references: of the runs; of a name the newest version.
        runs_dir: the store.
        listener: told which versions names mean.
        add: tags.
        remove: tags.
        note: a text.
        all_versions: of a name all of its versions.

    Raises:
        UsageError: what cannot be a tag, or not a note; nothing is written then.
        RunNotFound: no such run; the same.
        StoreWriteError: the disk refuses.
    """
    check_tags([*add, *remove])
    if both := [tag for tag in add if tag in remove]:
        what = f"To be added and removed at once: {', '.join(both)}."
        raise UsageError(what, where="tag", hint="name each tag after one of --add and --remove")
    if note is not None:
        check_note(note)
    store = RunStore(runs_dir)
    if all_versions:
        runs = store.resolve_all(references)
    else:
        runs = list(dict.fromkeys(newest_version(store, reference, listener) for reference in references))
    if add or remove or note is not None:
        for run in runs:  # all of them before the first is written to
            run.check_can_keep("labels")
        for run in runs:
            run.add_label(add=add, remove=remove, note=note)
    return [(run, run.labels()) for run in runs]
