"""Learning curves of the runs of a report as tidy values: one row for each logged row of a run and a split."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.names import Split
from dregcli.report.csv_table import cell, identity
from dregcli.report.groups import RunRow
from dregcli.report.sections import ReportSection
from dregcli.report.series import seconds_at

_IDENTITY: Final = ("run", "section", "group", "label", "seed", "status", "split")
_FIRST: Final = ("step", "seconds", "bound")


def curves(sections: Sequence[ReportSection]) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Yield the curves of each run and split: the values that identify them, and the columns of shape (rows,).

    ``step`` and ``seconds`` of optimisation come first, then ``bound`` in nats per example, then all other metrics.
    """
    for section in sections:
        for group in section.groups:
            for row in group.rows:
                for split in Split:
                    if columns := _columns(row, split):
                        yield identity(row, group, section) | {"split": split.value}, columns


def _columns(row: RunRow, split: Split) -> dict[str, NDArray[Any]]:
    known = row.metrics.get(split.value, {})
    if "step" not in known:
        return {}
    if "seconds" not in known and (seconds := seconds_at(row.metrics, known["step"].astype(np.float64))) is not None:
        known = {**known, "seconds": seconds}
    return {name: known[name] for name in (*_FIRST, *known) if name in known}


def curves_csv(sections: Sequence[ReportSection]) -> str:
    """Return all curves as a CSV table (RFC 4180) with a header; a value that is not there is an empty cell."""
    found = list(curves(sections))
    names = list(dict.fromkeys([*_FIRST, *(name for _, columns in found for name in columns)]))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*_IDENTITY, *names])
    for of_run, columns in found:
        first = [cell(of_run[name]) for name in _IDENTITY]
        rows = len(columns["step"])
        texts = [[cell(value) for value in columns[n].tolist()] if n in columns else [""] * rows for n in names]
        writer.writerows([*first, *values] for values in zip(*texts, strict=True))
    return text.getvalue()
