"""The figure of gradient variance and signal-to-noise ratio against K."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from matplotlib.axes import Axes

from dregcli.columns import at_floor
from dregcli.names import Network
from dregcli.parts import shown_word
from dregcli.report.drawn import Drawn
from dregcli.report.figures.ends import End
from dregcli.report.figures.layout import Below, lay_out, new_figure, panel_grid
from dregcli.report.figures.letters import wrapped
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.style import GREY, Look, grid, network_look
from dregcli.report.figures.ticks import log_scale, ticks_at
from dregcli.wording import AT_FLOOR

PANELS: Final = ("variance", "snr", "dsnr", "cosine")

_NAMES: Final = {
    "variance": "variance",
    "snr": "SNR",
    "dsnr": "directional SNR",
    "cosine": "cosine",
}
_CAPTION: Final = (
    "Filled markers: the encoder's gradients. Open markers: the decoder's gradient, which is the same for every "
    "estimator of an objective that has no curve of its own there. Variance: squared nats per squared unit of a "
    "parameter. SNR: mean of |mean| / sd. Cosine: with the reference gradient. Bars: one standard error. In "
    "brackets: the slope on the two logarithmic axes. Equal curves are one line."
)
_CAPTION_PRIOR: Final = (
    " Half-filled markers: the gradient of the learned prior's parameters, which do not count in the decoder."
)
_EQUAL: Final = 1e-6
"""Largest relative difference of two curves that are drawn as one."""

_BEST: Final = 3
"""Number of encoder curves that are drawn beside those that are always drawn."""

_AND: Final = " = "
"""What stands between the names of equal curves."""

_LEAST: Final = 26.0
"""Width that a panel needs, in multiples of the letters' size."""

_LABEL: Final = 9.5
"""Width of a curve's name, in multiples of the letters' size."""


@dataclass(frozen=True)
class Curve:
    """One gradient against K.

    Attributes:
        label: label of the gradient.
        network: encoder, decoder or prior.
        points: K, value and standard error of each point, by statistic.
        slopes: slopes by statistic, where there are any.
    """

    label: str
    network: Network
    points: Mapping[str, Sequence[tuple[int, float, float]]]
    slopes: Mapping[str, float]

    @property
    def words(self) -> list[str]:
        """The labels of the equal gradients that the curve stands for."""
        return self.label.split(_AND)

    def named(self, statistic: str) -> str:
        """Return the label, with the slope of the statistic if there is one."""
        slope = self.slopes.get(statistic)
        return self.label if slope is None else f"{self.label} ({slope:+.2f})"

    def equals(self, other: "Curve") -> bool:
        """Whether two curves have equal values at every K, and so would hide each other."""
        return self.network is other.network and all(
            [k for k, _, _ in self.points[name]] == [k for k, _, _ in other.points[name]]
            and all(
                math.isclose(a, b, rel_tol=_EQUAL) or (math.isnan(a) and math.isnan(b))
                for (_, a, _), (_, b, _) in zip(self.points[name], other.points[name], strict=True)
            )
            for name in PANELS
        )


def variance_figure(
    curves: Sequence[Curve],
    *,
    title: str,
    floor: float,
    always: Sequence[str] | None = None,
    sheet: Sheet | None = None,
) -> Drawn:
    """Draw a panel of each statistic. The curves' names, with their slopes, are at their right ends.

    Args:
        curves: curves, at least one.
        title: title of the figure.
        floor: SNR of noise alone.
        always: labels of the encoder's curves that are drawn beside the three with the least variance at the largest
            K. None draws all curves.
        sheet: the paper that the figure is drawn for.
    """
    sheet = sheet or Sheet()
    merged = _merged(curves)
    shown = merged if always is None else _some(merged, always)
    left = [word for each in merged if each not in shown for word in each.words]
    caption = _CAPTION
    if any(curve.network is Network.PRIOR for curve in curves):
        caption += _CAPTION_PRIOR
    if left:
        caption += f" Not drawn: {len(left)} with more variance at the largest K."
    looks = _looks(shown)
    names = _short(shown)
    figure = new_figure(sheet)
    labels: dict[Axes, list[End]] = {}
    for axes, panel in zip(panel_grid(figure, sheet, len(PANELS), least=_LEAST), PANELS, strict=True):
        labels[axes] = [
            End(wrapped(end.label, _LABEL * sheet.em, sheet.small), end.colour, end.y)
            for end in _panel(axes, names, looks, panel, floor)
        ]
        axes.set_title(_NAMES[panel])
    lay_out(figure, sheet, title, below=Below({}, caption), labels=labels)
    return Drawn("variance", title, _alt(curves, floor), figure, caption)


def _merged(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves, equal ones as one with all names."""
    found: list[Curve] = []
    for curve in curves:
        same = next((i for i, other in enumerate(found) if curve.equals(other)), None)
        if same is None:
            found.append(curve)
        else:
            found[same] = replace(found[same], label=f"{found[same].label}{_AND}{curve.label}")
    return found


def always_shown(objective: str, *estimators: str) -> tuple[str, ...]:
    """Return the labels of a run's estimators and of ``reparam``, for the argument of ``variance_figure``."""
    words = dict.fromkeys((*estimators, "reparam"))
    return tuple(f"{shown_word(objective)}/{shown_word(word)}" for word in words)


def _some(curves: Sequence[Curve], always: Sequence[str]) -> list[Curve]:
    """Return all curves of decoder and prior, and some of the encoder; see ``variance_figure``."""
    encoder = [curve for curve in curves if curve.network is Network.ENCODER]
    most = max((k for curve in encoder for k, _, _ in curve.points["variance"]), default=0)

    def variance(curve: Curve) -> float:
        k, value, _ = curve.points["variance"][-1]
        return value if k == most and math.isfinite(value) else math.inf

    kept = [curve for curve in encoder if any(word.partition(" (")[0] in always for word in curve.words)]
    others = sorted((curve for curve in encoder if curve not in kept), key=variance)
    kept += others[:_BEST]
    return [curve for curve in curves if curve.network is not Network.ENCODER or curve in kept]


def _looks(curves: Sequence[Curve]) -> list[Look]:
    count = dict.fromkeys(Network, -1)
    looks: list[Look] = []
    for curve in curves:
        count[curve.network] += 1
        looks.append(network_look(curve.network, count[curve.network]))
    return looks


def _short(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves with labels that leave out an objective that all curves of the encoder share."""
    encoder = [curve for curve in curves if curve.network is Network.ENCODER]
    objectives = {word.partition("/")[0] for curve in encoder or curves for word in curve.words}

    def label(curve: Curve) -> str:
        if len(objectives) > 1:
            return curve.label if curve.network is Network.ENCODER else f"{curve.network}, {curve.label}"
        if curve.network is Network.PRIOR:
            # The words are kinds of the prior's gradient, such as iwae/score.
            same = {word.partition("/")[0] for word in curve.words} <= objectives
            kinds = _AND.join(word.partition("/")[2] if same else word for word in curve.words)
            return f"prior, {kinds}"
        if curve.network is Network.DECODER:
            return "decoder" if objectives <= {*curve.words} else f"decoder, {curve.label}"
        return _AND.join(word.partition("/")[2] or word for word in curve.words)

    return [replace(curve, label=label(curve)) for curve in curves]


def _alt(curves: Sequence[Curve], floor: float) -> str:
    """Describe the figure: each gradient's variance and SNR at the largest K."""
    texts: list[str] = []
    for curve in curves:
        (k, variance, _), (_, snr, _) = (curve.points[name][-1] for name in ("variance", "snr"))
        ratio = AT_FLOOR if at_floor(snr, floor) else f"{snr:.3g}"
        texts.append(f"{curve.network} {curve.label} at K={k:,}: variance {variance:.3g}, SNR {ratio}")
    return f"Gradient variance, SNR, directional SNR and cosine to the reference against K. {'; '.join(texts)}."


def _panel(axes: Axes, curves: Sequence[Curve], looks: Sequence[Look], panel: str, floor: float) -> list[End]:
    """Draw one panel; return the names at the right ends of its curves."""
    ends: list[End] = []
    ks = sorted({k for curve in curves for k, _, _ in curve.points[panel]})
    log = panel != "cosine"
    if log:
        axes.set_yscale("log")
    for i, (curve, look) in enumerate(zip(curves, looks, strict=True)):
        # A logarithmic axis shows only values above 0, so an error bar must end above 0.
        shown = [(k, v, s) for k, v, s in curve.points[panel] if math.isfinite(v) and (v > 0.0 or not log)]
        if not shown:
            continue
        x, y, errors = ([each[n] for each in shown] for n in range(3))
        errors = [s if math.isfinite(s) else 0.0 for s in errors]
        if panel == "snr":  # near the floor, an error bar would not be an interval
            errors = [0.0 if at_floor(v, floor) else s for v, s in zip(y, errors, strict=True)]
        below = [min(s, 0.9 * v) if log else s for v, s in zip(y, errors, strict=True)]
        same: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
        if curve.network is Network.DECODER:
            same["markerfacecolor"] = "white"
        if curve.network is Network.PRIOR:
            same["fillstyle"] = "bottom"
            same["markerfacecoloralt"] = "white"
        axes.errorbar(
            x,
            y,
            yerr=[below, errors],
            markersize=max(3.5, 6.0 - 0.4 * i),  # so that the first of several curves that coincide still shows
            linewidth=max(1.0, 1.8 - 0.15 * i),
            capsize=2.0,
            label=curve.label,
            **same,
        )
        ends.append(End(curve.named(panel), look.colour, y[-1]))
    if panel == "snr":
        axes.axhline(floor, color=GREY, linestyle=(0, (1, 2)), linewidth=1.5, label="_floor")
        ends.append(End("noise alone", GREY, floor))
    if panel == "dsnr":
        floors = [v for curve in curves for _, v, _ in curve.points["dsnr_floor"] if math.isfinite(v) and v > 0.0]
        if floors:
            axes.axhspan(min(floors), max(floors), color=GREY, alpha=0.25, linewidth=0)
            ends.append(End("noise alone", GREY, math.sqrt(min(floors) * max(floors))))
    axes.margins(y=0.14)
    if log:
        log_scale(axes, *axes.get_ylim())
    ticks_at(axes, ks, "K")
    grid(axes)
    return ends
