"""Learning curves as one line of text each."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from dregcli.describe import bound_k, seen_as
from dregcli.names import Split
from dregcli.report.comparison import split_hash
from dregcli.report.groups import Group
from dregcli.report.series import Band, Metrics, band, series

BARS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 24
START: Final = 0.1
"""Share of training that the scale ignores: its steep beginning would flatten the remaining curve."""


def sparklines(groups: Sequence[Group]) -> dict[str, str]:
    """Return the curve of the validation bound by step, mean over seeds, by the group's key.

    Groups whose bounds have equal data and K share one scale. So their heights can be compared, as their bounds can.
    """
    curves: dict[str, Band] = {}
    scales: dict[Any, list[Band]] = {}
    scale_of: dict[str, Any] = {}
    for group in groups:
        of_seeds = [found for row in group.seeds() if (found := series(row.metrics, Split.VALID, "bound"))]
        if (found := band(of_seeds, points=WIDTH)) is not None:
            scale = (seen_as(group.spec), split_hash(group.seeds()[0], Split.VALID), bound_k(group.spec))
            curves[group.key], scale_of[group.key] = found, scale
            scales.setdefault(scale, []).append(found)
    return {key: _bars(each, *_limits(scales[scale_of[key]])) for key, each in curves.items()}


def sparkline(metrics: Metrics) -> str:
    """Return one run's validation bound by step, or else its training bound; empty if the run has neither."""
    for split in (Split.VALID, Split.TRAIN):
        found = series(metrics, split, "bound")
        if found is not None and len(found) > 1 and (curve := band([found], points=WIDTH)) is not None:
            return _bars(curve, *_limits([curve]))
    return ""


def _limits(curves: Sequence[Band]) -> tuple[float, float]:
    late = [each.mean[each.x >= START * each.x[-1]] for each in curves]
    values = np.concatenate(late) if late else np.zeros(1)
    return float(values.min()), float(values.max())


def _bars(curve: Band, low: float, high: float) -> str:
    span = high - low
    shown = curve.mean[np.unique(np.linspace(0, len(curve.mean) - 1, WIDTH).round().astype(np.int64))]
    heights = np.zeros(len(shown)) if span <= 0.0 else (len(BARS) * (shown - low) / span)
    return "".join(BARS[int(each)] for each in np.clip(heights, 0, len(BARS) - 1))
