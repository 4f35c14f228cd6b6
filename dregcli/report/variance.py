"""The figure of gradient variance and signal-to-noise ratios against K, as PNG or SVG."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from dregcli.names import Network
from dregcli.report.figures import COLOURS

PANELS: Final = ("variance", "snr", "dsnr", "cosine")

_NAMES: Final = {
    "variance": "gradient variance\n(nats² per parameter unit²)",
    "snr": "SNR, mean |mean| / sd",
    "dsnr": "directional SNR",
    "cosine": "cosine to the reference",
}
_MARKERS: Final = "osD^vP*X<>"
_LINES: Final = ("-", "--", "-.", ":")
_FLOOR: Final = "#777777"
_CORNER: Final[dict[str, Any]] = {
    "xy": (0.03, 0.03),
    "xycoords": "axes fraction",
    "fontsize": "small",
    "bbox": {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.0},
    "zorder": 5,
}


@dataclass(frozen=True)
class Curve:
    """One gradient against K.

    Attributes:
        label: of which.
        network: encoder or decoder.
        points: by statistic: K, value and standard error.
        slopes: by statistic, where there is one.
    """

    label: str
    network: Network
    points: Mapping[str, Sequence[tuple[int, float, float]]]
    slopes: Mapping[str, float]

    @property
    def legend(self) -> str:
        """Its label and slopes."""
        short = {"variance": "var", "snr": "SNR", "dsnr": "DSNR"}
        told = [f"{short[name]} {value:+.2f}" for name, value in self.slopes.items()]
        return f"{self.label}   {', '.join(told) or 'no slope'}"


def variance_figure(curves: Sequence[Curve], *, title: str, floor: float, suffix: str) -> bytes:
    """Panels of each statistic (across) for encoder and decoder (down), the legend with slopes below.

    Args:
        curves: at least one.
        title: of the whole.
        floor: what SNR is of noise alone.
        suffix: ``.png`` or ``.svg``.
    """
    networks = [network for network in Network if any(curve.network is network for curve in curves)]
    lines = math.ceil(len(curves) / 3)
    figure = Figure(figsize=(14.0, 3.4 * len(networks) + 0.9 + 0.23 * lines), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(len(networks), len(PANELS), squeeze=False)
    handles: list[Any] = []
    for i, network in enumerate(networks):
        mine = [curve for curve in curves if curve.network is network]
        for j, panel in enumerate(PANELS):
            drawn = _panel(axes[i][j], mine, panel, floor)
            axes[i][j].set_title(f"{network.value}: {_NAMES[panel].partition(chr(10))[0]}", fontsize="medium")
            if j == 0:
                handles += drawn
    figure.suptitle(title)
    names = [
        f"{curve.network.value} {curve.legend}"
        for network in networks
        for curve in curves
        if curve.network is network
    ]
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(3, len(names)), fontsize="small", frameon=False
    )
    buffer = io.BytesIO()
    # Ids in an SVG are random, and its date is today's: equal content is to be equal bytes.
    with rc_context({"svg.hashsalt": "dreg"}):
        kept: dict[str, Any] = {"Date": None} if suffix == ".svg" else {"Software": "dreg"}
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=kept)
    return buffer.getvalue()


def _panel(axes: Any, curves: Sequence[Curve], panel: str, floor: float) -> list[Any]:  # noqa: ANN401 - matplotlib's
    """One panel; the handles of its curves."""
    handles: list[Any] = []
    ks = sorted({k for curve in curves for k, _, _ in curve.points[panel]})
    log = panel != "cosine"
    axes.set_xscale("log", base=2)
    if log:
        axes.set_yscale("log")
    for i, curve in enumerate(curves):
        # Of a logarithm there is nothing to see of what is not above 0; an error bar ends where the axis would.
        shown = [(k, v, s) for k, v, s in curve.points[panel] if math.isfinite(v) and (v > 0.0 or not log)]
        x, y, errors = ([each[n] for each in shown] for n in range(3))
        errors = [s if math.isfinite(s) else 0.0 for s in errors]
        below = [min(s, 0.9 * v) if log else s for v, s in zip(y, errors, strict=True)]
        handles.append(
            axes.errorbar(
                x,
                y,
                yerr=[below, errors],
                color=COLOURS[i % len(COLOURS)],
                marker=_MARKERS[i % len(_MARKERS)],
                linestyle=_LINES[(i // len(COLOURS)) % len(_LINES)],
                markersize=max(3.5, 7.5 - 0.4 * i),  # of equal gradients the first one's still show
                linewidth=1.3,
                capsize=2.0,
                markerfacecolor="white" if i >= len(COLOURS) else None,
            )
        )
    if panel == "snr":
        axes.axhline(floor, color=_FLOOR, linestyle=(0, (1, 2)), linewidth=1.5)
        axes.annotate(f"dotted: of noise alone, {floor:.3f}", **_CORNER)
    if panel == "dsnr":
        floors = [v for curve in curves for _, v, _ in curve.points["dsnr_floor"] if math.isfinite(v) and v > 0.0]
        if floors:
            axes.axhspan(min(floors), max(floors), color=_FLOOR, alpha=0.25, linewidth=0)
            axes.annotate("grey: of noise alone", **_CORNER)
    axes.margins(y=0.14)
    axes.xaxis.set_major_locator(FixedLocator(ks))
    axes.xaxis.set_major_formatter(FixedFormatter([str(k) for k in ks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("K, samples per example")
    axes.set_ylabel(_NAMES[panel].replace("\n", " "), fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    return handles
