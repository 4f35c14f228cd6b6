"""What ``dreg train`` was asked for: a new run or one to go on with, planned and then trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dregcli.app.listener import Listener
from dregcli.app.plan import resolve_plan, spread_pair
from dregcli.app.resuming import find_run_to_resume, resume_plan
from dregcli.app.train import TrainResult, resume, start
from dregcli.errors import SpecError, UsageError
from dregcli.specs.config import read_config
from dregcli.specs.resolve import merge_options
from dregcli.store.runs import RunStore


@dataclass(frozen=True)
class TrainRequest:
    """A request to train.

    Attributes:
        options: given on the command line, by field of the spec; None where not given.
        name: the run's name.
        preset: settings by name.
        config: a file of options.
        resume: the run to go on with, instead of a new one.
    """

    options: Mapping[str, Any]
    name: str | None = None
    preset: str | None = None
    config: Path | None = None
    resume: str | None = None


def launch(
    request: TrainRequest, *, runs_dir: Path, data_dir: Path, argv: list[str], listener: Listener
) -> TrainResult:
    """Train what was asked for.

    Args:
        request: what.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in the run.
        listener: told of progress.

    Raises:
        UsageError: options that cannot stand together, or a spec with faults, all of them.
        Others as ``dregcli.app.train.start`` and ``resume``.
    """
    store = RunStore(runs_dir)
    flags, contradiction = spread_pair(request.options)
    if request.resume is None:
        config, other = spread_pair(read_config(request.config) if request.config else {})
        options, faults = merge_options(flags, config, request.preset)
        plan = resolve_plan(options, data_dir, [*contradiction, *other, *faults])
        return start(plan, name=request.name, store=store, argv=argv, listener=listener)
    beside = [f"--{word}" for word in ("name", "preset", "config") if getattr(request, word) is not None]
    if beside:
        what = f"{' and '.join(beside)} cannot be given with --resume: a resumed run keeps its name and spec."
        raise UsageError(what, hint=f"dreg train --resume {request.resume}")
    if contradiction:
        raise SpecError(contradiction, hint="leave these options out")
    run = find_run_to_resume(store, request.resume)
    return resume(run, resume_plan(run, flags, data_dir), store=store, argv=argv, listener=listener)
