"""Plan how a run continues, and refuse every change of its options except its length."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import spec_of
from dregcli.app.models.code import Code
from dregcli.app.models.request import CodeRequest
from dregcli.app.models.trust import code_of_run
from dregcli.app.planning.executing import decide_compile
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.optimising import prolonging_changes
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.tracked import tracked_words, with_trained
from dregcli.app.planning.words import canonical_words
from dregcli.app.training.evaluations import SPLITS
from dregcli.commands import command
from dregcli.devices import kind_of, number_of
from dregcli.engine.device import resolve_device
from dregcli.errors import Fault, RunStateError, SpecError
from dregcli.names import RunStatus
from dregcli.specs.execution import AUTO, ROUNDING_ONLY
from dregcli.specs.models import is_network
from dregcli.specs.options import RunOptions
from dregcli.specs.resolve import flag, setting_faults, spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run

FREE = (*ROUNDING_ONLY, "device", "checkpoint_every", "keep_last", "capture", "final_eval")
"""Options that a resumed run may change, beside its steps."""


def resume_plan(
    run: Run,
    flags: Mapping[str, Any],
    data_dir: Path,
    *,
    trust: bool = False,
    code: Code | None = None,
    listener: Listener | None = None,
) -> Plan:
    """Return the plan that continues a run.

    Args:
        run: the run.
        flags: options given beside ``--resume``. Only these may differ from the run's spec: more steps, and the
            options in ``FREE``. ``auto`` keeps the run's value. A smaller ``k_chunk`` lets a run continue that ran
            out of memory. ``model`` may name other code for a class of the user's own.
        data_dir: the data folder.
        trust: whether the copy of the model's code that the run keeps may be run.
        code: code of the run's model, if it is at hand.
        listener: receives a warning if the run continues with other code.

    Raises:
        CodeRefused: see ``dregcli.app.models.trust.code_of_run``.
        SpecError: an option differs from the run's spec.
        RunStateError: the run is completed, and the user asked for no more steps and no more final bounds.
        DeviceUnavailable: the run's device is not on this machine.
    """
    spec = spec_of(run)
    changes, faults = _free_to_change(spec, flags)
    # Before the run is claimed: a run of a GPU needs one.
    device = resolve_device(changes.get("device", spec.device), instead=_on_another_device(run, spec))
    data = data_of(spec.model_copy(update={"device": device}), data_dir)
    asked = CodeRequest(trust=trust)
    if not is_network(spec.model):  # the model of such a run may be built by other code
        asked = CodeRequest(flags.get("model"), trust)
        flags = {**flags, "model": None, "model_options": _other_options(spec, flags.get("model_options"))}
    stored: dict[str, Any] = canonical_words(spec.model_dump()) | {
        "eval_k": spec.bound_k,
        "lr_posterior": spec.lr_posterior or spec.lr,
    }
    given = canonical_words(flags)
    if given.get("track_estimators") is not None:
        words, of_tracked = tracked_words(given["track_estimators"], objective=spec.objective, k=spec.k)
        faults += of_tracked
        # A run from before the trained estimator was tracked too may be continued with the same words.
        given["track_estimators"] = with_trained(words, spec.estimator)
        stored["track_estimators"] = with_trained(spec.track_estimators, spec.estimator)
    steps = spec.steps
    for key, value in given.items():
        if value is None or key in FREE or value == AUTO == RunOptions.model_fields[key].default:
            continue
        if key == "steps":
            steps = value
            if value < spec.steps:
                message = f"the run has {spec.steps} steps and can only get longer, got {value}."
                faults.append(Fault("steps", message))
            elif value != spec.steps and (reason := prolonging_changes(spec)):
                faults.append(Fault("steps", f"the run keeps its {spec.steps} steps, because {reason}."))
            faults += [fault for fault in spec_faults(spec.model_dump() | {"steps": value}) if value >= spec.steps]
        elif key not in stored:
            faults.append(Fault(flag(key), "cannot be given with --resume."))
        elif value != stored[key]:
            was = ",".join(map(str, stored[key])) if isinstance(stored[key], list | tuple) else stored[key]
            was = "none" if was is None or was == "" else was
            faults.append(Fault(flag(key), f"the run was made with {was}; a resumed run keeps its spec."))
    if faults:
        raise SpecError(
            faults, where=str(run.path), hint="leave these options out, or start a new run without --resume"
        )
    plan = Plan(RunSpec.model_validate(spec.model_dump() | changes | {"steps": steps}), data)
    lacks_bounds = not set(SPLITS[plan.spec.final_eval]) <= set(SPLITS[spec.final_eval])
    if run.status() is RunStatus.COMPLETED and steps == spec.steps and not lacks_bounds:
        raise _completed(run, spec)
    if code is not None and code.digest == spec.model_digest:
        return replace(plan, code=code)
    spec, code = code_of_run(run, plan.spec, asked, listener)
    return replace(plan, spec=spec, code=code)


def _other_options(spec: RunSpec, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the options of the model that the user gave; None if the run has the same values."""
    kept = {name: str(value).casefold() for name, value in spec.model_options.items()}  # True is typed as true
    same = all(kept.get(name.replace("-", "_")) == str(value).casefold() for name, value in (given or {}).items())
    return None if same else given


def _completed(run: Run, spec: RunSpec) -> RunStateError:
    """Return the error for a run that has nothing left to do."""
    what = f"The run is completed: all {spec.steps} steps are done."
    if run.info().summary.get("stopped_early"):
        what = "The run is completed: it stopped early, after validations without a better bound (--patience)."
    hint = f"make it longer: {command('train', '--resume', run.path, '--steps', str(2 * spec.steps))}"
    if prolonging_changes(spec):
        hint = f"start a new run from its spec: {command('train', '--config', run.path / 'spec.json')}"
    return RunStateError(what, where=str(run.path), hint=hint)


def anew_on_another_device(run: Run) -> str:
    """Return what to type if the device of a run is missing: its spec can be trained on any."""
    return (
        f"train its spec from the start: {command('train', '--config', run.path / 'spec.json', '--device', 'auto')}"
    )


def _on_another_device(run: Run, spec: RunSpec) -> str:
    """Return what to type if the device of a run that is to continue is missing."""
    anew = anew_on_another_device(run)
    if number_of(spec.device) is None:
        return anew
    other = command("train", "--resume", run.path, "--device", kind_of(spec.device))
    return f"continue on another GPU, if there is one: {other}; or {anew}"


def _free_to_change(spec: RunSpec, flags: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the changed options of ``FREE``, and every fault in them; ``auto`` keeps the run's decision."""
    changes = {key: flags[key] for key in FREE if flags.get(key) not in (None, AUTO)}
    faults = setting_faults(**changes)
    if kind_of(str(changes.get("device", spec.device))) != kind_of(spec.device):
        device = changes.pop("device")
        if not setting_faults(device=device):
            message = (
                f"the run was made with {spec.device}; a resumed run keeps the kind of its device, got '{device}'."
            )
            faults.append(Fault("device", message))
    if "compile" in changes:
        changes["compile"], of_compile, _ = decide_compile(changes["compile"], 0.0)
        faults += [fault for fault in of_compile if fault not in faults]
    known = {fault.field for fault in faults}
    faults += [fault for fault in spec_faults(spec.model_dump() | changes) if fault.field not in known]
    if changes.get("k_chunk") == spec.k:
        changes["k_chunk"] = None
    return changes, faults
