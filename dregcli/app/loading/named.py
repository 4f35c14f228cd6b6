"""Which run a name means where a command needs one run: the same rule for every command.

A name means the newest of its versions that the command can use: its newest completed version, or for ``--resume``
its newest unfinished one. A note says which version it is. If these versions differ in more than their seed, no
version is taken, and the error lists them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from dregcli.app.common.listener import Listener
from dregcli.commands import command, quoted
from dregcli.describe import flat
from dregcli.errors import DregError, RunNotFound, UsageError
from dregcli.names import RunStatus
from dregcli.specs.run import experiment_of, group_hash, spelt_out
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import counted

RESUMABLE: Final = (RunStatus.CRASHED, RunStatus.FAILED, RunStatus.INTERRUPTED)
"""States of a run that is neither completed nor running."""

_MOST_SHOWN: Final = 8
"""Most lines of candidates, and most settings of one candidate, that an error lists."""


def find_completed_run(store: RunStore, reference: str, listener: Listener) -> Run:
    """Return the named version with any status, or the newest completed version of a name.

    Raises:
        RunNotFound: no such run, or no version of the name is completed.
        UsageError: the completed versions of the name differ in more than their seed.
    """
    runs = store.resolve(reference)
    newest = runs[-1]
    if _names_a_version(reference, runs):
        return newest
    completed = _completed(runs)
    if not completed:
        what = f"No version of '{newest.name}' is completed."
        resumable = [command("train", "--resume", run.path) for run in runs if can_resume(run)]
        resume = f"; or continue a training: {resumable[-1]}" if resumable else ""
        hint = f"name the version itself, {quoted(newest.path)}{resume}"
        raise RunNotFound(what, where=str(newest.path.parent), hint=hint)
    return _newest(reference, runs, completed, "completed ", listener)


def find_run(store: RunStore, reference: str, listener: Listener) -> Run:
    """Return the named version, or the newest completed version of a name; if none is completed, the newest version.

    Raises:
        RunNotFound: no such run.
        UsageError: the versions of the name differ in more than their seed.
    """
    runs = store.resolve(reference)
    if _names_a_version(reference, runs):
        return runs[-1]
    completed = _completed(runs)
    return _newest(reference, runs, completed or runs, "completed " if completed else "", listener)


def find_run_to_resume(store: RunStore, reference: str, listener: Listener) -> Run:
    """Return the named version, or the newest version of a name that can continue.

    A run can continue if it was started, is not completed and has no living writer. If no version can continue,
    return the one that ``find_run`` returns, so that it can be prolonged, or the error says why it cannot.

    Raises:
        RunNotFound: no such run.
        UsageError: the versions of the name differ in more than their seed.
    """
    runs = store.resolve(reference)
    if _names_a_version(reference, runs):
        return runs[-1]
    waiting = [run for run in runs if can_resume(run)]
    if waiting:
        return _newest(reference, runs, waiting, "unfinished ", listener)
    return find_run(store, reference, listener)


def _names_a_version(reference: str, runs: Sequence[Run]) -> bool:
    return len(runs) == 1 and Path(reference).name == runs[0].path.name


def _completed(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if _status(run) is RunStatus.COMPLETED]


def can_resume(run: Run) -> bool:
    """Whether a run was started, is not completed and has no living writer."""
    try:
        info = run.info()
    except DregError:  # a version that cannot be read keeps no other version from being continued
        return False
    return info.started and info.status in RESUMABLE


def _status(run: Run) -> RunStatus | None:
    """Return the status of a run; None if it cannot be read."""
    try:
        return run.status()
    except DregError:
        return None


def _newest(reference: str, every: Sequence[Run], runs: Sequence[Run], kind: str, listener: Listener) -> Run:
    """Return the newest of a name's versions, and note which one it is and why.

    Args:
        reference: the name as typed.
        every: all versions of the name, ascending.
        runs: the versions among them that the command can use, ascending.
        kind: what these versions have in common, with a space after it; or an empty text.
        listener: receives the note.

    Raises:
        UsageError: the versions differ in more than their seed.
    """
    newest, specs = runs[-1], _specs(runs)
    if len({group_hash(spec) for spec in specs.values()}) > 1:
        lines = _candidates(specs)
        what = f"The {kind}versions of '{newest.name}' have different settings, so that its name alone is not enough:"
        hint = f"name one version, such as {quoted(newest.label)}; see all: {command('runs', 'list', newest.name)}"
        raise UsageError("\n".join([what, *lines]), where=str(newest.path.parent), hint=hint)
    seeds = {run: spec["seed"] for run, spec in specs.items()}
    which = f"newest of {len(runs)} {kind}versions" if len(runs) > 1 else f"only {kind}version"
    seed = f", seed {seeds[newest]}" if newest in seeds and len(set(seeds.values())) > 1 else ""
    newer = [f"{run.path.name} is {_status(run) or 'unreadable'}" for run in every[every.index(newest) + 1 :]]
    listener.note(f"{reference} means {newest.path}, its {which}{seed}{'; ' if newer else ''}{', '.join(newer)}")
    return newest


def _specs(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """Return the specs of the runs that have a readable one, with all their defaults."""
    found: dict[Run, dict[str, Any]] = {}
    for run in runs:
        try:
            found[run] = spelt_out(run.spec())
        except DregError:  # a version that nobody can use makes no other version ambiguous
            continue
    return found


def _candidates(specs: dict[Run, dict[str, Any]]) -> list[str]:
    """Return a line for each group of versions with equal settings: its versions, and the settings that differ."""
    groups: dict[str, list[Run]] = {}
    for run, spec in specs.items():
        groups.setdefault(group_hash(spec), []).append(run)
    settings = {key: flat(experiment_of(specs[runs[0]])) for key, runs in groups.items()}
    names = dict.fromkeys(name for each in settings.values() for name in each)
    differing = [name for name in names if len({repr(each.get(name)) for each in settings.values()}) > 1]
    lines: list[str] = []
    for key, runs in groups.items():
        shown = [f"{name.replace('_', '-')} {_value(settings[key].get(name))}" for name in differing[:_MOST_SHOWN]]
        versions = [run.path.name for run in runs]
        words = versions[0] if len(runs) == 1 else f"{', '.join(versions[:3])}{', ...' if len(runs) > 3 else ''}"
        count = f" ({counted(len(runs), 'version')})" if len(runs) > 3 else ""
        lines.append(f"{words}{count}: {', '.join(shown)}")
    more = [f"and {counted(len(lines) - _MOST_SHOWN, 'more group')} of versions"] if len(lines) > _MOST_SHOWN else []
    return [*lines[:_MOST_SHOWN], *more]


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, cast("Sequence[object]", value)))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
