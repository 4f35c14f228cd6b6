"""The evaluated bound against K."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from dregcli.describe import described
from dregcli.names import Split
from dregcli.report.aggregate import aggregate
from dregcli.report.drawn import Drawn
from dregcli.report.figures import style
from dregcli.report.figures.layout import Below, lay_out, new_figure, panel_grid
from dregcli.report.figures.members import MOST_PANELS, Chosen, Member
from dregcli.report.figures.ticks import ticks_at

_CAPTION: Final = (
    "Solid: the bound; bars: ± one standard error over seeds, or over examples for a single seed. Dashed, open "
    "markers: the jackknife (JVI), an estimate of log p(x) that is not a bound."
)

_LEAST: Final = 24.0
"""Width that a panel needs, in multiples of the letters' size."""

Attrs = Mapping[str, Any]


class _Of(NamedTuple):
    """The properties that evaluations must share to have a common axis."""

    text: str
    split: str
    n: int
    seed: int
    data: str


class Point(NamedTuple):
    """The bound over seeds at one K, its standard error, and the jackknife; NaN where there is none."""

    k: int
    value: float
    stderr: float
    jackknife: float


def k_curve_figure(chosen: Chosen) -> Drawn | None:
    """Draw the bound by K of each group's newest evaluations; None if no evaluation has two K.

    Evaluations that differ in data, split, number of examples or seed have separate panels.
    """
    found: dict[_Of, list[tuple[Member, int, list[Point]]]] = {}
    for member in chosen.members:
        for of, by_seed in _evaluations(member).items():
            if len(points := _points([*by_seed.values()])) > 1:
                found.setdefault(of, []).append((member, len(by_seed), points))
    kept = sorted(found, key=lambda of: (-len(found[of]), of.split != Split.TEST.value, -of.n))[:MOST_PANELS]
    if not kept:
        return None
    few = f" Shown are {len(kept)} of {len(found)} kinds of evaluations." if len(kept) < len(found) else ""
    what = "Evaluated bound against K"
    figure = new_figure(chosen.sheet)
    entries: dict[str, Any] = {}
    alt: list[str] = []
    for axes, of in zip(panel_grid(figure, chosen.sheet, len(kept), least=_LEAST), kept, strict=True):
        texts = [_draw(axes, *each, entries) for each in found[of]]
        ticks_at(axes, sorted({point.k for _, _, points in found[of] for point in points}))
        axes.set_title(f"{of.split}, {of.n:,} examples, evaluation seed {of.seed}")
        axes.set_ylabel("nats per example (larger is better)")
        style.grid(axes)
        alt.append(f"{of.text}, {of.split}, {of.n:,} examples: {'; '.join(texts)}.")
    caption = f"Data: {' and '.join(dict.fromkeys(of.text for of in kept))}. {_CAPTION}{few}"
    lay_out(figure, chosen.sheet, chosen.titled(what), below=Below(entries, caption))
    text = f"{what}, nats per example, larger is better. {' '.join(alt)}"
    return Drawn("k-curve", chosen.titled(what), text, figure, caption)


def _evaluations(member: Member) -> dict[_Of, dict[int, Attrs]]:
    """Return the newest evaluation of each kind by seed, at the end of training only."""
    found: dict[_Of, dict[int, Attrs]] = {}
    for row in member.group.seeds():
        for attrs in row.evals_at_end:
            if attrs.get("curve"):
                data = str(attrs.get("split_hash") or row.spec["data_checksum"])
                of = _Of(described(row.spec), attrs["split"], attrs["n"], attrs["seed"], data)
                found.setdefault(of, {})[row.seed] = attrs
    return found


def _points(of_seeds: list[Attrs]) -> list[Point]:
    """Average over the seeds, at every K at which all of them have a finite bound."""
    curves = [{int(point["k"]): point for point in attrs["curve"]} for attrs in of_seeds]
    shared = sorted(set[int].intersection(*(set(curve) for curve in curves)))
    found: list[Point] = []
    for k in shared:
        points = [curve[k] for curve in curves]
        values = [_number(each["value"]) for each in points]
        if not all(map(math.isfinite, values)) or (over := aggregate(values, "larger")) is None:
            continue
        stderr = _number(points[0]["stderr"]) if over.stderr is None else over.stderr
        jackknife = fmean(_jackknife(each) for each in points)  # NaN where a seed has none
        found.append(Point(k, over.mean, stderr, jackknife))
    return found


def _jackknife(point: Attrs) -> float:
    found: Attrs | None = point.get("jackknife")
    return math.nan if found is None else _number(found["value"])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _draw(axes: Axes, member: Member, seeds: int, points: list[Point], entries: dict[str, Any]) -> str:
    """Draw one group's two curves; return the ends of the first one in words."""
    look, label = member.look, member.with_seeds(seeds, lacking="")
    ks, values = [point.k for point in points], [point.value for point in points]
    errors = [point.stderr if math.isfinite(point.stderr) else 0.0 for point in points]
    same: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 5.0}
    entries[label] = axes.errorbar(ks, values, yerr=errors, linewidth=1.5, capsize=2.5, label=label, **same)
    known = [point for point in points if math.isfinite(point.jackknife)]
    axes.plot(
        [point.k for point in known],
        [point.jackknife for point in known],
        linestyle="--",
        linewidth=1.1,
        markerfacecolor="white",
        label=f"_jackknife {label}",
        **same,
    )
    first, last = points[0], points[-1]
    return f"{label} {first.value:.2f} at K={first.k:,} to {last.value:.2f} (s.e. {last.stderr:.2f}) at K={last.k:,}"
