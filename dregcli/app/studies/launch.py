"""What ``dreg train`` was asked for: a new run, one to go on with, or a study of many; planned and then trained."""

from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.planning.plan import resolve_plan, spread_pair
from dregcli.app.studies.plan import plan_study
from dregcli.app.studies.request import TrainRequest
from dregcli.app.studies.study import StudyResult, run_study
from dregcli.app.training.resuming import find_run_to_resume, resume_plan
from dregcli.app.training.train import TrainResult, resume, start
from dregcli.commands import command
from dregcli.errors import SpecError, UsageError
from dregcli.specs.resolve import merge_options
from dregcli.store.runs import RunStore

__all__ = ["StudyResult", "TrainRequest", "TrainResult", "launch"]


def launch(
    request: TrainRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult | StudyResult:
    """Train what was asked for.

    Args:
        request: what.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in the run.
        listener: told of progress.

    Raises:
        UsageError: options that cannot stand together, or a spec with faults, all of them.
        Others as ``dregcli.app.training.train.start`` and ``resume``, and ``dregcli.app.studies.study.run_study``.
    """
    store = RunStore(runs_dir)
    if request.resume is not None:
        return _resume(request, request.resume, store=store, data_dir=data_dir, argv=argv, listener=listener)
    given = request.read_config()
    if request.is_study(given):
        study = plan_study(request, given, data_dir)
        return run_study(study, store=store, data_dir=data_dir, argv=argv, listener=listener)
    flags, contradiction = spread_pair(request.flags)
    config, other = spread_pair(given)
    options, faults = merge_options(flags, config, request.preset)
    plan = resolve_plan(options, data_dir, [*contradiction, *other, *faults])
    return start(plan, name=request.name, store=store, argv=argv, listener=listener)


def _resume(
    request: TrainRequest, reference: str, *, store: RunStore, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult:
    beside = [f"--{word}" for word in ("name", "preset", "config") if getattr(request, word) is not None]
    beside += ["--seeds"] if request.options.get("seeds") is not None else []
    beside += ["several --estimator"] if isinstance(request.flags.get("estimator"), list) else []
    if beside:
        what = f"{' and '.join(beside)} cannot be given with --resume: a resumed run keeps its name and spec."
        raise UsageError(what, hint=command("train", "--resume", reference))
    flags, contradiction = spread_pair(request.flags)
    if contradiction:
        raise SpecError(contradiction, hint="leave these options out")
    run = find_run_to_resume(store, reference)
    return resume(run, resume_plan(run, flags, data_dir), store=RunStore.of(run), argv=argv, listener=listener)
