"""The lines of a figure, and the numbers beside published ones, from measurements on the Gaussian toy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import Any, cast

from dregcli.app.papers.kind import Asked
from dregcli.app.papers.scaling import shorter_in_words
from dregcli.app.papers.toy_file import QUANTITIES, Key, key_of, toy_of
from dregcli.parts import shown_word
from dregcli.report.aggregate import Aggregate, aggregate
from dregcli.report.papers.outcome import Compared, Drawing, Line, Mark, Point
from dregcli.specs.papers.document import Panel, Paper, Published


@dataclass(frozen=True)
class Measured:
    """What one seed's measurement gave, as plain values, and the environment that it was made in.

    Attributes:
        report: the JSON of ``dreg variance``.
        environment: processor, versions, threads and seconds.
    """

    report: Mapping[str, Any]
    environment: Mapping[str, Any]


def _rows(measured: Measured, network: str) -> list[Mapping[str, Any]]:
    return [each for each in measured.report["results"] if each["network"] == network]


def _whose(row: Mapping[str, Any]) -> Key:
    return row["objective"], row["estimator"]


def _name(key: Key) -> str:
    return "/".join(shown_word(word) for word in key if word is not None)


def _value(measured: Sequence[Measured], network: str, key: Key, k: int, y: str) -> Aggregate | None:
    """Return the mean over seeds; of a single seed, the value with the standard error over its replicates."""
    found = [row[y] for each in measured for row in _rows(each, network) if (_whose(row), row["k"]) == (key, k)]
    return _mean([(each["value"], each["stderr"]) for each in found])


def _slope_from(measured: Sequence[Measured], network: str, key: Key, y: str, k: int) -> Aggregate | None:
    """Return the mean over seeds of the slope on two logarithmic axes, by least squares from a K on."""
    slopes: list[float] = []
    for each in measured:
        rows = [row for row in _rows(each, network) if _whose(row) == key and row["k"] >= k and row[y]["value"]]
        points = [(math.log(row["k"]), math.log(row[y]["value"])) for row in rows if row[y]["value"] > 0.0]
        if len(points) > 1:
            slopes.append(linear_regression(*zip(*points, strict=True)).slope)
    return aggregate(slopes, None)


def _slope(measured: Sequence[Measured], network: str, key: Key, y: str) -> Aggregate | None:
    """Return the mean over seeds of the slope over all K at which the quantity is above noise."""
    every = [
        each
        for of_seed in measured
        for each in of_seed.report["slopes"]
        if (each["network"], each["statistic"], _whose(each)) == (network, y, key)
    ]
    return _mean([(each["value"], each["stderr"]) for each in every])


def _mean(found: Sequence[tuple[float | None, float | None]]) -> Aggregate | None:
    known = [(value, stderr) for value, stderr in found if value is not None]
    if len(known) == 1:
        ((value, stderr),) = known
        return Aggregate(value, stderr, None, 1)
    return aggregate([value for value, _ in known], None)


def drawing_of(panel: Panel, measured: Sequence[Measured], paper: Paper) -> Drawing:
    """Return a panel with the lines of all gradients, and its published numbers.

    Args:
        panel: the panel.
        measured: the measurements of all seeds.
        paper: the experiment.
    """
    quantity, network = QUANTITIES[panel.y], panel.network
    keys = dict.fromkeys(_whose(row) for each in measured for row in _rows(each, network))
    lines: list[Line] = []
    for key in keys:
        values = [(k, _value(measured, network, key, k, panel.y)) for k in toy_of(paper).k]
        points = tuple(Point(float(k), value) for k, value in values if value is not None)
        if any(each.y.mean != 0.0 for each in points):  # what has no bias by definition is no line of a logarithm
            lines.append(Line(_name(key), points))
    marks = [
        Mark(_name(key_of(each)), float(cast("int", each.at["k"])), each.value)
        for each in paper.published
        if (each.y, each.network, each.of) == (panel.y, network, "value")
    ]
    name = quantity.name.format(network)
    floor = float(measured[0].report["floor"]) if measured and panel.y == "snr" else None
    return Drawing(
        panel.title or name,
        "K",
        quantity.unit,
        along=False,
        is_log=quantity.is_log,
        lines=tuple(lines),
        marks=tuple(marks),
        floor=floor,
        is_excess=quantity.is_excess,
    )


def compared(asked: Asked, each: Published, full: Published, measured: Sequence[Measured]) -> Compared:
    """Return a published number and ours.

    Args:
        asked: the experiment.
        each: the published number, at the settings of the version that is run.
        full: the published number as the file has it.
        measured: the measurements of all seeds.
    """
    key = key_of(each)
    if each.of == "slope" and "k" in each.at:
        k = cast("int", each.at["k"])
        ours, at = _slope_from(measured, each.network, key, each.y, k), f", K from {k} on"
    elif each.of == "slope":
        ours, at = _slope(measured, each.network, key, each.y), ""
    else:
        k = cast("int", each.at["k"])
        ours, at = _value(measured, each.network, key, k, each.y), f" K={k}"
    plain = full.model_dump(mode="json", include={"value", "error", "read", "source", "what", "at", "of"})
    name = QUANTITIES[each.y].name.format(each.network)
    of = f"slope of the {name} against K" if each.of == "slope" else name
    return Compared(f"{_name(key)}{at}", of, plain, ours, shorter_in_words(asked.scaled))
