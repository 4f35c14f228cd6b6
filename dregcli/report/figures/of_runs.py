"""Figures of single runs' results, the newest of each group: bias checks, and gradients against K."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from dregcli.names import Network, Verdict
from dregcli.parts import shown_word
from dregcli.report.drawn import Drawn
from dregcli.report.figures.bias import BiasRow, bias_figure, titled
from dregcli.report.figures.members import MOST_OF_RUNS, Chosen
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.variance import PANELS, Curve, always_shown, variance_figure
from dregcli.report.groups import RunRow

Attrs = Mapping[str, Any]

_FLOOR: Final = "dsnr_floor"
_WRITTEN: Final = "written"


def bias_figures(chosen: Chosen) -> list[Drawn]:
    """Draw t by block for each group's newest bias check that tested something; at most ``MOST_OF_RUNS`` figures."""

    def tested(row: RunRow) -> list[Attrs]:
        return [attrs for attrs in row.bias if attrs.get("tested") and attrs.get("statistics")]

    return _numbered("bias-check", [_bias(row, attrs, chosen.sheet) for row, attrs in _newest(chosen, tested)])


class _Of(NamedTuple):
    """The gradient that a result belongs to."""

    objective: str
    estimator: str | None
    network: Network
    prior: str | None


def variance_figures(chosen: Chosen) -> list[Drawn]:
    """Draw gradient variance, SNR and cosine by K for each group's newest measurement; at most ``MOST_OF_RUNS``."""

    def measured(row: RunRow) -> list[Attrs]:
        whole = ("results", "settings", "checkpoint", "floor")
        return [attrs for attrs in row.variance if all(attrs.get(key) is not None for key in whole)]

    return _numbered(
        "gradients-by-k", [_variance(row, attrs, chosen.sheet) for row, attrs in _newest(chosen, measured)]
    )


def _newest(chosen: Chosen, of: Callable[[RunRow], Sequence[Attrs]]) -> list[tuple[RunRow, Attrs]]:
    """Return the result that each group wrote last, with its run."""
    found = [[(row, found[-1]) for row in member.group.rows if (found := of(row))] for member in chosen.members]
    return [max(each, key=lambda pair: str(pair[1].get(_WRITTEN, ""))) for each in found if each]


def _numbered(name: str, figures: Sequence[Drawn]) -> list[Drawn]:
    few = (
        f" ({MOST_OF_RUNS} of {len(figures)} groups with such results are shown)"
        if len(figures) > MOST_OF_RUNS
        else ""
    )
    return [
        replace(each, name=f"{name}-{i}", alt=each.alt + few)
        for i, each in enumerate(figures[:MOST_OF_RUNS], start=1)
    ]


def _bias(row: RunRow, attrs: Attrs, sheet: Sheet) -> Drawn:
    settings = attrs["settings"]
    by_pair = {f"{each['objective']}/{each['estimator']}": each for each in attrs["results"]}
    rows = [
        BiasRow(
            _label(word.partition("/")[0], word.partition("/")[2], settings),
            Verdict(by_pair[word]["verdict"]),
            evidence["t_blocks"],
            evidence["critical_t"],
        )
        for word, evidence in zip(attrs["tested"], attrs["statistics"], strict=True)
    ]
    return bias_figure(rows, attrs["blocks"], title=titled(row.key, settings), sheet=sheet)


def _variance(row: RunRow, attrs: Attrs, sheet: Sheet) -> Drawn:
    settings = attrs["settings"]
    mine: dict[_Of, list[Attrs]] = {}
    for each in attrs["results"]:
        mine.setdefault(_of(each), []).append(each)
    slopes: dict[_Of, dict[str, float]] = {}
    for each in attrs.get("slopes", []):
        if each["value"] is not None:
            slopes.setdefault(_of(each), {})[each["statistic"]] = each["value"]
    curves = [
        Curve(
            f"{_label(of.objective, of.estimator, settings)}{f'/{of.prior}' if of.prior else ''}",
            of.network,
            {name: [_point(each, name) for each in rows] for name in (*PANELS, _FLOOR)},
            slopes.get(of, {}),
        )
        for of, rows in mine.items()
    ]
    title = f"Gradients of {row.key}, step {attrs['checkpoint']}: {settings['replicates']:,} replicates"
    always = None if attrs.get("asked") else always_shown(row.spec["objective"], row.spec["estimator"])
    return variance_figure(curves, title=title, floor=attrs["floor"], always=always, sheet=sheet)


def _of(result: Attrs) -> _Of:
    prior = result.get("prior_gradient")  # only results of a learned prior have it
    return _Of(result["objective"], result["estimator"], Network(result["network"]), prior)


def _point(result: Attrs, name: str) -> tuple[int, float, float]:
    value, stderr = (
        math.nan if (each := result[name][part]) is None else float(each) for part in ("value", "stderr")
    )
    return int(result["k"]), value, stderr


def _label(objective: str, estimator: str | None, settings: Attrs) -> str:
    """Return a pair's label; learned parameters appear as ``(learned)``, without their digits."""
    if estimator is None:
        return shown_word(objective)
    for kind in ("learned", "fixed"):
        if estimator in settings.get(kind, ()):
            estimator = f"{estimator.partition(':')[0]} ({kind})"
    return f"{shown_word(objective)}/{shown_word(estimator)}"
