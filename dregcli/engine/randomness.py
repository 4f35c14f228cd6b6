"""Random numbers by address: each is a function of (seed, stream, step, block), never of what ran before.

So resuming needs no generator state, a chunked pass draws the same numbers as an unchunked one, and two
estimators see the same noise.

The address is hashed by BLAKE2b to 64 bits, which seed a torch generator. Torch's CPU generator keeps only the low
32 bits. So two given addresses share their numbers with probability 2^-32: over the million addresses of a long run
about a hundred draws repeat, at unrelated steps. Torch's CUDA generator keeps all 64 bits, and its numbers differ
from the CPU's; for that reason the device is part of a run's spec.
"""

import hashlib
import struct
import threading
from collections.abc import Callable
from enum import IntEnum

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK

GPU_DRAW = 2**22
"""Largest number of numbers that are drawn together on a GPU. Like ``NOISE_BLOCK`` it defines the noise there."""


class Stream(IntEnum):
    """Purpose of the random numbers. The values are part of every run's definition: never renumber them."""

    INITIALISATION = 1
    ORDER = 2
    PIXELS = 3
    NOISE = 4
    EVALUATION_PIXELS = 5
    EVALUATION_NOISE = 6
    DIAGNOSTIC_EXAMPLES = 7
    DIAGNOSTIC_PIXELS = 8
    DIAGNOSTIC_NOISE = 9
    LEARNING_NOISE = 10
    SCREENING = 11
    DIAGNOSTIC_SCREENING = 12
    ANNEALING_STATES = 13
    ANNEALING_MOMENTA = 14
    ANNEALING_ACCEPTANCE = 15
    VARIANCE_NOISE = 16
    VARIANCE_REFERENCE = 17
    TOY = 18
    SAMPLE_PRIOR = 19
    SAMPLE_POSTERIOR = 20
    DREAMS = 21
    DIAGNOSTIC_DREAMS = 22
    VARIANCE_DREAMS = 23
    VARIANCE_REFERENCE_DREAMS = 24
    FITTING_EXAMPLES = 25
    FITTING_PIXELS = 26
    FITTING_NOISE = 27


def address(seed: int, stream: Stream, step: int = 0, block: int = 0) -> int:
    """Return the 64-bit seed of one block: BLAKE2b of the four numbers as little-endian 64-bit integers."""
    packed = struct.pack("<4Q", seed, int(stream), step, block)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


def noise_block(device: torch.device | str, a_sample: int) -> int:
    """Return how many samples are drawn together on a device: ``NOISE_BLOCK`` times a power of 2.

    On a GPU each draw is a launch, which takes longer than the numbers of a small block.

    Args:
        device: device that draws the noise.
        a_sample: numbers of one sample, B x Z.
    """
    times = GPU_DRAW // (a_sample * NOISE_BLOCK) if torch.device(device).type == "cuda" else 1
    return NOISE_BLOCK << max(0, times.bit_length() - 1)


class Randomness:
    """Random numbers by address on one device.

    Args:
        seed: seed of the run or of the evaluation, at least 0.
        device: device that draws the numbers.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.device = torch.device(device)
        self._of_threads: dict[int, torch.Generator] = {}  # by thread

    def generator(self, stream: Stream, step: int = 0, block: int = 0) -> torch.Generator:
        """Return the generator, seeded at an address. All calls of a thread share one: draw before the next call."""
        thread = threading.get_ident()
        if thread not in self._of_threads:
            self._of_threads[thread] = torch.Generator(device=self.device)
        return self._of_threads[thread].manual_seed(address(self.seed, stream, step, block))

    def uniform(self, stream: Stream, step: int, *shape: int) -> Tensor:
        """Draw uniform numbers in [0, 1), float32."""
        return torch.rand(shape, generator=self.generator(stream, step), device=self.device)

    def uniform64(self, stream: Stream, step: int, block: int, *shape: int) -> Tensor:
        """Draw uniform numbers in [0, 1), float64."""
        generator = self.generator(stream, step, block)
        return torch.rand(shape, generator=generator, device=self.device, dtype=torch.float64)

    def permutation(self, stream: Stream, step: int, n: int) -> Tensor:
        """Draw a permutation of 0..n-1, int64."""
        return torch.randperm(n, generator=self.generator(stream, step), device=self.device)

    def normal(
        self, stream: Stream, step: int, *, k: int, batch: int, width: int, first: int = 0, block: int = 0
    ) -> Tensor:
        """Draw standard normal noise for samples ``first`` to ``first + k`` of each example, float32.

        Args:
            stream: purpose of the noise.
            step: training step, or batch of the evaluation.
            k: samples to draw.
            batch: number of examples, B.
            width: latent dimensions of all layers together, Z.
            first: index of the first sample, a multiple of ``NOISE_BLOCK``.
            block: number of the block that sample 0 lies in.

        Returns:
            Noise of shape (k, B, Z).

        Raises:
            ValueError: ``first`` is not the start of a block.
        """

        def fill(noise: Tensor, i: int) -> None:
            noise.normal_(generator=self.generator(stream, step, block + i))

        return self._in_blocks(fill, k, batch, width, first)

    def uniform_noise(
        self, stream: Stream, step: int, *, k: int, batch: int, width: int, first: int = 0, block: int = 0
    ) -> Tensor:
        """Draw uniform noise greater than 0 and smaller than 1, float32; the arguments are those of ``normal``.

        An event of probability 0 never happens, and one of probability 1 always does, if it happens where the noise
        is smaller than its probability. Torch's numbers are multiples of 2^-24 and can be 0: then each event would
        happen with probability 2^-24 at least, however improbable it is.

        Raises:
            ValueError: ``first`` is not the start of a block.
        """

        def fill(noise: Tensor, i: int) -> None:
            noise.uniform_(generator=self.generator(stream, step, block + i))

        return self._in_blocks(fill, k, batch, width, first).clamp_(min=2.0**-25)

    def _in_blocks(self, fill: Callable[[Tensor, int], object], k: int, batch: int, width: int, first: int) -> Tensor:
        """Return noise (k, B, Z) from whole blocks, each filled by its number."""
        if first % NOISE_BLOCK:
            message = f"noise starts at a block of {NOISE_BLOCK} samples, not at sample {first}"
            raise ValueError(message)
        size = noise_block(self.device, batch * width)
        start, end = first // size, -(-(first + k) // size)
        noise = torch.empty((end - start) * size, batch, width, device=self.device)
        for i in range(start, end):
            fill(noise[(i - start) * size : (i + 1 - start) * size], i)
        return noise[first - start * size :][:k]
