"""A training step recorded once as a CUDA graph and replayed.

A step at a small K launches hundreds of kernels that take a few microseconds each, and Python needs several times
longer to launch them than the GPU needs to run them. A replay launches all of them at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dregcli.engine.draws import GivenNoise, Noise

Take = Callable[[Tensor, Noise], Tensor]
"""Takes a step at pixels (B, D) and noise of K samples, all on the device, and returns the step's numbers."""

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records work; returns a function that repeats the work, and the tensor in which the result then is."""

MOST_NOISE_BYTES = 2**28
"""Largest noise of a captured step. A step with more is limited by the GPU's arithmetic, and its arrays would stay
allocated for the whole training."""

_WARM_UPS = 3


def record_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record work on the GPU as a CUDA graph. The work runs several times before it is recorded.

    Args:
        work: uses only tensors on the GPU, in fixed places and of fixed shapes, and never waits for the GPU.
    """
    # torch asks for these runs on another stream: libraries allocate their workspaces there, before the recording.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class CapturedStep:
    """A step that is recorded once, at the places of its first pixels and noise, and repeated on other numbers.

    Args:
        take: the step. It runs while it is recorded, so the caller must make it change nothing until then.
        pixels: pixels of a step, shape (B, D).
        noise: noise of a step, shape (K, B, Z).
        record: records the step.
    """

    def __init__(self, take: Take, pixels: Tensor, noise: Tensor, record: Record = record_graph) -> None:
        self._pixels, self._noise = pixels.clone(), noise.clone()
        self._repeat, self._numbers = record(lambda: take(self._pixels, GivenNoise(self._noise)))

    def __call__(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """Take the step at other pixels and noise of the same shapes, and return a copy of its numbers."""
        self._pixels.copy_(pixels)
        self._noise.copy_(noise)
        self._repeat()
        return self._numbers.clone()
