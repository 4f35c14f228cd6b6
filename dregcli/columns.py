"""Columns of metrics that a name alone tells the meaning of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NETWORKS: Final = ("model", "posterior")
STATISTICS: Final = ("variance", "snr")

WINDOW_STEPS: Final = "tracked_window"
"""The column of how many steps a row's window had, n: pure noise has an SNR of about sqrt(2 / (pi n)) in it."""


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
