"""``dreg runs rerun``: train a run again from its spec and its captured environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_run
from dregcli.app.loading.stored import spec_of
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan
from dregcli.app.training.session import TrainResult
from dregcli.app.training.train import environment_now, start
from dregcli.describe import flat
from dregcli.engine.device import resolve_device
from dregcli.errors import SpecError
from dregcli.names import Capture
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.capture import SOURCE_SUFFIXES
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_MATTERS: Final = (
    *("packages.", "libraries.", "git.commit", "git.diff", "python.version", "platform"),
    *("cpu.model", "threads", "device", "gpu."),
)
"""Beginnings of the names of environment fields on which numbers may depend."""


def rerun(
    reference: str,
    name: str | None,
    *,
    runs_dir: Path,
    data_dir: Path,
    argv: list[str],
    listener: Listener,
    capture: str | None = None,
) -> TrainResult:
    """Train a run's spec again, as a new version.

    Args:
        reference: the run, with any status; a name means its newest completed version.
        name: name of the new run; None means the same name.
        runs_dir: the store in which names are looked up; the new run is kept in the store of the old one.
        data_dir: the data folder.
        argv: the command line, kept in the new run.
        listener: receives a warning if the environment differs, so that numbers may differ, and progress messages.
        capture: which source changes the new run keeps; None means the same as the old run.

    Raises:
        SpecError: no such ``capture``.
        RunNotFound: no such run.
        RunStateError: the run was killed while it was claimed.
        DatasetMissing, DataCorrupt: the run's data are not on this machine.
        Other errors: see ``dregcli.app.training.train.start``.
    """
    run = find_run(RunStore(runs_dir), reference, listener)
    spec = spec_of(run)
    asked = {"capture": spec.capture if capture is None else capture}
    if faults := spec_faults(spec.model_dump() | asked):
        raise SpecError(faults, hint="`dreg runs rerun --help` shows every option")
    spec = RunSpec.model_validate(spec.model_dump() | asked)
    resolve_device(spec.device)
    data = data_of(spec, data_dir)
    differing = differing_here(run, spec)
    if differing:
        listener.warn(f"numbers may differ from the numbers of {run.label}: {', '.join(differing)}.")
    else:
        listener.note(f"nothing has changed since {run.label}: the numbers will be the same")
    return start(Plan(spec, data), name=name or run.name, store=RunStore.of(run), argv=argv, listener=listener)


def differing_here(run: Run, spec: RunSpec) -> list[str]:
    """Return in words the changes since a run was made on which its numbers may depend."""
    # Capture at least the names of files, also if the new run keeps none of them.
    now = environment_now(spec.model_copy(update={"capture": Capture.NAMES}), [])
    return differing_fields(run.environment(), now)


def differing_fields(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words the changes between two environments on which numbers may depend.

    A field that the first environment does not have counts as unchanged.
    """
    a, b = flat(then), flat(now)
    matters = (name for name in dict.fromkeys([*a, *b]) if name.startswith(_MATTERS))
    names = [name for name in matters if not name.startswith("git.diff_")]
    found: list[str] = []
    for name in names:
        if name in a and a[name] != b.get(name):
            long = name == "git.diff"
            found.append(f"{name} differs" if long else f"{name} {_short(a[name])}, now {_short(b.get(name))}")
    return found + _differing_sources(then.get("git"), now.get("git"))


def _differing_sources(then: object, now: object) -> list[str]:
    """Return the source files outside of git's tracking that changed, are new or are gone."""
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        return []
    first, second = cast("Mapping[str, Any]", then), cast("Mapping[str, Any]", now)
    before, after = _source_digests(first), _source_digests(second)
    if before is None or after is None:
        return []
    names = first.get("untracked", ())
    new = [f"{name} is new" for name in after if name not in before and name not in names]
    return [f"{name} differs" for name, digest in before.items() if digest != after.get(name)] + new


def _source_digests(git: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Return the SHA-256 of each source file that git does not track; None if these files were not captured."""
    if "untracked_files" not in git:
        return None
    files = git["untracked_files"].items()
    return {name: each.get("sha256") for name, each in files if name.endswith(SOURCE_SUFFIXES)}


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
