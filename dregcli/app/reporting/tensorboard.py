"""``dreg runs export --tensorboard``: write runs as event files, one folder for each run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from dregcli.app.common.listener import Listener
from dregcli.commands import command
from dregcli.errors import DregError, RunNotFound, StoreWriteError, UsageError
from dregcli.filesystem import LOCAL, make_folders, write_folder_aside
from dregcli.names import Split
from dregcli.report.event_file import RunEvents, check_tensorboard, event_file
from dregcli.specs.run import spelt_out
from dregcli.store.layout import entries
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_KINDS: Final = ("samples", "reconstructions", "traversals")
_PICTURE: Final = re.compile(rf"((?:{'|'.join(_KINDS)})(?:-layers|-layer-\w+)?)(?:-[0-9]+)?\.png", re.ASCII)
"""Names of the pictures that ``dreg sample`` keeps: of the whole model, and of the layers of a model with several."""


@dataclass(frozen=True)
class EventsOfRun:
    """A run, its event file, and the size of the file in bytes."""

    run: Run
    file: Path
    size: int


def export_events(
    references: Sequence[str], folder: Path, *, runs_dir: Path, listener: Listener
) -> list[EventsOfRun]:
    """Write the events of runs, each to ``FOLDER/NAME/vNNN``.

    Args:
        references: names (all versions) or versions; an empty sequence means all runs of the store.
        folder: the folder for the event files; it is made if it is missing.
        runs_dir: the store.
        listener: receives progress messages, and a warning for every part that cannot be read and is left out.

    Raises:
        UsageError: TensorBoard is not installed, or a run's folder is not empty; nothing is written.
        RunNotFound: no such run, or none of the runs can be read.
        StoreWriteError: a file cannot be written.
    """
    check_tensorboard()
    runs = RunStore(runs_dir).resolve_all(references)
    if not runs:
        hint = "name the store with --runs-dir; or train a run: dreg train --help"
        what = "There are no runs to export."
        raise RunNotFound(what, where=str(runs_dir), hint=hint)
    _check_free([_target(folder, run) for run in runs])
    written: list[EventsOfRun] = []
    listener.begin("export", len(runs), "runs")
    for i, run in enumerate(runs):
        try:
            events = _events(run, listener)
        except DregError as error:
            listener.warn(f"left out: {run.path}: {error.what}")
            continue
        written.append(_write(run, folder, events))
        listener.update(i + 1)
    listener.end()
    if not written:
        what = "None of these runs can be read."
        raise RunNotFound(
            what, where=str(runs_dir), hint=f"see what is wrong: {command('runs', 'verify', runs[0].path)}"
        )
    return written


def _target(folder: Path, run: Run) -> Path:
    return folder / run.name / run.path.name


def _check_free(targets: Sequence[Path]) -> None:
    """Refuse folders that are not empty or belong to two runs: TensorBoard would mix the events.

    Raises:
        UsageError: a folder is not free.
    """
    if twice := [path for i, path in enumerate(targets) if path in targets[:i]]:
        what = "Runs of several stores have the same name and would go to one folder."
        raise UsageError(what, where=str(twice[0]), hint="export the runs of each store to a different DIR")
    taken = [path for path in targets if path.is_symlink() or (path.exists() and not _is_empty(path))]
    if taken:
        some = f" (and {len(taken) - 1} more such paths)" if len(taken) > 1 else ""
        what = f"The place for a run's events is not empty{some}; nothing was changed."
        raise UsageError(what, where=str(taken[0]), hint="remove it, or name another DIR: --tensorboard DIR")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _events(run: Run, listener: Listener) -> RunEvents:
    """Return the events of a run; for a running run, everything that is written so far.

    Raises:
        DregError: the run's state, spec or metrics cannot be read.
    """
    info = run.info()
    spec = run.spec(info)
    pictures: dict[str, bytes] = {}
    for name in _pictures(run):
        try:
            if (png := run.newest_file("figures", name, ".png")) is not None:
                pictures[name] = png
        except DregError as error:
            listener.warn(f"left out: {name} of {run.path}: {error.what}")
    metrics = run.all_metrics()
    steps = [int(columns["step"][-1]) for columns in metrics.values() if len(columns["step"])]
    final = info.summary.get("final_step", info.summary.get("step"))
    return RunEvents(
        metrics=metrics,
        final=_final(info.summary),
        final_step=final if isinstance(final, int) else max(steps, default=0),
        spec=spelt_out(spec),
        created=info.created.timestamp(),
        pictures=pictures,
    )


def _pictures(run: Run) -> list[str]:
    """Return the names of the pictures that a run has, without numbers, by kind."""
    kept = (_PICTURE.fullmatch(name) for name in entries(run.path / "figures"))
    names = sorted({found[1] for found in kept if found})
    return sorted(names, key=lambda name: _KINDS.index(name.partition("-")[0]))


def _final(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the final bounds by split, if the summary has them."""
    bound = summary.get("bound")
    if not isinstance(bound, Mapping):
        return {}
    values = cast("Mapping[str, object]", bound)
    return {split.value: value for split in Split if isinstance(value := values.get(split.value), float)}


def _write(run: Run, folder: Path, events: RunEvents) -> EventsOfRun:
    target = _target(folder, run)
    # TensorBoard finds its files by "tfevents", and orders the files of a folder by the number after it.
    name = f"events.out.tfevents.{int(events.created):010d}.dreg"
    content = event_file(events)
    try:
        make_folders(LOCAL, target.parent)
        write_folder_aside(LOCAL, target, {name: content})
    except FileExistsError:
        _check_free([target])
        raise
    except StoreWriteError as error:
        hint = "name a DIR that you can write and that has room for it: --tensorboard DIR"
        raise StoreWriteError(error.what, where=error.where, hint=hint) from error
    return EventsOfRun(run, target / name, len(content))
