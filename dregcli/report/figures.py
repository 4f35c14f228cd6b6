"""Figures as PNG. Matplotlib's object interface, so that no display and no global state is touched."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's colours, told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and bounds."""


@dataclass(frozen=True)
class RunCurves:
    """The learning curves of one run, nats per example against steps."""

    label: str
    train: Curve | None
    valid: Curve | None


def learning_curves(runs: Sequence[RunCurves], *, title: str) -> bytes:
    """The training bound (thin) and the validation bound (thick) of runs against steps, as PNG.

    The vertical axis starts where the first tenth of training has passed: the steep beginning would hide the rest.
    """
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown: list[NDArray[np.float64]] = []
    for i, run in enumerate(runs):
        colour = COLOURS[i % len(COLOURS)]
        if run.train is not None:
            axes.plot(*run.train, color=colour, linewidth=0.8, alpha=0.6, label=f"{run.label}, training batches")
            shown.append(_after_the_start(run.train))
        if run.valid is not None:
            axes.plot(
                *run.valid, color=colour, linewidth=1.8, marker="o", markersize=3.5, label=f"{run.label}, validation"
            )
            shown.append(_after_the_start(run.valid))
    values = np.concatenate(shown) if shown else np.empty(0)
    values = values[np.isfinite(values)]
    if values.size and np.ptp(values) > 0:
        margin = 0.05 * np.ptp(values)
        axes.set_ylim(values.min() - margin, values.max() + margin)
    axes.set_xlabel("optimisation steps")
    axes.set_ylabel("IWAE bound, nats per example (larger is better)")
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    if shown:
        axes.legend(fontsize="small", loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "dreg"})
    return buffer.getvalue()


def _after_the_start(curve: Curve) -> NDArray[np.float64]:
    steps, bound = curve
    return bound[steps >= steps.max() / 10]
