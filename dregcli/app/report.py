"""Collect runs from the store, group them, draw their learning curves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dregcli.app.resuming import spec_of
from dregcli.engine.tracking import WINDOW_STEPS, tracked_columns
from dregcli.errors import DregError, RunNotFound, StoreFormatError, StoreWriteError
from dregcli.names import Split
from dregcli.report.figures import Curve, RunCurves, learning_curves
from dregcli.report.groups import Group, RunRow, group_rows
from dregcli.report.tracked import Tracked, TrackedNames, at_the_end
from dregcli.specs.run import group_hash
from dregcli.store.run import Run
from dregcli.store.runs import RunStore

MOST_CURVES = 7
"""Runs in one figure: as many as there are colours that everybody can tell apart."""

_MOST_NAMES = 2
"""Names in a figure's title; more would run off it, and the legend has them."""


@dataclass(frozen=True)
class Report:
    """What is known of some runs."""

    groups: list[Group]
    figure: Path | None
    left_out: list[str]


def make_report(references: list[str], *, runs_dir: Path) -> Report:
    """Report on runs; a name means all its versions.

    Args:
        references: names or versions.
        runs_dir: the store.

    Returns:
        The runs in groups, and the learning-curve figure, kept in the newest run shown.

    Raises:
        RunNotFound: no such run, or none of them can be read.
    """
    store = RunStore(runs_dir)
    runs = list({run.path: run for reference in references for run in store.resolve(reference)}.values())
    rows: list[RunRow] = []
    readable: list[Run] = []
    left_out: list[str] = []
    for run in runs:
        try:
            rows.append(_row(run, left_out))
            readable.append(run)
        except DregError as error:
            left_out.append(f"{run.path}: {error.what}")
    if not rows:
        what = "None of these runs can be read: " + "; ".join(left_out)
        raise RunNotFound(what, where=str(runs_dir), hint="name another run")
    return Report(group_rows(rows), _figure(readable[-MOST_CURVES:], left_out), left_out)


def _row(run: Run, left_out: list[str]) -> RunRow:
    info = run.info()
    tracks = bool(spec_of(run).track_estimators)  # a spec that dreg does not know has not what a report tells
    spec = run.spec()
    evals = [result.attrs for result in run.results("evals")]
    tracked = None
    if tracks:
        try:
            tracked = _tracked(run)
        except DregError as error:  # all else of the run is known without its metrics
            left_out.append(f"what {run.path} tracked: {error.what}")
    status, summary = info.status, info.summary
    return RunRow(str(run.path), run.name, run.path.name, group_hash(spec), spec, status, summary, evals, tracked)


def _tracked(run: Run) -> Tracked | None:
    """What a run tracked at the end of training; None before its first row."""
    metrics = run.metrics(Split.TRAIN)
    found = tracked_columns(metrics)
    if not found:
        return None
    columns: dict[str, dict[str, str]] = {}
    for each in found:
        columns.setdefault(each.estimator, {})[each.quantity] = each.name
    windowed = frozenset(each.quantity for each in found if each.windowed)
    return at_the_end(metrics, TrackedNames(columns, windowed, WINDOW_STEPS))


def _curve(run: Run, split: Split) -> Curve | None:
    metrics = run.metrics(split)
    if "bound" not in metrics:
        return None
    return metrics["step"].astype(np.float64), metrics["bound"]


def _figure(runs: list[Run], left_out: list[str]) -> Path | None:
    curves: list[RunCurves] = []
    for run in runs:
        try:
            curves.append(RunCurves(run.label, _curve(run, Split.TRAIN), _curve(run, Split.VALID)))
        except DregError as error:
            left_out.append(f"{run.path}: {error.what}")
    if not any(curve.train or curve.valid for curve in curves):
        return None
    names = sorted({run.name for run in runs})
    title = ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(runs)} runs of {len(names)} names"
    content = learning_curves(curves, title=f"Learning curves: {title}")
    try:
        return runs[-1].add_file("figures", "learning-curves", ".png", content)
    except (StoreFormatError, StoreWriteError) as error:  # the tables are what was asked for first
        left_out.append(f"the figure: {error.what} {error.where or ''}")
        return None
