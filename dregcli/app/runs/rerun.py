"""``dreg runs rerun``: a run once more, from what it captured of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import newest_version, spec_of
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
"""What numbers may depend on, by the beginning of its name."""


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
    """Train a run's spec once more, as a new version.

    Args:
        reference: the run, in any state; of a name the newest version.
        name: of the new run; the same where it is not given.
        runs_dir: the store that names are of; the new run is kept beside the old one.
        data_dir: the data folder.
        argv: the command line, kept in the new run.
        listener: told of what differs here, since numbers may differ then, and of progress.
        capture: what the new run keeps of changes to the source; the same as the run where it is not given.

    Raises:
        SpecError: no such ``capture``.
        RunNotFound: no such run.
        RunStateError: it was killed while it was claimed.
        DatasetMissing, DataCorrupt: its data are not here.
        Others as ``dregcli.app.training.train.start``.
    """
    run = newest_version(RunStore(runs_dir), reference, listener)
    spec = spec_of(run)
    asked = {"capture": spec.capture if capture is None else capture}
    if faults := spec_faults(spec.model_dump() | asked):
        raise SpecError(faults, hint="`dreg runs rerun --help` shows every option")
    spec = RunSpec.model_validate(spec.model_dump() | asked)
    resolve_device(spec.device)
    data = data_of(spec, data_dir)
    differing = differing_here(run, spec)
    if differing:
        listener.warn(f"numbers may differ from those of {run.label}: {', '.join(differing)}.")
    else:
        listener.note(f"everything is as it was for {run.label}: the numbers will be the same")
    return start(Plan(spec, data), name=name or run.name, store=RunStore.of(run), argv=argv, listener=listener)


def differing_here(run: Run, spec: RunSpec) -> list[str]:
    """What the numbers of a run may depend on and is another now, in words."""
    # At least the names: also where the new run is to keep none of them.
    now = environment_now(spec.model_copy(update={"capture": Capture.NAMES}), [])
    return differing_fields(run.environment(), now)


def differing_fields(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What numbers may depend on and is another now, in words; what was not captured then counts as the same."""
    a, b = flat(then), flat(now)
    matters = (name for name in dict.fromkeys([*a, *b]) if name.startswith(_MATTERS))
    names = [name for name in matters if not name.startswith("git.diff_")]
    told: list[str] = []
    for name in names:
        if name in a and a[name] != b.get(name):
            long = name == "git.diff"
            told.append(f"{name} differs" if long else f"{name} {_short(a[name])}, now {_short(b.get(name))}")
    return told + _differing_sources(then.get("git"), now.get("git"))


def _differing_sources(then: object, now: object) -> list[str]:
    """Which source files that git does not track are others now, are new or are gone."""
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
    """SHA-256 of each source file that git does not track; None where nothing was captured of them."""
    if "untracked_files" not in git:
        return None
    files = git["untracked_files"].items()
    return {name: each.get("sha256") for name, each in files if name.endswith(SOURCE_SUFFIXES)}


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
