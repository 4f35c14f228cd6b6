"""Convert a report to plain values for ``dreg report --json``."""

from collections.abc import Mapping
from typing import Any

from dregcli.app.reporting.report import Report
from dregcli.columns import at_floor
from dregcli.names import Split
from dregcli.report.aggregate import Aggregate
from dregcli.report.along import Along
from dregcli.report.comparison import Comparison
from dregcli.report.groups import Group
from dregcli.report.layers import OfLayer


def report_json(report: Report, *, time_to: float | None) -> dict[str, Any]:
    """Return everything that the report's tables hold.

    Args:
        report: the report.
        time_to: the bound for the time that runs took to reach it, nats per example; None gives no time.
    """
    return {
        "groups": [
            {"section": section.title, **_group(group, section.labels[group.key], time_to)}
            for section in report.sections
            for group in section.groups
        ],
        "comparisons": [
            {"section": section.title, **_comparison(each)}
            for section in report.sections
            for each in section.comparisons
        ],
        "along": [_along(each) for each in report.along],
        "warnings": report.warnings,
        "left_out": report.left_out,
    }


def _group(group: Group, label: str, time_to: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "group": group.key,
        "label": label,
        "spec": {key: value for key, value in group.spec.items() if key != "seed"},
        "seeds": len(group.seeds()),
        "bound": _by_split(group.bound),
        "steps_per_second": _plain(group.steps_per_second()),
        **_over_parent(group),
        **_tracked(group),
        "evals": [
            {
                **key._asdict(),
                "checkpoint": found.step,
                "steps": found.steps,
                "at_end": key.checkpoint is None,
                "examples": key.n,
                **vars(found.bound),
                "ess": _plain(found.ess),
                "khat_median": _plain(found.khat),
                "khat_share_above_0.7": _plain(found.khat_share),
                "active_units": _plain(found.active_units),
                "curve": [{"k": k, **vars(point)} for k, point in found.curve.items()],
                **_layers(found.layers),
            }
            for key, found in group.evaluations().items()
        ],
        "runs": [
            {**row.summary, "run": row.path, "seed": row.seed, "status": row.status.value} for row in group.rows
        ],
    }
    if time_to is not None:
        reached = _plain(group.seconds_to(time_to))
        every = group.validation_intervals()
        found["time_to"] = {"bound": time_to, "seconds": reached, "of": len(group.seeds()), "eval_every": every}
    if bias := group.bias():
        found["bias"] = [{"run": path, **verdict} for path, verdict in bias]
    return found


def _layers(found: Mapping[str, OfLayer]) -> dict[str, Any]:
    """Return the layers of an evaluation, nearest to x first, if the model has several."""
    layers = [
        {
            "name": name,
            "units": each.units,
            "kl_prior": _plain(each.kl),
            "active_units": _plain(each.active_units),
            "collapsed": each.collapsed,
        }
        for name, each in found.items()
    ]
    return {"layers": layers} if layers else {}


def _by_split(of: Any) -> dict[str, Any]:  # noqa: ANN401 - a method of a group
    return {split.value: _plain(of(split)) for split in Split}


def _plain(found: Aggregate | None) -> dict[str, Any] | None:
    return vars(found) if found else None


def _over_parent(group: Group) -> dict[str, Any]:
    """Return the bounds before and the gains by split, for runs that trained only the encoder."""
    if not group.spec.get("parent"):
        return {}
    return {"before": _by_split(group.before), "gain": _by_split(group.gain)}


def _tracked(group: Group) -> dict[str, Any]:
    """Return the tracked gradients at the end of training and the window of their means, if runs tracked any."""
    if not (found := group.tracked()):
        return {}
    steps, floor = group.tracked_window() or (None, None)
    estimators = {
        word: {key: vars(a) | _floored(a, group.tracked_floor(key)) for key, a in each.items()}
        for word, each in found.items()
    }
    return {"tracked": {"window": {"steps": steps, "snr_floor": floor}, "estimators": estimators}}


def _floored(found: Aggregate, floor: float | None) -> dict[str, bool]:
    return {} if floor is None else {"at_floor": at_floor(found.mean, floor)}


def _along(found: Along) -> dict[str, Any]:
    """Return the comparisons along one setting, line by line."""
    return {
        "setting": found.setting,
        "lines": [
            {
                "groups": [
                    {"group": group.key, "value": group.experiment.get(found.setting)} for group in line.groups
                ],
                "measure": vars(line.comparison.measure) if line.comparison else None,
                "pairs": [{**vars(pair), "seeds": list(pair.seeds)} for pair in line.pairs],
            }
            for line in found.lines
        ],
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "measure": vars(found.measure),
        "groups": [{"group": key, **vars(found.of(key))} for key in found.values],
        "best": found.best if found.cannot_be_told_from_best else None,
        "not_told_from_best": sorted(found.cannot_be_told_from_best),
        "pairs": [{**vars(pair), "seeds": list(pair.seeds)} for pair in found.pairs],
        "apart": dict(found.apart),
    }
