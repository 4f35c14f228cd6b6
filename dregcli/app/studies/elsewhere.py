"""Where the runs of a study can be trained, other than on this machine: a table with one launcher a place."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, Protocol

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.common.listener import Listener
from dregcli.app.common.ranks import ranks_here
from dregcli.app.studies.listening import RunListener
from dregcli.app.studies.ray.launcher import Ray
from dregcli.app.studies.request import TrainRequest
from dregcli.app.studies.slurm.launcher import Slurm
from dregcli.app.studies.worker import Order, Outcome
from dregcli.errors import Fault
from dregcli.names import Place
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore


class Elsewhere(Protocol):
    """A launcher: it has the runs of a study trained somewhere else."""

    @property
    def options(self) -> tuple[str, ...]:
        """The fields of ``TrainRequest`` that only this launcher takes."""
        ...

    @property
    def awaits(self) -> bool:
        """Whether ``carry_out`` goes on until the runs have ended; otherwise they only have been handed over."""
        ...

    def faults(self, request: TrainRequest) -> list[Fault]:
        """Return what makes this request impossible here, as far as it can be known before any work."""
        ...

    def threads(self, request: TrainRequest) -> int:
        """Return the number of threads of a run whose ``--threads`` is ``auto``."""
        ...

    def device(self, request: TrainRequest) -> str:
        """Return the device of a run whose ``--device`` is ``auto``; this machine need not have it."""
        ...

    def previewed(self, specs: Sequence[RunSpec], request: TrainRequest, store: RunStore) -> list[str]:
        """Say in sentences how ``carry_out`` would have runs trained; nothing is handed over.

        Args:
            specs: the runs that are missing.
            request: the request, with the options of this launcher.
            store: the store of the runs.

        Raises:
            DregError: the cluster does not answer.
        """
        ...

    def carry_out(
        self,
        orders: Mapping[int, Order],
        request: TrainRequest,
        *,
        listener: Listener,
        listener_of: Callable[[int], RunListener],
        stop: StopRequest,
    ) -> Generator[tuple[int, Outcome]]:
        """Have orders carried out, and yield the number of each and its outcome as soon as it is known.

        Args:
            orders: the orders by number; all are for the same store.
            request: the request, with the options of this launcher.
            listener: receives messages that do not concern a single run.
            listener_of: called with the number of an order that begins; returns the run's listener.
            stop: changed by a signal.

        Raises:
            Interrupted: a signal came, and not all orders have been carried out.
            DregError: an error that concerns the whole study.
        """
        ...


WHERE: Final[dict[Place, Elsewhere]] = {Place.SLURM: Slurm(), Place.RAY: Ray()}


def faults_of_place(request: TrainRequest) -> list[Fault]:
    """Return the faults of the options that say where the runs of a request are trained."""
    launcher = WHERE.get(request.on)
    faults = launcher.faults(request) if launcher else []
    if request.at_once is not None and request.at_once < 1:
        faults.append(Fault("at-once", f"must be at least 1, got {request.at_once}."))
    if launcher and request.jobs is not None:
        faults.append(Fault("jobs", f"is about runs on this machine, and cannot be given with --on {request.on}."))
    if ranks_here() is not None:
        message = "cannot be given with several ranks, which train one run together: "
        message += "leave this option out, or start dreg without torchrun."
        given = {"on": launcher is not None, "jobs": launcher is None and (request.jobs or 1) > 1}
        faults += [Fault(option, message) for option, is_given in given.items() if is_given]
    for option, its in options_of_places().items():
        if getattr(request, option) and request.on not in its:
            name = option.replace("_", "-")
            faults.append(Fault(name, f"needs {' or '.join(f'--on {place}' for place in its)}."))
    return faults


def options_of_places() -> dict[str, list[Place]]:
    """Return the fields of ``TrainRequest`` that only some launchers take, each with their places."""
    places: dict[str, list[Place]] = {}
    for place, each in WHERE.items():
        for option in each.options:
            places.setdefault(option, []).append(place)
    return places
