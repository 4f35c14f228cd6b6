"""Gradient variance and signal-to-noise ratio of tracked estimators along training, one figure per network."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from dregcli.columns import TrackedColumn, at_floor, tracked_columns
from dregcli.names import Network, Split
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panels
from dregcli.report.figures.members import Chosen, Member
from dregcli.report.figures.ticks import log_scale, steps_axis
from dregcli.report.series import Band, series
from dregcli.wording import AT_FLOOR

_COLUMNS: Final = {Network.ENCODER: "posterior", Network.DECODER: "model"}
_LABELS: Final = {"variance": "gradient variance", "snr": "SNR"}
_CAPTION: Final = (
    "Variance: squared nats per squared unit of a parameter. SNR: mean of |mean| / sd. Means over coordinates and "
    "seeds, in windows of steps if they were logged, else in moving averages, with 95\u00a0% intervals over seeds "
    "(Student's\u00a0t). Dotted grey: the SNR of noise alone; near it, much of an SNR is noise. Equal curves are "
    "drawn once."
)

_POINTS: Final = 50
"""Points of a curve in one of many small panels."""

_LEAST: Final = 13.0
"""Width that a panel needs, in multiples of the letters' size."""

_EQUAL: Final = 1e-4
"""Largest relative difference of two curves that are drawn as one."""

MOST_COLUMNS: Final = 3
"""Most groups in a figure."""


def tracked_figure(chosen: Chosen, network: Network) -> Drawn | None:
    """Draw variance (above) and SNR (below) of each group's tracked estimators against steps, one column per group.

    At most ``MOST_COLUMNS`` groups are drawn, the first ones that tracked. The result is None if no group tracked.
    """
    curves = {member.group.key: each for member in chosen.members if (each := _curves(member, network))}
    every = [member for member in chosen.members if member.group.key in curves]
    members = every[:MOST_COLUMNS]
    if not members:
        return None
    few = f" ({len(members)} of {len(every)} groups that tracked)" if len(members) < len(every) else ""
    sheet = chosen.sheet
    title = sheet.titled(f"Gradients of the {network} along training{few}")
    figure = new_figure(sheet)
    # Groups stand side by side. If they do not fit, they stand above one another, with the statistics side by side.
    beside = sheet.columns(len(members), _LEAST) == len(members)
    size = (len(_LABELS), len(members)) if beside else (len(members), len(_LABELS))
    axes = panels(figure, *size, shared="row" if beside else "col")
    words = dict.fromkeys(word for member in members for word in curves[member.group.key])
    looks = {word: style.network_look(network, i) for i, word in enumerate(words)}
    entries: dict[str, Any] = {}
    alt: list[str] = []
    for at, (statistic, name) in enumerate(_LABELS.items()):
        mine = axes[at] if beside else [row[at] for row in axes]
        bands = [
            each[statistic] for member in members for each in curves[member.group.key].values() if statistic in each
        ]
        log_scale(mine[0], *_limits(bands, [_floor(member) for member in members] if statistic == "snr" else []))
        for panel, member in zip(mine, members, strict=True):
            alt += _draw(panel, member, statistic, curves[member.group.key], looks, entries)
        mine[0].set_ylabel(name) if beside else mine[0].set_title(name)
    for i, member in enumerate(members):
        axes[0][i].set_title(member.label) if beside else axes[i][0].set_ylabel(member.label)
    for panel in axes[-1]:
        steps_axis(panel)
    lay_out(figure, sheet, title, below=Below(entries, _CAPTION))
    text = f"{title}, means over coordinates and seeds, at the right end of each curve: {'; '.join(alt)}."
    return Drawn(f"gradients-{network}", title, text, figure, _CAPTION)


def _draw(
    axes: Axes,
    member: Member,
    statistic: str,
    curves: Mapping[str, Mapping[str, Band]],
    looks: Mapping[str, style.Look],
    entries: dict[str, Any],
) -> list[str]:
    """Draw one group's panel of one statistic; return the ends of its curves in words."""
    alt: list[str] = []
    for i, (word, found) in enumerate(curves.items()):
        if statistic in found:
            entries[word] = style.draw_band(axes, found[statistic], looks[word], word, i=i)
            noise = statistic == "snr" and at_floor(float(found[statistic].mean[-1]), _floor(member))
            end = AT_FLOOR if noise else style.at_the_end(found[statistic])
            alt.append(f"{member.label}: {statistic} of {word} {end}")
    if statistic == "snr" and (floor := _floor(member)) is not None:
        axes.axhline(floor, color=style.GREY, linestyle=(0, (1, 2)), linewidth=1.5, label="_floor")
    style.grid(axes)
    return alt


def _floor(member: Member) -> float | None:
    """Return the SNR of noise alone in the last windows, or in moving averages if there are no windows."""
    window = member.group.tracked_window()
    return member.group.tracked_floor("model_snr") if window is None else window[1]


def _limits(curves: Sequence[Band], floors: Sequence[float | None]) -> tuple[float, float]:
    """Return limits of a logarithmic axis that show the means after the beginning; intervals may reach below 0."""
    late = [each.mean[each.x >= style.START * each.x[-1]] for each in curves]
    values = np.concatenate([*late, [floor for floor in floors if floor is not None]])
    values = values[values > 0.0]
    return (float(values.min()) / 1.8, float(values.max()) * 1.8) if values.size else (0.1, 10.0)


def _curves(member: Member, network: Network) -> dict[str, dict[str, Band]]:
    """Return the curves by the estimator's word and statistic. Estimators with equal curves share one entry."""
    names = dict.fromkeys(
        column.estimator
        for row in member.group.seeds()
        for column in tracked_columns(row.metrics.get(Split.TRAIN, {}))
        if column.network == _COLUMNS[network]
    )
    found: dict[str, dict[str, Band]] = {}
    for word in names:
        mine = {name: curve for name in _LABELS if (curve := _curve(member, word, network, name)) is not None}
        same = next((known for known, other in found.items() if _equal(mine, other)), None)
        if same is not None:
            found[f"{same} = {word}"] = found.pop(same)
        elif mine:
            found[word] = mine
    return found


def _curve(member: Member, word: str, network: Network, statistic: str) -> Band | None:
    """Return a curve over windows of steps if any run has them, else of the moving average.

    Windows of another length than most leave a run out, as in the tables.
    """
    alike = {row.path for row in member.group.with_alike_windows()}

    def of(*, windowed: bool) -> Band | None:
        column = TrackedColumn(word, _COLUMNS[network], statistic, windowed).name
        return member.band(
            lambda row: None if windowed and row.path not in alike else series(row.metrics, Split.TRAIN, column),
            points=_POINTS,
        )

    return of(windowed=True) or of(windowed=False)


def _equal(a: Mapping[str, Band], b: Mapping[str, Band]) -> bool:
    """Whether two curves are equal up to rounding, which differs where gradients are computed in another order."""
    return (
        bool(a)
        and a.keys() == b.keys()
        and all(
            len(a[name].mean) == len(b[name].mean) and np.allclose(a[name].mean, b[name].mean, rtol=_EQUAL, atol=0.0)
            for name in a
        )
    )
