"""The figure of gradient variance and signal-to-noise ratio against K."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dregcli.columns import at_floor
from dregcli.names import Network
from dregcli.report.drawn import Drawn
from dregcli.report.figures.layout import lay_out, new_figure, panels
from dregcli.report.figures.style import COLOURS, GREY, LINES, MARKERS, log_scale, ticks_at
from dregcli.wording import AT_FLOOR

PANELS: Final = ("variance", "snr", "dsnr", "cosine")

_NAMES: Final = {
    "variance": "gradient variance\n(nats² per parameter unit²)",
    "snr": "SNR, mean |mean| / sd",
    "dsnr": "directional SNR",
    "cosine": "cosine to the reference",
}
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
        label: label of the gradient.
        network: encoder or decoder.
        points: K, value and standard error of each point, by statistic.
        slopes: slopes by statistic, where there are any.
    """

    label: str
    network: Network
    points: Mapping[str, Sequence[tuple[int, float, float]]]
    slopes: Mapping[str, float]

    @property
    def legend(self) -> str:
        """Label with the slopes."""
        short = {"variance": "var", "snr": "SNR", "dsnr": "DSNR"}
        slopes = [f"{short[name]} {value:+.2f}" for name, value in self.slopes.items()]
        return f"{self.label}   {', '.join(slopes) or 'no slope'}"


def variance_figure(curves: Sequence[Curve], *, title: str, floor: float) -> Drawn:
    """Draw panels of each statistic (across) for encoder and decoder (down), with the slopes in the legend.

    Args:
        curves: curves, at least one.
        title: title of the figure.
        floor: SNR of noise alone.
    """
    networks = [network for network in Network if any(curve.network is network for curve in curves)]
    figure = new_figure(14.0)
    axes = panels(figure, len(networks), len(PANELS))
    handles: list[Any] = []
    for i, network in enumerate(networks):
        mine = [curve for curve in curves if curve.network is network]
        for j, panel in enumerate(PANELS):
            drawn = _panel(axes[i][j], mine, panel, floor)
            axes[i][j].set_title(f"{network.value}: {_NAMES[panel].partition(chr(10))[0]}", fontsize="medium")
            if j == 0:
                handles += drawn
    names = [
        f"{curve.network.value} {curve.legend}"
        for network in networks
        for curve in curves
        if curve.network is network
    ]
    lay_out(figure, title, height=2.5, entries=dict(zip(names, handles, strict=True)))
    return Drawn("variance", title, _alt(curves, floor), figure)


def _alt(curves: Sequence[Curve], floor: float) -> str:
    """Describe the figure: each gradient's variance and SNR at the largest K."""
    texts: list[str] = []
    for curve in curves:
        (k, variance, _), (_, snr, _) = (curve.points[name][-1] for name in ("variance", "snr"))
        ratio = AT_FLOOR if at_floor(snr, floor) else f"{snr:.3g}"
        texts.append(f"{curve.network} {curve.label} at K={k:,}: variance {variance:.3g}, SNR {ratio}")
    return f"Gradient variance, SNR, directional SNR and cosine to the reference against K. {'; '.join(texts)}."


def _panel(axes: Any, curves: Sequence[Curve], panel: str, floor: float) -> list[Any]:  # noqa: ANN401 - matplotlib's
    """Draw one panel; return the handles of its curves."""
    handles: list[Any] = []
    ks = sorted({k for curve in curves for k, _, _ in curve.points[panel]})
    log = panel != "cosine"
    if log:
        axes.set_yscale("log")
    for i, curve in enumerate(curves):
        # A logarithmic axis shows only values above 0, so an error bar must end above 0.
        shown = [(k, v, s) for k, v, s in curve.points[panel] if math.isfinite(v) and (v > 0.0 or not log)]
        x, y, errors = ([each[n] for each in shown] for n in range(3))
        errors = [s if math.isfinite(s) else 0.0 for s in errors]
        if panel == "snr":  # near the floor, an error bar would not be an interval
            errors = [0.0 if at_floor(v, floor) else s for v, s in zip(y, errors, strict=True)]
        below = [min(s, 0.9 * v) if log else s for v, s in zip(y, errors, strict=True)]
        handles.append(
            axes.errorbar(
                x,
                y,
                yerr=[below, errors],
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                linestyle=LINES[(i // len(COLOURS)) % len(LINES)],
                markersize=max(3.5, 7.5 - 0.4 * i),  # so that the first of several equal curves still shows
                linewidth=1.3,
                capsize=2.0,
                markerfacecolor="white" if i >= len(COLOURS) else None,
            )
        )
    if panel == "snr":
        axes.axhline(floor, color=GREY, linestyle=(0, (1, 2)), linewidth=1.5)
        axes.annotate(f"dotted: noise alone, {floor:.3f}", **_CORNER)
    if panel == "dsnr":
        floors = [v for curve in curves for _, v, _ in curve.points["dsnr_floor"] if math.isfinite(v) and v > 0.0]
        if floors:
            axes.axhspan(min(floors), max(floors), color=GREY, alpha=0.25, linewidth=0)
            axes.annotate("grey: noise alone", **_CORNER)
    axes.margins(y=0.14)
    if log:
        log_scale(axes, *axes.get_ylim())
    ticks_at(axes, ks)
    axes.set_ylabel(_NAMES[panel].replace("\n", " "), fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    return handles
