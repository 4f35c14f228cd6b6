"""Columns of metrics that a name alone tells the meaning of, and what signal-to-noise ratios are of noise alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NETWORKS: Final = ("model", "posterior")
STATISTICS: Final = ("variance", "snr")

WINDOW_STEPS: Final = "tracked_window"
"""The column of how many steps a row's window had, n: see ``snr_floor``."""

DECAY: Final = 0.99
"""Of the moving averages, a step; as the reference code's."""

ABOVE_FLOOR: Final = 2.5
"""Times its floor that an SNR must be for its value to say more than that: then means are about two of their
standard errors, and noise adds less than 1 % to the ratio of such a coordinate. Nearer to the floor much of it is
noise, and no standard error of it says so."""


def snr_floor(n: float) -> float:
    """What the SNR of n vectors of pure noise is, E|mean| / sd: sqrt(2 / (pi n))."""
    return math.sqrt(2.0 / (math.pi * n))


def moving_snr_floor(steps: float) -> float:
    """The same of moving averages after so many steps: of n equal vectors whose mean varies as much."""
    weight, squares = (-math.expm1(steps * math.log(d)) / (1.0 - d) for d in (DECAY, DECAY**2))
    return snr_floor(weight**2 / squares)


def at_floor(snr: float | None, floor: float | None) -> bool:
    """Whether an SNR cannot be told from that of noise by its value."""
    return snr is not None and floor is not None and snr < ABOVE_FLOOR * floor


@dataclass(frozen=True)
class TrackedColumn:
    """A column of metrics of what is tracked.

    Attributes:
        estimator: the estimator's word, or the pair's with a dash.
        network: whose gradients; one of ``NETWORKS``.
        statistic: one of ``STATISTICS``.
        windowed: over the steps of a row's window, each counting the same; else the moving average.
    """

    estimator: str
    network: str
    statistic: str
    windowed: bool

    @property
    def quantity(self) -> str:
        """What it is of the estimator, such as ``posterior_variance`` or ``model_snr_window``."""
        return f"{self.network}_{self.statistic}{'_window' if self.windowed else ''}"

    @property
    def name(self) -> str:
        """In the metrics."""
        return f"{self.estimator}.{self.quantity}"


_QUANTITIES: Final = {
    column.quantity: column
    for column in (TrackedColumn("", n, s, w) for n in NETWORKS for s in STATISTICS for w in (False, True))
}


def tracked_columns(names: Iterable[str]) -> list[TrackedColumn]:
    """The columns of what is tracked among some names of metrics, in their order."""
    found: list[TrackedColumn] = []
    for name in names:
        # An estimator's word may have dots of its own, in its parameters.
        estimator, _, quantity = name.rpartition(".")
        if estimator and (kind := _QUANTITIES.get(quantity)):
            found.append(TrackedColumn(estimator, kind.network, kind.statistic, kind.windowed))
    return found
