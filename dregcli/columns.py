"""Names of columns by estimator and by layer in the metrics, and the signal-to-noise ratio (SNR) of pure noise."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NETWORKS: Final = ("model", "posterior")
STATISTICS: Final = ("variance", "snr")

WINDOW_STEPS: Final = "tracked_window"
"""The column with the number of steps in a row's window, n: see ``snr_floor``."""

DECAY: Final = 0.99
"""Decay of the moving averages per step; the same as in the reference code."""

ABOVE_FLOOR: Final = 2.5
"""An SNR must be this many times its floor before its value says more than "at the floor". From there on, a mean is
about two of its standard errors, and noise adds less than 1 % to the ratio of such a coordinate. Nearer to the
floor, much of the SNR is noise, and its standard error does not show that."""


def snr_floor(n: float) -> float:
    """Return the SNR of n vectors of pure noise, E|mean| / sd: sqrt(2 / (pi n))."""
    return math.sqrt(2.0 / (math.pi * n))


def moving_snr_floor(steps: float) -> float:
    """Return the SNR of pure noise for moving averages after so many steps.

    It is the SNR of n equally weighted vectors, with the n for which their mean varies as much.
    """
    weight, squares = (-math.expm1(steps * math.log(d)) / (1.0 - d) for d in (DECAY, DECAY**2))
    return snr_floor(weight**2 / squares)


def at_floor(snr: float | None, floor: float | None) -> bool:
    """Whether the value of an SNR cannot be distinguished from the SNR of noise."""
    return snr is not None and floor is not None and snr < ABOVE_FLOOR * floor


@dataclass(frozen=True)
class TrackedColumn:
    """A column of the metrics that holds a statistic of a tracked estimator.

    Attributes:
        estimator: word of the estimator, or of the pair with a dash.
        network: the network whose gradients are measured; one of ``NETWORKS``.
        statistic: one of ``STATISTICS``.
        windowed: True for a statistic over the steps of a row's window, all with the same weight; False for the
            moving average.
    """

    estimator: str
    network: str
    statistic: str
    windowed: bool

    @property
    def quantity(self) -> str:
        """The measured quantity, such as ``posterior_variance`` or ``model_snr_window``."""
        return f"{self.network}_{self.statistic}{'_window' if self.windowed else ''}"

    @property
    def name(self) -> str:
        """Name of the column in the metrics."""
        return f"{self.estimator}.{self.quantity}"


_QUANTITIES: Final = {
    column.quantity: column
    for column in (TrackedColumn("", n, s, w) for n in NETWORKS for s in STATISTICS for w in (False, True))
}


def tracked_columns(names: Iterable[str]) -> list[TrackedColumn]:
    """Return the columns of tracked estimators among some names of metrics, in the same order."""
    found: list[TrackedColumn] = []
    for name in names:
        # An estimator's word may have dots of its own, in its parameters.
        estimator, _, quantity = name.rpartition(".")
        if estimator and (kind := _QUANTITIES.get(quantity)):
            found.append(TrackedColumn(estimator, kind.network, kind.statistic, kind.windowed))
    return found


LAYER_QUANTITIES: Final = ("kl_prior", "active_units")


@dataclass(frozen=True)
class LayerColumn:
    """A column of the validation metrics that holds a quantity of one layer of a model with several layers.

    Attributes:
        quantity: one of ``LAYER_QUANTITIES``.
        layer: name of the layer.
    """

    quantity: str
    layer: str

    @property
    def name(self) -> str:
        """Name of the column in the metrics. A slash would have a meaning in files."""
        return f"{self.quantity}.{self.layer.replace('/', '_')}"


def layer_columns(names: Iterable[str]) -> list[LayerColumn]:
    """Return the columns of layers among some names of metrics, in the same order."""
    parts = (name.partition(".") for name in names)
    return [LayerColumn(quantity, layer) for quantity, _, layer in parts if layer and quantity in LAYER_QUANTITIES]
