"""``dreg runs rerun``: train a run again from its spec and its captured environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_run
from dregcli.app.loading.stored import spec_of
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.plan import Plan
from dregcli.app.training.result import TrainResult
from dregcli.app.training.resuming import anew_on_another_device
from dregcli.app.training.train import environment_now, start
from dregcli.describe import flat
from dregcli.engine.device import prepare_process, resolve_device
from dregcli.errors import SpecError, StoreCorrupt
from dregcli.names import Capture
from dregcli.specs.execution import ROUNDING_ONLY
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RUN_ONLY, RunSpec, as_json, spelt_out
from dregcli.store.capture import NUMERIC_VARIABLES
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

_NOT_SET: Final = {"ranks": 1, **{f"variables.{name}": None for name in NUMERIC_VARIABLES}}
"""What it means that an environment does not have one of these fields."""
_MATTERS: Final = (
    *("packages.dreg", "packages.torch", "packages.numpy", "libraries."),
    *("cpu.model", "threads", "device", "gpu.", *_NOT_SET),
)
"""Beginnings of the names of environment fields on which the numbers of a training run can depend."""

_SOURCE: Final = "source_sha256"
_COMMIT: Final = "git.commit"


def rerun(
    reference: str,
    name: str | None,
    *,
    runs_dir: Path,
    data_dir: Path,
    argv: list[str],
    listener: Listener,
    capture: str | None = None,
    code: CodeRequest = AS_TRAINED,
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
        code: what the user says about the code of the run's model.

    Raises:
        SpecError: no such ``capture``.
        RunNotFound: no such run.
        RunStateError: the run was killed while it was claimed.
        DatasetMissing, DataCorrupt: the run's data are not on this machine.
        Other errors: see ``dregcli.app.training.train.start``.
    """
    prepare_process()
    run = find_run(RunStore(runs_dir), reference, listener)
    spec = spec_of(run)
    asked = {"capture": spec.capture if capture is None else capture}
    if faults := spec_faults(spec.model_dump() | asked):
        raise SpecError(faults, hint="`dreg runs rerun --help` shows every option")
    spec = RunSpec.model_validate(spec.model_dump(exclude=set(RUN_ONLY)) | asked)
    spec, used = code_of_run(run, spec, code, listener)
    resolve_device(spec.device, instead=anew_on_another_device(run))
    data = data_of(spec, data_dir)
    differing = differing_here(run, spec)
    if differing:
        listener.warn(f"numbers may differ from the numbers of {run.label}: {', '.join(differing)}.")
    else:
        listener.note(f"nothing that numbers depend on has changed since {run.label}: they will be the same")
    plan = Plan(spec, data, code=used)
    return start(plan, name=name or run.name, store=RunStore.of(run), argv=argv, listener=listener)


def differing_here(run: Run, spec: RunSpec) -> list[str]:
    """Return in words the changes since a run was made on which its numbers can depend."""
    # Names and contents of other files do not matter here.
    now = environment_now(spec.model_copy(update={"capture": Capture.NONE}), [])
    before = spec_of(run)
    other = ["the code of the model differs"] if spec.model_digest != before.model_digest else []
    several = ["the run took its first steps with other code of the model"] if before.model_before else []
    found = dict.fromkeys(differing_fields(run.environment(), now))
    try:
        for each in run.resumed_environments().values():
            found |= {f"{text} (after a resume)": None for text in differing_fields(each, now) if text not in found}
        resumed = _before_a_resume(run, spec)
    except StoreCorrupt as error:  # the run can still be repeated, and the first environment is known
        resumed = [f"what the run had before or after a resume cannot be read ({error.where})"]
    return [*other, *several, *resumed, *found]


def _before_a_resume(run: Run, spec: RunSpec) -> list[str]:
    """Return in words the settings that only round, and that earlier steps of the run had with other values."""
    now = spelt_out(as_json(spec))
    # The environments have the threads.
    names = [name for name in ROUNDING_ONLY if name != "threads"]
    before = [(name, each[name]) for each in map(spelt_out, run.earlier_specs()) for name in names]
    changed = [f"{name} {_short(value)}, now {_short(now[name])}" for name, value in before if value != now[name]]
    return [f"{text} (before a resume)" for text in dict.fromkeys(changed)]


def differing_fields(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words the changes between two environments on which numbers can depend.

    A field that the first environment does not have counts as unchanged, except those in ``_NOT_SET``. Of dreg's own
    source only the files matter that compute numbers, by their common digest; a run from before there was one is
    compared by its commit.
    """
    a, b = ({**_NOT_SET, **flat(each)} for each in (then, now))
    found: list[str] = []
    for name, value in a.items():
        if value == b.get(name):
            continue
        if name == _SOURCE:
            commits = [str(each.get(_COMMIT))[:12] for each in (a, b)]
            known = f" (commit {commits[0]}, now {commits[1]})" if commits[0] != commits[1] else ""
            found.append(f"the source of dreg differs{known}")
        elif name.startswith(_MATTERS) or (name == _COMMIT and _SOURCE not in a):
            found.append(f"{name} {_short(value)}, now {_short(b.get(name))}")
    return found


def _short(value: object) -> str:
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
