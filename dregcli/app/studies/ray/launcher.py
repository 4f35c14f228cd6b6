"""Have the runs of a study trained by a Ray cluster, and wait for them."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dregcli.app.common.interrupts import StopRequest
from dregcli.app.common.listener import Listener
from dregcli.app.studies.listening import RunListener
from dregcli.app.studies.ray.cluster import Tasks, connected, marked, needs
from dregcli.app.studies.request import TrainRequest
from dregcli.app.studies.side_by_side import carried_out
from dregcli.app.studies.worker import Order, Outcome
from dregcli.devices import DeviceKind
from dregcli.errors import Fault
from dregcli.specs.run import RunSpec
from dregcli.store.runs import RunStore
from dregcli.wording import counted

_USUAL = "auto"


@dataclass(frozen=True)
class Ray:
    """The launcher for Ray; see ``dregcli.app.studies.elsewhere.Elsewhere``."""

    options: tuple[str, ...] = ("at_once", "ray_address")
    awaits: bool = True

    def faults(self, request: TrainRequest) -> list[Fault]:
        """See ``Elsewhere``."""
        faults: list[Fault] = []
        if find_spec("ray") is None:
            faults.append(Fault("on", "ray needs Ray: in your clone of dreg: pip install -e '.[ray]'"))
        return faults + _faults_of_address(request.ray_address or _USUAL)

    def threads(self, request: TrainRequest) -> int:
        """See ``Elsewhere``: a task takes one CPU of the cluster, whichever machine the command is typed on."""
        return 1

    def device(self, request: TrainRequest) -> str:
        """See ``Elsewhere``: a task takes a GPU of the cluster only if the command asks for one."""
        return DeviceKind.CPU

    def previewed(self, specs: Sequence[RunSpec], request: TrainRequest, store: RunStore) -> list[str]:
        """See ``Elsewhere``."""
        tasks = Counter(_in_words(spec) for spec in specs)
        return [f"Ray would get {counted(number, 'task')}, each with {what}." for what, number in tasks.items()]

    def carry_out(
        self,
        orders: Mapping[int, Order],
        request: TrainRequest,
        *,
        listener: Listener,
        listener_of: Callable[[int], RunListener],
        stop: StopRequest,
    ) -> Generator[tuple[int, Outcome]]:
        """See ``Elsewhere``.

        Raises:
            ClusterError: there is no cluster at the address.
            StoreWriteError: the store cannot be written, or a node does not see it.
            Errors: see ``dregcli.app.studies.side_by_side.carried_out``.
        """
        store = RunStore(next(iter(orders.values())).runs_dir)
        with connected(request.ray_address or _USUAL) as ray, marked(store) as mark:
            _warn_of_what_fits_nowhere(ray, orders, listener)
            with closing(Tasks(ray, mark)) as tasks:
                yield from carried_out(
                    orders,
                    at_once=request.at_once or len(orders),
                    start=tasks.start,
                    listener_of=listener_of,
                    stop=stop,
                    where=str(store.root),
                )


def _faults_of_address(address: str) -> list[Fault]:
    if address == "local":
        message = "'local' would be a new cluster of this machine alone: leave --on ray out, and give --jobs."
    elif "://" in address:
        message = f"must be the address of the cluster itself, HOST:PORT, got '{address}'."
    elif address == _USUAL or (address.rpartition(":")[0] and address.rpartition(":")[2].isdecimal()):
        return []
    else:
        message = f"must be {_USUAL} or HOST:PORT, got '{address}'."
    return [Fault("ray-address", message)]


def _warn_of_what_fits_nowhere(ray: Any, orders: Mapping[int, Order], listener: Listener) -> None:  # noqa: ANN401
    """Warn of runs that need more than any node has: they would wait for ever, unless the cluster grows."""
    nodes: list[Mapping[str, float]] = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    most = int(max((node.get("CPU", 0) for node in nodes), default=0))
    for words, wanted in {_in_words(order.spec): needs(order.spec) for order in orders.values()}.items():
        cpus, gpus = wanted["num_cpus"], wanted["num_gpus"]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            what = f"no node of the cluster has the {words} that a run takes"
            advice = "the runs wait until one joins; with --threads you say how many CPUs a run takes"
            listener.warn(f"{what} (the most is {counted(most, 'CPU')}): {advice}")


def _in_words(spec: RunSpec) -> str:
    wanted = needs(spec)
    return counted(wanted["num_cpus"], "CPU") + (" and 1 GPU" if wanted["num_gpus"] else "")
