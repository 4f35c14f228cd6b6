"""The ranks that this process is one of, if ``torchrun`` or another launcher started it as one of several.

A process is a rank or is alone for its whole life, and so is torch's process group. Therefore this module keeps the
group: everything else asks ``ranks_here``.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from dregcli.devices import DeviceKind
from dregcli.engine.device import take_gpu
from dregcli.engine.execution import Execution
from dregcli.engine.execution.sharded import Shards
from dregcli.engine.process_group import ProcessGroup
from dregcli.errors import Fault, RankLost, SpecError, UsageError
from dregcli.names import Precision, Shard

_NEEDED: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_HINT: Final = "torchrun --standalone --nproc-per-node 2 -m dregcli train"

END: Final = b"end"
"""The last message of rank 0: there is no further run."""


@dataclass(frozen=True)
class Place:
    """The place of this process among the ranks.

    Attributes:
        rank: number of the process, from 0.
        size: number of processes.
        local: number of the process on its machine, from 0.
    """

    rank: int
    size: int
    local: int


def place_in(environment: Mapping[str, str]) -> Place | None:
    """Return the place that a launcher gave to this process; None if it is alone.

    Raises:
        UsageError: the launcher's variables contradict each other.
    """
    if "RANK" not in environment or environment.get("WORLD_SIZE") in (None, "", "1"):
        return None
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing:
        what = f"This process was started as one of several ranks, but {' and '.join(missing)} are not set."
        raise UsageError(what, where="the environment", hint=f"start it with {_HINT}")
    try:
        rank, size, local = (int(environment.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except ValueError:
        rank, size, local = -1, 0, -1
    if not (0 <= rank < size and local >= 0):
        shown = ", ".join(f"{name}={environment.get(name, '')}" for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        what = f"The numbers of this rank contradict each other: {shown}."
        raise UsageError(what, where="the environment", hint=f"start it with {_HINT}")
    return Place(rank, size, local)


_joined: ProcessGroup | None = None


def ranks_here() -> ProcessGroup | None:
    """Return the ranks that this process has joined; None if it is alone."""
    return _joined


@contextmanager
def joining(place: Place) -> Generator[ProcessGroup]:
    """Meet the other ranks, and be one of them inside the block.

    At the end rank 0 tells the others that there is nothing more to do, unless they are in the middle of something.

    Raises:
        RankLost: the others do not come.
    """
    global _joined
    take_gpu(place.local)
    _joined = group = ProcessGroup.joined(place.rank, place.size, place.local)
    try:
        yield group
    finally:
        _joined = None
        with suppress(RankLost):
            if group.rank == 0 and not group.is_lost:
                group.tell(END)
        group.leave()


def device_faults(device: str) -> list[Fault]:
    """Return a fault if ranks cannot share the work on a device; none if this process is alone.

    Each rank takes the GPU of its own number on its machine, and torch has no exchange of tensors between GPUs of
    Macs.
    """
    if _joined is None or device in (DeviceKind.CPU, DeviceKind.CUDA):
        return []
    message = (
        f"{_joined.size} ranks cannot train on '{device}' together, and each rank takes a GPU of its own number: "
    )
    return [Fault("device", f"{message}use --device cuda or --device cpu, or start dreg without torchrun.")]


def linearises_on_ranks(shard: Shard) -> bool:
    """Whether ranks that share this can linearise pixels: which ones depends on all examples of a step."""
    return shard is Shard.SAMPLES


def sharing_faults(
    shard: Shard, *, k: int, batch_size: int, precision: Precision | None = Precision.FLOAT32
) -> list[Fault]:
    """Return the reason why ranks cannot share a step; none if this process is alone.

    Args:
        shard: what they share.
        k: samples per example.
        batch_size: examples per step.
        precision: precision of screening's first pass.
    """
    if _joined is None:
        return []
    if precision is Precision.LINEARISED and not linearises_on_ranks(shard):
        message = f"--screen-precision {precision} needs every example of a step on each rank: use --shard samples."
        return [Fault("shard", message)]
    if Shards(_joined, shard).units(k=k, examples=batch_size) >= _joined.size:
        return []
    ranks = f"{_joined.size} ranks need"
    if shard is Shard.BATCH:
        message = f"{ranks} at least {_joined.size} examples per step, got {batch_size}"
        return [Fault("batch-size", f"{message}: start fewer ranks, or use --shard samples.")]
    message = f"{ranks} at least {_joined.size} blocks of 16 samples, which K={k} does not have"
    return [Fault("k", f"{message}: start fewer ranks, or use --shard batch.")]


def shared(execution: Execution, shard: Shard, *, device: str, k: int, batch_size: int) -> Execution:
    """Return an execution that divides a step's rows among the ranks, if this process is one of several.

    Raises:
        SpecError: the ranks cannot share a step, or not on the device.
    """
    sizes = {"k": k, "batch_size": batch_size}
    if faults := [*device_faults(device), *sharing_faults(shard, **sizes, precision=execution.precision)]:
        raise SpecError(faults)
    return execution if _joined is None else replace(execution, shards=Shards(_joined, shard))
