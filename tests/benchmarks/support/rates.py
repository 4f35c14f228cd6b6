"""What this machine's matrix products reach: float32 and bfloat16, of large squares and of the decoder's last layer.

As a contestant it is asked for bursts among the others', so that its rates are of the same minutes.
"""

import time

import torch

from dregcli.engine.device import prepare_process
from tests.benchmarks.support.processor import processor
from tests.benchmarks.support.serve import serve

SQUARE = (1024, 1024, 1024)
NETWORK = (2048, 200, 784)
"""All rows of K=64 and batch 32 through the decoder's last layer."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def rate_name(dtype: str, shape: tuple[int, int, int]) -> str:
    """What a rate is called, ``float32 2048x200x784``."""
    return f"{dtype} {'x'.join(map(str, shape))}"


NETWORK_RATE = rate_name("float32", NETWORK)
SQUARE_RATE = rate_name("float32", SQUARE)


class Rates:
    """Measures matrix-product rates, GFLOP/s.

    Args:
        device: where.
        seconds: of each measurement.
    """

    def __init__(self, device: str = "cpu", seconds: float = 0.2) -> None:
        self._device = torch.device(device)
        self._seconds = seconds

    def measure(self) -> dict[str, float]:
        """Every rate by its name."""
        return {
            rate_name(name, shape): self._rate(dtype, shape)
            for shape in (SQUARE, NETWORK)
            for name, dtype in DTYPES.items()
        }

    def _rate(self, dtype: torch.dtype, shape: tuple[int, int, int]) -> float:
        n, inner, m = shape
        a = torch.randn(n, inner, device=self._device).to(dtype)
        b = torch.randn(m, inner, device=self._device).to(dtype)
        out = torch.empty(n, m, device=self._device, dtype=dtype)
        torch.mm(a, b.T, out=out)
        self._wait()
        count, started, seconds = 0, time.perf_counter(), 0.0
        while seconds < self._seconds:
            for _ in range(4):
                torch.mm(a, b.T, out=out)
            self._wait()
            count, seconds = count + 4, time.perf_counter() - started
        return 2 * n * inner * m * count / seconds / 1e9

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Serve."""
    prepare_process()
    rates = Rates()
    serve(lambda _: rates.measure(), {"processor": processor()})


if __name__ == "__main__":
    main()
