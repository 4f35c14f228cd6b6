"""The main table of a report: one row per group, and the columns that a user can choose for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.describe import bound_k, seen_as
from dregcli.names import Split
from dregcli.report.aggregate import Aggregate
from dregcli.report.arrangement import USUAL, Arrangement
from dregcli.report.comparison import Comparison, Measure, evaluated_by, headline
from dregcli.report.evaluated import Evaluated
from dregcli.report.groups import Group
from dregcli.report.paired import FEWEST_SEEDS, Paired
from dregcli.report.series import series
from dregcli.report.settings import value_in_words
from dregcli.report.tables import (
    NOTHING,
    Cell,
    Column,
    Table,
    in_brief,
    mean,
    paired_difference,
    quantity,
    share,
    some_seeds,
)
from dregcli.wording import listed, with_error


@dataclass(frozen=True)
class _Row:
    """All that the cells of one group need."""

    group: Group
    label: str
    mean: Aggregate | None
    measure: Measure | None
    comparison: Comparison | None
    curve: str
    time_to: float | None

    @property
    def is_best(self) -> bool:
        found = self.comparison
        return found is not None and self.group.key in found.cannot_be_told_from_best

    @property
    def pair(self) -> Paired | None:
        """The pair of this group and the best one."""
        found = self.comparison
        if found is None or self.group.key not in found.values or self.group.key == found.best:
            return None
        return next(pair for pair in found.against(found.best) if pair.a == self.group.key)

    @property
    def evaluated(self) -> Evaluated | None:
        """The evaluations by which the groups are listed; None if final bounds are listed."""
        return evaluated_by(self.group, self.measure)


def _seeds(row: _Row) -> Cell:
    return some_seeds(row.mean.n if row.mean else 0, len(row.group.seeds()))


def _verdict(row: _Row) -> Cell:
    """Say in a word how the test compares a group with the best one."""
    found = row.comparison
    if found is None:
        return NOTHING
    if row.group.key not in found.values:
        return Cell("not compared")
    if row.pair is None:
        return Cell("best", tone="best") if found.cannot_be_told_from_best else NOTHING
    return Cell("not tested" if row.pair.verdict == "untested" else row.pair.verdict)


def _rate(row: _Row) -> Cell:
    found = row.group.steps_per_second()
    return quantity(found.mean if found else None)


def _time(row: _Row) -> Cell:
    """Return the mean and standard error of the seconds, and how many seeds reached the bound if not all did."""
    if row.time_to is None:
        return NOTHING
    found, seeds = row.group.seconds_to(row.time_to), row.group.seeds()
    if found is None:
        validated = any(series(each.metrics, Split.VALID, "bound") for each in seeds)
        return Cell("never") if validated else NOTHING
    some = f" ({found.n} of {len(seeds)})" if found.n < len(seeds) else ""
    return Cell(f"{with_error(found.mean, found.stderr)} s{some}", found.mean)


def _final(split: Split) -> Callable[[_Row], Cell]:
    return lambda row: mean(row.group.bound(split))


_CELLS: Final[Mapping[str, tuple[Column, Callable[[_Row], Cell]]]] = {
    "group": (
        Column("group", numeric=False),
        lambda row: Cell(row.label, tone="best" if row.is_best else ""),
    ),
    "seeds": (Column("seeds"), _seeds),
    "mean": (Column("mean ± s.e."), lambda row: mean(row.mean, "best" if row.is_best else "")),
    "difference": (
        Column("minus best"),
        lambda row: paired_difference(row.pair) if row.pair else NOTHING,
    ),
    "verdict": (Column("verdict", numeric=False), _verdict),
    "best": (Column("best seed"), lambda row: quantity(row.mean.best if row.mean else None)),
    "steps/s": (Column("steps/s"), _rate),
    "time": (Column("time"), _time),
    "curve": (Column("validation bound by step", numeric=False), lambda row: Cell(row.curve)),
    "train": (Column("final train bound ± s.e."), _final(Split.TRAIN)),
    "valid": (Column("final valid bound ± s.e."), _final(Split.VALID)),
    "test": (Column("final test bound ± s.e."), _final(Split.TEST)),
    "ess": (Column("ESS"), lambda row: in_brief(row.evaluated.ess if row.evaluated else None, ".1f")),
    "k-hat": (Column("k-hat above 0.7"), lambda row: share(row.evaluated.khat_share if row.evaluated else None)),
    "active": (
        Column("active units"),
        lambda row: in_brief(row.evaluated.active_units if row.evaluated else None, ".3g"),
    ),
}
"""Columns by the names that a user types: the heading, and the cell of a group. Those that decide come first."""

_EVALUATED: Final = ("ess", "k-hat", "active")
"""Columns whose values belong to an evaluation."""

_ALWAYS: Final = ("group", "seeds", "mean")
_COMPARED: Final = ("difference", "verdict")
_LAST: Final = ("best", "steps/s")


def group_columns(groups: Sequence[Group]) -> list[str]:
    """Return the names of all columns that a table of these groups can have; the settings come last."""
    settings = (name.replace("_", "-") for group in groups for name in group.experiment)
    return list(dict.fromkeys([*_CELLS, *settings]))


def groups_table(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    comparisons: Sequence[Comparison],
    curves: Mapping[str, str],
    *,
    time_to: float | None,
    chosen: Arrangement = USUAL,
) -> Table:
    """Return the main table: one row per group, the highest mean first.

    Args:
        groups: groups of runs.
        labels: labels of the groups, by key.
        comparisons: comparisons, the most informative one first; empty if nothing is compared.
        curves: learning curve of each group as one line of text, by key.
        time_to: bound for the column of the time to reach it, nats per example; None leaves that column out.
        chosen: the user's choice of columns and order; names that this table does not have are ignored.
    """
    first = comparisons[0] if comparisons else None
    measure, values = headline(groups, comparisons)
    ranked = sorted(groups, key=lambda group: -(a.mean if (a := values.get(group.key)) else -math.inf))
    rows = [
        _Row(group, labels[group.key], values.get(group.key), measure, first, curves.get(group.key, "-"), time_to)
        for group in ranked
    ]
    chosen = chosen.only(group_columns(groups))
    names = chosen.columns or (
        *_ALWAYS,
        *(_COMPARED if first else ()),
        *_LAST,
        *(("time",) if time_to is not None else ()),
        "curve",
    )
    rows = chosen.ordered(rows, lambda row: _sorted_by(chosen.sort or "", row))
    what = measure.text if measure else "final test bound, each at its own K"
    return Table(
        f"groups by their {what}, nats per example",
        tuple(_column(name, time_to) for name in names),
        tuple(tuple(_cell(name, row) for name in names) for row in rows),
        (*_verdicts(labels, first), *time_notes(groups, time_to), *_of_evaluations(names, measure)),
    )


def _of_evaluations(names: Sequence[str], measure: Measure | None) -> tuple[str, ...]:
    """Say why columns that only evaluations have are empty, if the groups are listed by final bounds."""
    shown = [name for name in names if name in _EVALUATED]
    if not shown or (measure is not None and measure.kind == "evaluation"):
        return ()
    return (f"{listed(shown)}: only evaluations have them, and the groups are listed by their final bounds.",)


def _column(name: str, time_to: float | None) -> Column:
    if name == "time" and time_to is not None:
        return Column(f"time to {time_to:g}")
    return _CELLS[name][0] if name in _CELLS else Column(name)


def _cell(name: str, row: _Row) -> Cell:
    if name in _CELLS:
        return _CELLS[name][1](row)
    field = name.replace("-", "_")
    value = row.group.experiment.get(field)
    if value is None:
        return NOTHING
    known = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Cell(value_in_words(field, value), known)


def _sorted_by(name: str, row: _Row) -> tuple[float | None, str]:
    cell = _cell(name, row)
    return cell.key, "" if cell == NOTHING else cell.text


def _verdicts(labels: Mapping[str, str], first: Comparison | None) -> list[str]:
    """Say which group is the best, and what was not tested."""
    notes: list[str] = []
    if first and (near := first.cannot_be_told_from_best):
        others = ", ".join(labels[key] for key in first.values if key in near and key != first.best)
        notes.append(
            f"best by the paired test: {labels[first.best]}"
            + (f"; the test has not found these lower: {others}" if others else "")
        )
        if untested := first.untested:
            names = ", ".join(labels[key] for key in untested)
            notes.append(f"not tested, because fewer than {FEWEST_SEEDS} seeds are shared with the best: {names}")
    elif first:
        notes.append(f"no test of which group is best: a test needs two groups that share {FEWEST_SEEDS} seeds")
    return notes


def time_notes(groups: Sequence[Group], time_to: float | None) -> list[str]:
    """Warn of times to a bound that cannot be compared; empty if there is nothing to warn of."""
    if time_to is None:
        return []
    notes: list[str] = []
    if len({(seen_as(group.spec), group.spec["data_checksum"], bound_k(group.spec)) for group in groups}) > 1:
        notes.append(
            "The time to a bound uses each run's own validation bound. It cannot be compared between groups with "
            "different data or K."
        )
    every = sorted({steps for group in groups for steps in group.validation_intervals()})
    if len(every) > 1:
        notes.append(
            "The time to a bound is that of the next validation, and these runs do not validate equally often: every "
            f"{every[0]:,} to {every[-1]:,} steps. A run may have reached the bound up to one such interval before."
        )
    return notes
