"""Torch's generators at one moment, to draw the same random numbers again."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def forked(devices: Sequence[torch.device]) -> Generator[None]:
    """Restore the state of the CPU's generator and of those of some GPUs after the block."""
    with torch.random.fork_rng(devices=devices, device_type=devices[0].type if devices else "cuda"):
        yield


class Replay:
    """The state of torch's generators at one moment, to draw the same numbers again (for example for dropout).

    Args:
        device: device of the numbers.
    """

    def __init__(self, device: torch.device) -> None:
        self._devices = [] if device.type == "cpu" else [device]
        self._of_device = torch.get_device_module(device)
        self._saved = self._now()

    def _now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(self._of_device.get_rng_state(each) for each in self._devices)]

    @property
    def is_passed(self) -> bool:
        """Whether any random number was drawn since the saved moment."""
        return not all(torch.equal(one, other) for one, other in zip(self._now(), self._saved, strict=True))

    def moves(self, call: Callable[[], object]) -> bool:
        """Whether a call draws any random number when it starts from the saved state."""
        with self():
            call()
            return self.is_passed

    @contextmanager
    def __call__(self) -> Generator[None]:
        """Make torch draw from the saved state inside the block; afterwards restore the present state."""
        with forked(self._devices):
            torch.set_rng_state(self._saved[0])
            for device, state in zip(self._devices, self._saved[1:], strict=True):
                self._of_device.set_rng_state(state, device)
            yield
