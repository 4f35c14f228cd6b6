"""What the executors know of several processes that compute one step together: their number, and sums over them."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from dregcli.engine.execution.batch import Named


class Ranks(Protocol):
    """Processes that run the same program, each on its own part of the rows."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all ranks, the same bits on each; every rank gives the same shapes.

        Raises:
            RankLost: a rank has ended or does not answer.
        """
        ...


def own_range(ranks: Ranks, units: int) -> range:
    """Return the units of this rank: consecutive ones, and their number differs by at most 1 between the ranks."""
    return range(ranks.rank * units // ranks.size, (ranks.rank + 1) * units // ranks.size)


def summed(ranks: Ranks, sets: Sequence[Named]) -> list[Named]:
    """Return the sums of several sets of gradients over all ranks, from one exchange."""
    found = iter(ranks.sums([each for named in sets for each in named.values()]))
    return [{name: next(found) for name in named} for named in sets]
