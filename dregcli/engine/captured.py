"""A training step recorded once as a CUDA graph and repeated.

A step at a small K launches hundreds of kernels that take a few microseconds each, and Python needs several times
longer to launch them than the GPU needs to run them. A repetition launches all of them at once.
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream, address

Take = Callable[[Tensor, Randomness], Tensor]
"""Takes a step on stored values (B, D) with random numbers, all on the device, and returns the step's numbers."""

_WARM_UPS = 3


class MovedRandomness(Randomness):
    """Random numbers for work that is repeated at other steps.

    Each draw of the work has a generator of its own. So the work can be recorded once, and every generator is seeded
    at the address of the step before each repetition.

    Args:
        seed: seed of the run.
        device: device that draws the numbers.
    """

    def __init__(self, seed: int, device: torch.device | str) -> None:
        super().__init__(seed, device)
        self._step = 0
        self._used = Counter[tuple[Stream, int]]()
        self._generators: dict[tuple[Stream, int, int], torch.Generator] = {}

    @property
    def generators(self) -> list[torch.Generator]:
        """The generators of all draws so far."""
        return list(self._generators.values())

    def generator(self, stream: Stream, step: int = 0, block: int = 0) -> torch.Generator:
        """Return the generator of the next draw at an address; the step is that of ``move``, whatever is given."""
        key = (stream, block, self._used[stream, block])
        self._used[stream, block] += 1
        if key not in self._generators:
            made = torch.Generator(device=self.device)
            self._generators[key] = made.manual_seed(address(self.seed, stream, self._step, block))
        return self._generators[key]

    def begin(self) -> None:
        """Begin the work again: its first draw gets the first generator."""
        self._used.clear()

    def move(self, step: int) -> None:
        """Seed every generator at the addresses of a step."""
        self._step = step
        for (stream, block, _), generator in self._generators.items():
            generator.manual_seed(address(self.seed, stream, step, block))


Record = Callable[[Callable[[], Tensor], MovedRandomness], tuple[Callable[[], object], Tensor]]
"""Records work that draws these random numbers. Returns a function that repeats the work, and the place of its
result."""


def record_graph(work: Callable[[], Tensor], randomness: MovedRandomness) -> tuple[Callable[[], object], Tensor]:
    """Record work on the GPU as a CUDA graph. The work runs several times before it is recorded.

    Args:
        work: uses only tensors on the GPU, in fixed places and of fixed shapes, and never waits for the GPU.
        randomness: random numbers of the work.
    """
    with torch.cuda.device(randomness.device):  # which need not be the one that is current in this process
        return _recorded(work, randomness)


def _recorded(work: Callable[[], Tensor], randomness: MovedRandomness) -> tuple[Callable[[], object], Tensor]:
    # torch asks for these runs on another stream: libraries allocate their workspaces there, before the recording.
    stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                randomness.begin()
                work()
    finally:
        # After an error too: until these runs end, the caller must not let the work change anything.
        current.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in randomness.generators:
        graph.register_generator_state(generator)
    randomness.begin()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class CapturedStep:
    """A step that is recorded once and repeated on other examples, at other steps.

    Args:
        take: the step. It runs while it is recorded, so the caller must make it change nothing until then.
        stored: stored values of a batch, shape (B, D).
        seed: seed of the run.
        record: records the step.
    """

    def __init__(self, take: Take, stored: Tensor, seed: int, record: Record = record_graph) -> None:
        self._stored = stored.clone()
        self._randomness = MovedRandomness(seed, stored.device)
        self._repeat, self._numbers = record(lambda: take(self._stored, self._randomness), self._randomness)

    def __call__(self, stored: Tensor, step: int) -> Tensor:
        """Take the step ``step`` on a batch of the same shape, and return a copy of its numbers."""
        self._stored.copy_(stored)
        self._randomness.move(step)
        self._repeat()
        return self._numbers.clone()
