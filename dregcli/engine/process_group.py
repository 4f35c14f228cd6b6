"""The processes of one run over several ranks: torch's process group, behind what the engine and the run need of it.

Rank 0 leads. It tells the other ranks what to do next by messages, and all ranks exchange sums while they do it.
Messages go through a group of their own on the CPU, in which the other ranks may wait for days: between two messages
rank 0 may write to a slow disk. Rank 0 waits at most ``EXCHANGE_SECONDS`` until the others take its message, and no
rank waits longer in an exchange.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dregcli.devices import DeviceKind
from dregcli.errors import RankLost

EXCHANGE_SECONDS: Final = 600.0
"""How long a rank waits for the others in an exchange. A rank that ends is noticed at once by its connection."""

_AS_LONG_AS_IT_TAKES: Final = timedelta(days=365)
_SHORT: Final = 64
"""Bytes of a message that one broadcast carries, with the length before them."""

_T = TypeVar("_T")


class ProcessGroup:
    """All ranks of a run, seen from one of them.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
        local: number of this process on its machine.
        messages: the group of torch through which rank 0 sends messages.
    """

    def __init__(self, rank: int, size: int, local: int, messages: Any) -> None:  # noqa: ANN401 - a private type
        self.rank = rank
        self.size = size
        self.is_lost = False
        self._local, self._messages = local, messages
        # None is torch's default group.
        self._exchanges: Any = None
        self._nccl: Any = None

    @classmethod
    def joined(cls, rank: int, size: int, local: int) -> "ProcessGroup":
        """Meet the other ranks, at the address that torch finds in the environment.

        Raises:
            RankLost: they do not come.
        """
        with _lost("The ranks of the run did not meet at the address that the launcher gave"):
            wait = timedelta(seconds=EXCHANGE_SECONDS)
            dist.init_process_group("gloo", rank=rank, world_size=size, timeout=wait)
            messages = dist.new_group(backend="gloo", timeout=_AS_LONG_AS_IT_TAKES if rank else wait)
            return cls(rank, size, local, messages)

    def use(self, device: str) -> None:
        """Exchange tensors of a device from here on; every rank calls this.

        On GPUs NCCL does it. If ranks share a GPU, which NCCL refuses, it goes through the CPU.
        """
        self._exchanges = None
        if device != DeviceKind.CUDA:
            return
        has_own = torch.tensor([float(self._local < torch.cuda.device_count())])
        if self._nccl is None and self.sums([has_own])[0].item() == self.size:
            wait = timedelta(seconds=EXCHANGE_SECONDS)
            self._nccl = self._tried(lambda: dist.new_group(backend="nccl", timeout=wait))
        self._exchanges = self._nccl

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all ranks; see ``Ranks``."""
        if not tensors:
            return []
        flat = torch.cat([each.reshape(-1) for each in tensors])
        self._tried(lambda: dist.all_reduce(flat, group=self._exchanges))
        parts = torch.split(flat, [each.numel() for each in tensors])
        return [part.view(each.shape) for part, each in zip(parts, tensors, strict=True)]

    def tell(self, message: bytes) -> None:
        """Send a message to all other ranks; rank 0 alone does.

        Raises:
            RankLost: a rank has ended.
        """
        length = len(message).to_bytes(8, "little")
        short = torch.zeros(8 + _SHORT, dtype=torch.uint8)
        head = length + message[:_SHORT]
        short[: len(head)] = torch.frombuffer(bytearray(head), dtype=torch.uint8)
        self._broadcast(short)
        if len(message) > _SHORT:
            self._broadcast(torch.frombuffer(bytearray(message), dtype=torch.uint8))

    def heard(self) -> bytes:
        """Return the next message of rank 0.

        Raises:
            RankLost: rank 0 has ended.
        """
        short = torch.zeros(8 + _SHORT, dtype=torch.uint8)
        self._broadcast(short)
        head = short.numpy().tobytes()
        length = int.from_bytes(head[:8], "little")
        if length <= _SHORT:
            return head[8 : 8 + length]
        whole = torch.zeros(length, dtype=torch.uint8)
        self._broadcast(whole)
        return whole.numpy().tobytes()

    def _broadcast(self, buffer: Tensor) -> None:
        self._tried(lambda: dist.broadcast(buffer, 0, group=self._messages))

    def answer(self, answer: bytes) -> None:
        """Send an answer to rank 0, which may take it much later.

        Raises:
            RankLost: rank 0 has ended.
        """
        for part in (len(answer).to_bytes(8, "little"), answer):
            if part:
                buffer = torch.frombuffer(bytearray(part), dtype=torch.uint8)
                self._tried(lambda buffer=buffer: _done(dist.isend(buffer, 0), _AS_LONG_AS_IT_TAKES))

    def answers(self, *, work_seconds: float = 0.0) -> list[bytes]:
        """Return the answers of all other ranks, in their order.

        Args:
            work_seconds: how long this rank had to work for its part; another one may need ten times as long.

        Raises:
            RankLost: a rank has ended or does not answer.
        """
        wait = timedelta(seconds=EXCHANGE_SECONDS + 10.0 * work_seconds)
        return [self._answer(rank, wait) for rank in range(1, self.size)]

    def _answer(self, rank: int, wait: timedelta) -> bytes:
        def received(count: int) -> bytes:
            buffer = torch.zeros(count, dtype=torch.uint8)
            if count:
                what = f"Rank {rank} of the run has ended or does not answer"
                self._tried(lambda: _done(dist.irecv(buffer, rank), wait), what)
            return buffer.numpy().tobytes()

        return received(int.from_bytes(received(8), "little"))

    def leave(self) -> None:
        """Close the connections; the other ranks notice it at once."""
        self.is_lost = True
        if dist.is_initialized():
            dist.destroy_process_group()

    def _tried(self, exchange: Callable[[], _T], what: str | None = None) -> _T:
        try:
            with _lost(what or "Another rank of the run has ended or does not answer"):
                return exchange()
        except RankLost:
            self.is_lost = True
            raise


def _done(work: dist.Work | None, wait: timedelta) -> None:
    """Wait until something has been sent or received."""
    assert work is not None, "this process is one of the group"
    work.wait(wait)


@contextmanager
def _lost(what: str) -> Generator[None]:
    """Turn an error of torch's groups into one that says what happened.

    Torch's own words name a socket of one of its libraries, which tells a user nothing.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        message = f"{what}."
        raise RankLost(message) from error
