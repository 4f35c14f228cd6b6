"""Plan and train what ``dreg train`` asks for: a new run, a resumed run, or a study of many runs."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.loading.named import find_run_to_resume
from dregcli.app.planning.machine import sharing_memory
from dregcli.app.planning.plan import Plan, resolve_plan
from dregcli.app.planning.words import spread_pair
from dregcli.app.studies.elsewhere import WHERE, faults_of_place, options_of_places
from dregcli.app.studies.outcome import StudyResult
from dregcli.app.studies.plan import StudyPlan, name_faults, plan_study
from dregcli.app.studies.preview import Preview, preview_run, preview_study
from dregcli.app.studies.repeats import Key
from dregcli.app.studies.request import Files, TrainRequest
from dregcli.app.studies.study import run_study
from dregcli.app.training.resuming import resume_plan
from dregcli.app.training.train import TrainResult, resume, start
from dregcli.commands import command
from dregcli.engine.device import planning_for, prepare_process, threads, using_threads
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.names import Place
from dregcli.specs.axes import grid_of
from dregcli.specs.resolve import flag, merge_options, setting_faults
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore
from dregcli.wording import listed

__all__ = ["StudyResult", "TrainRequest", "TrainResult", "launch", "planned", "preview", "print_config"]


def launch(
    request: TrainRequest,
    *,
    runs_dir: Path,
    data_dir: Path,
    argv: list[str],
    listener: ListenerOfMany,
    without: Collection[Key] = (),
) -> TrainResult | StudyResult:
    """Train the requested run or study.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in the run.
        listener: receives progress messages.
        without: runs of the study that are not needed; at least one other is left.

    Raises:
        UsageError: options contradict each other, or the spec has faults; all faults are reported at once.
        Other errors: see ``dregcli.app.training.train.start`` and ``resume``, and
            ``dregcli.app.studies.study.run_study``.
    """
    prepare_process()
    store = RunStore(runs_dir)
    if request.resume is not None:
        return _resume(request, request.resume, store=store, data_dir=data_dir, argv=argv, listener=listener)
    _refuse_end_alone(request)
    files = _files(request)
    elsewhere = WHERE.get(request.on)
    if elsewhere or request.is_study(files):
        study = _planned(request, files, data_dir).without(without)
        return run_study(
            study,
            store=store,
            data_dir=data_dir,
            argv=argv,
            listener=listener,
            jobs=request.at_once if elsewhere else max(1, request.jobs or 1),
            carry_out=partial(elsewhere.carry_out, request=request, listener=listener) if elsewhere else None,
            awaits=elsewhere is None or elsewhere.awaits,
        )
    plan = plan_run(request, files, data_dir)
    return start(plan, name=request.name, store=store, argv=argv, listener=listener)


def print_config(request: TrainRequest, *, data_dir: Path, listener: Listener) -> RunSpec:
    """Resolve a request for one new run, and show its warnings, without training it.

    Args:
        request: the request.
        data_dir: the data folder.
        listener: receives the warnings.

    Raises:
        UsageError: the request is a study, which has many specs, or a resumed run, which keeps its own spec.
        Other errors: see ``dregcli.app.planning.plan.resolve_plan``.
    """
    if request.resume is not None:
        what = "A resumed run keeps its spec: --print-config has nothing to resolve."
        raise UsageError(what, where="--resume", hint=command("runs", "show", request.resume))
    _refuse_end_alone(request)
    files = _files(request)
    if request.is_study(files):
        what = "--print-config prints one run, but a study has several."
        hint = "give one --seed and one value for each option; or see all runs: --dry-run in place of --print-config"
        raise UsageError(what, where="--seeds, a list of values, or --sweep", hint=hint)
    with _planning(request):
        plan = plan_run(request, files, data_dir)
    plan.warn(listener)
    return plan.spec


def preview(
    request: TrainRequest, *, runs_dir: Path, data_dir: Path, listener: Listener, without: Collection[Key] = ()
) -> Preview:
    """Resolve a request, and say what the store has of its runs already; nothing is trained.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        listener: receives the warnings.
        without: runs of the study that are not needed.

    Raises:
        UsageError: the request continues a run.
        Other errors: see ``dregcli.app.studies.plan.plan_study`` and ``dregcli.app.planning.plan.resolve_plan``.
    """
    if request.resume is not None:
        what = "--dry-run shows the runs that a command would begin, but --resume continues a run."
        raise UsageError(what, where="--resume", hint=command("runs", "show", request.resume))
    _refuse_end_alone(request)
    files, store = _files(request), RunStore(runs_dir)
    if elsewhere := WHERE.get(request.on):
        found = preview_study(_planned(request, files, data_dir).without(without), store, listener)
        missing = [each.combination.spec for each in found.runs if each.is_missing]
        return replace(found, elsewhere=tuple(elsewhere.previewed(missing, request, store)))
    if request.is_study(files):
        return preview_study(_planned(request, files, data_dir).without(without), store, listener)
    return preview_run(plan_run(request, files, data_dir), request.name, store, listener)


def planned(request: TrainRequest, data_dir: Path) -> StudyPlan:
    """Plan a study for the machines that will train it, without training it.

    Args:
        request: the request.
        data_dir: the data folder.

    Raises:
        Other errors: see ``dregcli.app.studies.plan.plan_study``.
    """
    return _planned(request, _files(request), data_dir)


def _planned(request: TrainRequest, files: Files, data_dir: Path) -> StudyPlan:
    """Plan a study for the machines that will train it; see ``dregcli.app.studies.plan.plan_study``."""
    with _planning(request):
        return plan_study(request, files, data_dir)


@contextmanager
def _planning(request: TrainRequest) -> Generator[None]:
    """Decide ``auto`` inside the block for the machines that will train the runs of a request."""
    elsewhere = WHERE.get(request.on)
    at_once = 1 if elsewhere else max(1, request.jobs or 1)
    number = elsewhere.threads(request) if elsewhere else max(1, threads() // at_once)
    device = elsewhere.device(request) if elsewhere else None
    # --threads auto takes the number that torch has now.
    with using_threads(number), planning_for(device), sharing_memory(at_once):
        yield


def _files(request: TrainRequest) -> Files:
    """Read the files of a request; the faults of where runs are trained are reported together with theirs."""
    files = request.read_files()
    faults: list[Fault] = []
    if request.jobs is not None and request.jobs < 1:
        faults.append(Fault("jobs", f"must be at least 1, got {request.jobs}."))
    elif (request.jobs or 1) > 1 and request.on is Place.LOCAL and not request.is_study(files):
        message = "is about the runs of a study, but this is one run: give --seeds, or several values for an option."
        faults.append(Fault("jobs", message))
    return replace(files, faults=[*files.faults, *faults, *faults_of_place(request)])


def _refuse_end_alone(request: TrainRequest) -> None:
    if request.trust_code:
        what = "--trust-code is about the code that a run keeps: it needs --resume with the run."
        hint = command("train", "--resume", "RUN", "--trust-code")
        raise UsageError(what, where="--trust-code", hint=hint)
    if request.end:
        what = "--end needs --resume with the run that is to end."
        raise UsageError(what, where="--end", hint=command("train", "--resume", "RUN", "--end"))


def plan_run(request: TrainRequest, files: Files, data_dir: Path) -> Plan:
    """Resolve a request for one run.

    Args:
        request: the request.
        files: the options in its files.
        data_dir: the data folder.

    Raises:
        Other errors: see ``dregcli.app.planning.plan.resolve_plan``.
    """
    layers = [spread_pair(layer) for layer in (request.flags, files.config, files.preset)]
    (flags, config, preset), found = zip(*layers, strict=True)
    options, faults = merge_options(flags, config, preset)
    contradictions = [fault for each in found for fault in each]
    of_name = name_faults(request.name) if request.name is not None else []
    return resolve_plan(options, data_dir, [*files.faults, *contradictions, *of_name, *faults])


def _resume(
    request: TrainRequest, reference: str, *, store: RunStore, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult:
    beside = [f"--{word}" for word in ("name", "preset", "config", "sweep") if getattr(request, word) is not None]
    beside += ["--jobs"] if request.jobs is not None else []
    beside += [f"--on {request.on}"] if request.on is not Place.LOCAL else []
    beside += [f"--{flag(option)}" for option in options_of_places() if getattr(request, option) not in (None, ())]
    beside += ["--seeds"] if request.options.get("seeds") is not None else []
    grid = grid_of([request.flags])
    lists = [*(flag(axis.name) for axis in grid.axes), *(fault.field for fault in grid.faults)]
    beside += [f"several values of --{name}" for name in dict.fromkeys(lists)]
    if beside:
        what = f"{listed(beside)} cannot be given with --resume: it continues one run here, with its name and spec."
        raise UsageError(what, hint=command("train", "--resume", reference))
    if request.end and request.options.get("steps") is not None:
        what = "--steps cannot be given with --end, which takes no more steps."
        raise UsageError(what, where="--steps", hint=command("train", "--resume", reference, "--end"))
    flags, contradiction = spread_pair(request.flags)
    given = {key: value for key, value in flags.items() if value is not None}
    if faults := [*contradiction, *setting_faults(**given)]:
        raise SpecError(faults, hint="correct these options, or leave them out")
    run = find_run_to_resume(store, reference, listener)
    plan = resume_plan(run, flags, data_dir, trust=request.trust_code, listener=listener)
    return resume(run, plan, store=RunStore.of(run), argv=argv, listener=listener, end=request.end)
