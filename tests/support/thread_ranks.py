"""Ranks as threads of one process, of which one runs at a time: exact, cheap, and without torch's own groups."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class _Shared:
    """Whose turn it is, what ranks gave to the present exchange, and the sums of the last one."""

    def __init__(self) -> None:
        self.change = Condition()
        self.turn = 0
        self.given: list[list[Tensor]] = []
        self.total: list[Tensor] = []


class ThreadRank:
    """One rank. It waits for its turn, runs up to its next exchange, and passes the turn on."""

    def __init__(self, shared: _Shared, rank: int, size: int) -> None:
        self._shared, self.rank, self.size = shared, rank, size

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        shared = self._shared
        assert len(shared.given) == self.rank, "a rank ended before the others, or exchanged less often"
        shared.given.append([each.clone() for each in tensors])
        if self.rank == self.size - 1:
            assert len({tuple(each.shape for each in part) for part in shared.given}) == 1, "unequal shapes"
            parts = zip(*shared.given, strict=True)
            shared.given, shared.total = [], [torch.stack(each).sum(0) for each in parts]
        self.pass_on()
        self.wait()
        return [each.clone() for each in shared.total]

    def wait(self) -> None:
        with self._shared.change:
            assert self._shared.change.wait_for(lambda: self._shared.turn == self.rank, timeout=100.0)

    def pass_on(self) -> None:
        with self._shared.change:
            self._shared.turn = (self.rank + 1) % self.size
            self._shared.change.notify_all()


def on_ranks(size: int, work: Callable[[ThreadRank], T], kind: type[ThreadRank] = ThreadRank) -> list[T]:
    """What each of so many ranks returns from the same work."""
    shared = _Shared()

    def run(one: ThreadRank) -> T:
        one.wait()
        try:
            return work(one)
        finally:
            one.pass_on()

    with ThreadPoolExecutor(size) as threads:
        found = [threads.submit(run, kind(shared, rank, size)) for rank in range(size)]
        return [each.result() for each in found]
