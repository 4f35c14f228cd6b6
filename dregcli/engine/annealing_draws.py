"""The random numbers of annealing, each drawn by address."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.pixels import EVALUATION_BATCH, evaluation_step
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Split

MOST_STEPS = 2**20
"""Largest number of temperatures that addresses have room for."""

_SPLIT_BITS = 42
"""Number of low bits that ``evaluation_step`` uses."""


def annealing_step(split: Split, batch: int, index: int, *, pilot: bool) -> int:
    """Return the address's step for the index-th transition of an evaluation batch; each has its own."""
    return ((2 * index + pilot) << _SPLIT_BITS) + evaluation_step(split, batch)


@dataclass(frozen=True)
class AnnealingDraws:
    """The random numbers of a batch, drawn for whole blocks of chains and whole batches and then cut.

    So an example's numbers do not depend on the number of examples, nor a chain's numbers on the number of chains.
    """

    randomness: Randomness
    split: Split
    batch: int
    examples: int
    width: int
    dtype: torch.dtype

    def normal(self, stream: Stream, index: int, chains: int, *, pilot: bool) -> Tensor:
        """Draw standard normal numbers, shape (M, B, Z)."""
        step = annealing_step(self.split, self.batch, index, pilot=pilot)
        drawn = self.randomness.normal(stream, step, k=chains, batch=EVALUATION_BATCH, width=self.width)
        return drawn[:, : self.examples].to(self.dtype)

    def states(self, chains: int, *, pilot: bool) -> AddressedNoise:
        """Return the random numbers with which chains are drawn from the prior, of a whole batch."""
        return AddressedNoise(
            self.randomness,
            Stream.ANNEALING_STATES,
            annealing_step(self.split, self.batch, 0, pilot=pilot),
            k=chains,
            batch=EVALUATION_BATCH,
            width=self.width,
            dtype=self.dtype,
        )

    def uniform(self, index: int, chains: int, *, pilot: bool) -> Tensor:
        """Draw uniform numbers in [0, 1), two for every chain, shape (2, M, B), float64."""
        step = annealing_step(self.split, self.batch, index, pilot=pilot)
        blocks = [
            self.randomness.uniform64(Stream.ANNEALING_ACCEPTANCE, step, i, 2, NOISE_BLOCK, EVALUATION_BATCH)
            for i in range(-(-chains // NOISE_BLOCK))
        ]
        return torch.cat(blocks, dim=1)[:, :chains, : self.examples]
