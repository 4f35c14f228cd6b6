"""``dreg runs rerun``: a run once more, from what it captured of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dregcli.app.listener import Listener
from dregcli.app.plan import Plan, data_of
from dregcli.app.runs_diff import flat
from dregcli.app.runs_label import newest_version
from dregcli.app.session import TrainResult
from dregcli.app.stored_spec import spec_of
from dregcli.app.train import environment_now, start
from dregcli.engine.device import resolve_device
from dregcli.store.runs import RunStore

_MATTERS: Final = (
    *("packages.", "libraries.", "git.commit", "git.diff", "git.untracked_text.", "python.version", "platform"),
    *("cpu.model", "threads", "device", "gpu."),
)
"""What numbers may depend on, by the beginning of its name."""


def rerun(
    reference: str, name: str | None, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult:
    """Train a run's spec once more, as a new version.

    Args:
        reference: the run, in any state; of a name the newest version.
        name: of the new run; the same where it is not given.
        runs_dir: the store that names are of; the new run is kept beside the old one.
        data_dir: the data folder.
        argv: the command line, kept in the new run.
        listener: told of what differs here, since numbers may differ then, and of progress.

    Raises:
        RunNotFound: no such run.
        RunStateError: it was killed while it was claimed.
        DatasetMissing, DataCorrupt: its data are not here.
        Others as ``dregcli.app.train.start``.
    """
    run = newest_version(RunStore(runs_dir), reference, listener)
    spec = spec_of(run)
    resolve_device(spec.device)
    data = data_of(spec, data_dir)
    differing = differing_fields(run.environment(), environment_now(spec, argv))
    if differing:
        listener.warn(f"numbers may differ from those of {run.label}: {', '.join(differing)}.")
    else:
        listener.note(f"everything is as it was for {run.label}: the numbers will be the same")
    return start(Plan(spec, data), name=name or run.name, store=RunStore.of(run), argv=argv, listener=listener)


def differing_fields(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What numbers may depend on and is another now, in words; what was not captured then counts as the same."""
    a, b = flat(then), flat(now)
    names = [name for name in dict.fromkeys([*a, *b]) if name.startswith(_MATTERS)]
    told: list[str] = []
    for name in names:
        if name in a and a[name] != b.get(name):
            long = "git." in name and name != "git.commit"
            told.append(f"{name} differs" if long else f"{name} {_short(a[name])}, now {_short(b.get(name))}")
        elif name not in a and name.startswith("git.untracked_text."):
            told.append(f"{name.removeprefix('git.untracked_text.')} is new")
    return told


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
