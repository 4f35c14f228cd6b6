"""The runs of a report as a tidy CSV table (RFC 4180), one row per run, for a spreadsheet or a data frame.

Columns with a unit have it in their names: ``_nats`` means nats per example. A value that a run does not have is an
empty cell, and so is NaN.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from dregcli.names import Split
from dregcli.report.aggregate import number
from dregcli.report.arrangement import USUAL, Arrangement
from dregcli.report.evaluated import EvaluationKey
from dregcli.report.groups import Group, RunRow
from dregcli.report.layers import layers_of
from dregcli.report.sections import ReportSection
from dregcli.wording import typed_list

Cells = Mapping[str, object]
"""Values of one run by column."""


@dataclass(frozen=True)
class RunsTable:
    """The table of runs.

    Attributes:
        columns: names of the columns.
        rows: the values of each run by column.
    """

    columns: Sequence[str]
    rows: Sequence[Cells]

    def csv(self, chosen: Arrangement = USUAL) -> str:
        """Return the table as CSV with a header.

        Args:
            chosen: the user's choice of columns and order; names that this table does not have are ignored.
        """
        chosen = chosen.only(self.columns)
        columns = chosen.columns or self.columns
        rows = chosen.ordered(self.rows, lambda row: _sorted_by(row.get(chosen.sort or "")))
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
        return text.getvalue()


def _sorted_by(value: object) -> tuple[float | None, str]:
    return number(value), cell(value)


def runs_table(sections: Sequence[ReportSection], *, time_to: float | None = None) -> RunsTable:
    """Return the table of all runs, whatever their status.

    Args:
        sections: sections of the report.
        time_to: bound for the column of the time to reach it, nats per example; None leaves that column out.
    """
    rows = [(section, group, row) for section in sections for group in section.groups for row in group.rows]
    several = _counted_otherwise(row for _, _, row in rows)
    blocks: list[list[Cells]] = [
        [identity(row, group, section) for section, group, row in rows],
        [{f"spec.{name}": value for name, value in _flat(row.spec).items()} for _, _, row in rows],
        [_results(row) for _, _, row in rows],
        [_evaluations(row, several) for _, _, row in rows],
        [_tracked(row) for _, _, row in rows],
        [{} if time_to is None else {f"time_to_{time_to:g}_seconds": row.seconds_to(time_to)} for _, _, row in rows],
    ]
    columns = [name for block in blocks for name in dict.fromkeys(name for cells in block for name in cells)]
    return RunsTable(columns, [_merged(cells) for cells in zip(*blocks, strict=True)])


def _merged(blocks: Iterable[Cells]) -> Cells:
    return {name: value for cells in blocks for name, value in cells.items()}


def identity(row: RunRow, group: Group, section: ReportSection) -> dict[str, Any]:
    """Return the values that say which run a row of a table belongs to."""
    return {
        "run": row.label,
        "section": section.title,
        "group": group.key,
        "label": section.labels[group.key],
        "seed": row.seed,
        "status": row.status.value,
    }


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, object]:
    """Flatten a spec: a nested value gets a dotted name, such as ``parent.run``."""
    found: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= _flat(cast("Mapping[str, Any]", value), f"{above}{name}.")
        else:
            found[above + name] = value
    return found


def _results(row: RunRow) -> Cells:
    """Return the run's last step, its final bounds and its speed."""
    steps = row.metrics.get(Split.TRAIN, {}).get("step")
    logged = int(steps[-1]) if steps is not None and len(steps) else None
    return {
        "step": row.summary.get("step", logged),
        **{f"bound_nats.{split.value}": row.bound(split) for split in Split},
        **{f"bound_examples.{split.value}": n for split in Split if (n := row.examples(split)) is not None},
        "steps_per_second": row.steps_per_second,
        "seconds": row.summary.get("seconds"),
    }


_EVALUATED: Final[Mapping[str, tuple[str, ...]]] = {
    "bound_nats": ("value",),
    "stderr_nats": ("stderr",),
    "examples": ("n",),
    "ess": ("ess",),
    "khat_median": ("khat", "median"),
    "khat_share": ("khat", "share_above_0.7"),
    "active_units": ("active_units",),
    "elbo_nats": ("elbo", "value"),
    "ais_nats": ("ais", "value"),
}
"""Columns of an evaluation, and the path of each value in the evaluation's attributes."""


def _evaluations(row: RunRow, several: set[str]) -> Cells:
    """Return the columns of all evaluations of a run. The newest of repeats counts."""
    found: dict[str, object] = {}
    for attrs in row.evals:
        base = _name(row, attrs)
        name = f"{base}.n{attrs['n']}" if base in several else base
        found |= {f"{name}.{column}": _at(attrs, path) for column, path in _EVALUATED.items()}
        for layer, each in layers_of([attrs]).items():
            quantities = {"kl_nats": each.kl, "active_units": each.active_units}
            found |= {f"{name}.{column}.{layer}": of.mean for column, of in quantities.items() if of}
    return {name: value for name, value in found.items() if value is not None}


def _name(row: RunRow, attrs: Mapping[str, Any]) -> str:
    """Return a name such as ``eval.test.k5000``, with the seed if it is not 0, and the step if it is not the last."""
    key = EvaluationKey.of(attrs, row.final_step)
    seed = f".seed{key.seed}" if key.seed else ""
    step = "" if key.checkpoint is None else f".step{key.checkpoint}"
    return f"eval.{key.split}.k{key.k}{seed}{step}"


def _counted_otherwise(rows: Iterable[RunRow]) -> set[str]:
    """Return the names of evaluations with different numbers of examples, which must not share a column."""
    counts: dict[str, set[int]] = {}
    for row in rows:
        for attrs in row.evals:
            counts.setdefault(_name(row, attrs), set()).add(attrs["n"])
    return {name for name, found in counts.items() if len(found) > 1}


def _at(content: Mapping[str, Any], path: Sequence[str]) -> object:
    """Return the value at a path of names; None if the path does not exist."""
    found: object = content
    for name in path:
        found = cast("Mapping[str, object]", found).get(name) if isinstance(found, Mapping) else None
    return found


def _tracked(row: RunRow) -> Cells:
    """Return the tracked gradient variances and SNRs at the end of training."""
    if row.tracked is None:
        return {}
    found = row.tracked.values
    return {f"tracked.{word}.{name}": value for word, each in found.items() for name, value in each.items()}


def cell(value: object) -> str:
    """Return a value as the text of a cell; a value that is not known is an empty cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return typed_list(cast("Sequence[object]", value), cell)
    return str(value)
