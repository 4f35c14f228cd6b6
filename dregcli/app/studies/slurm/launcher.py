"""Hand the runs of a study over to SLURM, as an array with one task a run. The command does not wait for them."""

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Final

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.common.listener import Listener
from dregcli.app.studies.listening import RunListener
from dregcli.app.studies.repeats import key_of
from dregcli.app.studies.request import TrainRequest
from dregcli.app.studies.slurm import queue
from dregcli.app.studies.slurm.arrays import Array, new_array
from dregcli.app.studies.slurm.settings import asks_for_gpu, of_submitit, parse
from dregcli.app.studies.slurm.submitted import still_queued, subject
from dregcli.app.studies.slurm.task import run_task
from dregcli.app.studies.worker import Order, Outcome
from dregcli.commands import command, quoted
from dregcli.devices import DeviceKind
from dregcli.errors import ClusterError, Fault
from dregcli.filesystem import discard
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore
from dregcli.wording import counted, listed, some_of

_OF_ONE_HOST: Final = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/run")))
"""Folders that usually belong to one host alone."""


@dataclass(frozen=True)
class Slurm:
    """The launcher for SLURM; see ``dregcli.app.studies.elsewhere.Elsewhere``."""

    options: tuple[str, ...] = ("at_once", "slurm")
    awaits: bool = False

    def faults(self, request: TrainRequest) -> list[Fault]:
        """See ``Elsewhere``."""
        faults: list[Fault] = []
        if find_spec("submitit") is None:
            faults.append(Fault("on", "slurm needs submitit: in your clone of dreg: pip install -e '.[slurm]'"))
        if missing := [name for name in queue.NEEDED if shutil.which(name) is None]:
            message = (
                f"this host does not have SLURM's {listed(missing)}: type the command on a host of the cluster, "
            )
            faults.append(Fault("on", f"{message}or train several runs at once here, with --jobs."))
        return faults + parse(request.slurm)[1]

    def threads(self, request: TrainRequest) -> int:
        """See ``Elsewhere``: a run has as many threads as its job has cores."""
        return parse(request.slurm)[0].get("cpus_per_task", 1)

    def device(self, request: TrainRequest) -> str:
        """See ``Elsewhere``: a run is on a GPU if its job has one."""
        return DeviceKind.CUDA if asks_for_gpu(parse(request.slurm)[0]) else DeviceKind.CPU

    def previewed(self, specs: Sequence[RunSpec], request: TrainRequest, store: RunStore) -> list[str]:
        """See ``Elsewhere``."""
        there = still_queued(store.root)
        new = [spec for spec in specs if subject(*key_of(spec)) not in there]
        sentences = [] if len(new) == len(specs) else [f"In SLURM's queue already: {len(specs) - len(new)}."]
        if new:
            parameters = _parameters(new, request)
            shown = [f"{name.removeprefix('slurm_')}={value}" for name, value in parameters.items()]
            sentences.append(f"SLURM would get {counted(len(new), 'task')} with these settings: {', '.join(shown)}.")
        return sentences

    def carry_out(
        self,
        orders: Mapping[int, Order],
        request: TrainRequest,
        *,
        listener: Listener,
        listener_of: Callable[[int], RunListener],
        stop: StopRequest,
    ) -> Generator[tuple[int, Outcome]]:
        """See ``Elsewhere``; a run that waits for SLURM or runs there already is not handed over again.

        Raises:
            ClusterError: SLURM does not answer, or refuses the array.
            StoreWriteError: the store cannot be written.
        """
        store = RunStore(next(iter(orders.values())).runs_dir)
        there = still_queued(store.root)
        new: dict[int, Order] = {}
        for number, order in orders.items():
            if job := there.get(subject(*key_of(order.spec))):
                yield number, Outcome(queued=f"job {job} of SLURM")
            else:
                new[number] = order
        if not new:
            return
        _warn(listener, [*new.values()], parse(request.slurm)[0])
        array, jobs = _submit(store, [_absolute(order) for order in new.values()], request)
        for (number, _), job in zip(new.items(), jobs, strict=True):
            yield number, Outcome(queued=f"job {job} of SLURM")
        _say_what_to_type(listener, array, jobs, request)


def _submit(store: RunStore, orders: Sequence[Order], request: TrainRequest) -> tuple[Array, list[str]]:
    """Hand an array over, and return the job of each order."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    array, paths = new_array(store, orders)
    printed = StringIO()
    try:
        with redirect_stderr(printed):  # submitit prints what sbatch prints
            executor = submitit.AutoExecutor(folder=array.jobs, cluster="slurm")
            executor.update_parameters(**_parameters([order.spec for order in orders], request))
            jobs = executor.map_array(run_task, [str(path) for path in paths])
    except (FailedJobError, FailedSubmissionError) as error:
        discard(store.fs, array.home)
        hint = "change the settings, --slurm NAME=VALUE; sinfo lists the partitions and their time limits"
        raise queue.refusal(("sbatch",), str(error), hint=hint) from error
    except OSError as error:
        what = f"The array cannot be handed over: {error}"
        raise ClusterError(what, where=str(array.home)) from error
    found = [job.job_id for job in jobs]
    array.record(store.fs, orders, found)
    return array, found


def _parameters(specs: Sequence[RunSpec], request: TrainRequest) -> dict[str, Any]:
    """Return submitit's parameters for the jobs of these runs."""
    settings, _ = parse(request.slurm)
    threads, gpu = max(spec.threads or 1 for spec in specs), any(spec.device == DeviceKind.CUDA for spec in specs)
    return of_submitit(settings, at_once=request.at_once, threads=threads, gpu=gpu)


def _absolute(order: Order) -> Order:
    return replace(order, runs_dir=order.runs_dir.absolute(), data_dir=order.data_dir.absolute())


def _warn(listener: Listener, orders: Sequence[Order], settings: Mapping[str, Any]) -> None:
    for name, folder in (("runs", orders[0].runs_dir), ("data", orders[0].data_dir)):
        if any(folder.absolute().is_relative_to(each) for each in _OF_ONE_HOST):
            listener.warn(
                f"the {name} are in {folder.absolute()}, which other hosts may not see; a study on a cluster needs a "
                f"folder that all hosts share: --{name}-dir FOLDER"
            )
    if asks_for_gpu(settings) and all(order.spec.device == DeviceKind.CPU for order in orders):
        listener.warn("the jobs ask for a GPU, but --device cpu leaves it idle")
    threads = max(order.spec.threads or 1 for order in orders)
    if threads > settings.get("cpus_per_task", threads):
        cores = counted(settings["cpus_per_task"], "core")
        listener.warn(
            f"each run has {threads} threads, but its job has {cores}: give --slurm cpus_per_task={threads}"
        )


def _say_what_to_type(listener: Listener, array: Array, jobs: Sequence[str], request: TrainRequest) -> None:
    ids = [*dict.fromkeys(job.partition("_")[0] for job in jobs)]
    listener.note(f"handed over to SLURM: {counted(len(jobs), 'run')}, as job {some_of(ids)}; logs: {array.jobs}")
    words = [request.name] if request.name else []
    listener.note(f"follow them: {command('report', *words, '--watch')}")
    listener.note(f"see the queue: {quoted('squeue', '--job', ','.join(ids))}")
    listener.note(f"cancel them: {quoted('scancel', *ids)}")
    listener.note("see the results, or hand over again what was cancelled: type the same command again")
