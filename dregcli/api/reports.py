"""A report on runs as an object: what ``dreg report`` prints, for a notebook."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from dregcli.api.frames import Frame, frame_of, html_table
from dregcli.app.reporting.exports import report_runs
from dregcli.app.reporting.plain import report_json
from dregcli.app.reporting.report import make_report
from dregcli.report.groups_table import groups_table


class RunsReport:
    """Groups of runs with equal settings but the seed, and their comparisons.

    Args:
        references: names or versions; an empty sequence means all runs of the store.
        runs_dir: the store.
    """

    def __init__(self, references: Sequence[str], runs_dir: Path) -> None:
        self._report = make_report(references, runs_dir=runs_dir)

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers must know, such as runs that could not be read and were left out."""
        return self._report.remarks

    def frame(self) -> Frame:
        """Return one row for each run, with the columns of ``dreg report --csv``."""
        return frame_of(report_runs(self._report, time_to=None).rows)

    def as_json(self) -> dict[str, Any]:
        """Return groups and comparisons as ``dreg report --json`` prints them."""
        return report_json(self._report, time_to=None)

    def _repr_html_(self) -> str:
        """Return the tables of groups, with the sentences that explain them, for notebooks."""
        parts = [f"<p>{escape(warning)}</p>" for warning in self.warnings]
        for section in self._report.sections:
            table = groups_table(
                section.groups, section.labels, section.comparisons, section.sparklines(), time_to=None
            )
            rows = [[cell.text for cell in row] for row in table.rows]
            parts.append(f"<p><b>{escape(section.title)}</b>: {escape(table.title)}</p>")
            parts.append(html_table([column.name for column in table.columns], rows))
            parts += [f"<p>{escape(sentence)}</p>" for sentence in (*table.notes, *section.legend)]
        return "".join(parts)
