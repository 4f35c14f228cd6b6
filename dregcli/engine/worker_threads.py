"""Threads that each do a part of a computation alone, where torch's own threads would meet after every operation.

A pass over rows is about twenty operations on arrays that fit a core's cache. If all threads share each operation,
they wait for each other twenty times and exchange the arrays between their caches. Here each thread takes whole
blocks of rows, and its operations use that thread alone. So the numbers of several blocks do not depend on the number
of threads.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

T = TypeVar("T")

_pools: dict[int, ThreadPoolExecutor] = {}


def each_in_threads(work: Callable[[T], object], items: Sequence[T]) -> None:
    """Call ``work`` with every item, in as many threads as torch uses; return when all calls have returned.

    Settings that torch has for each thread, such as ``no_grad``, must be made by ``work`` itself.

    Args:
        work: does one part; it must not depend on the order of the parts.
        items: the parts.

    Raises:
        Exception: what a failing call raised.
    """
    count, left = torch.get_num_threads(), iter(items)
    others = min(count, len(items)) - 1

    def drain() -> None:
        for item in left:  # each thread takes the next item: an iterator's next is one step for all threads
            work(item)

    if others < 1:
        drain()
        return
    helping = [_pool(count - 1).submit(drain) for _ in range(others)]
    try:
        torch.set_num_threads(1)
        drain()
    finally:
        torch.set_num_threads(count)
        wait(helping)
    for each in helping:
        each.result()


def _pool(count: int) -> ThreadPoolExecutor:
    """Return this many threads; they are started once."""
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count, "dreg-rows", initializer=_alone)
    return _pools[count]


def _alone() -> None:
    torch.get_num_threads()  # torch sets a thread's number when the thread first asks for it, and would do so later
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # a setting of each thread; see ``device.prepare_process``
