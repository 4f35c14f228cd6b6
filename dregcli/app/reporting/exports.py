"""Export a report as CSV, LaTeX and BibTeX."""

from typing import Any

from dregcli import __version__
from dregcli.app.reporting.report import Report
from dregcli.data.catalogue import DATASETS
from dregcli.report.bibtex import Citation, bibtex, citations, cited
from dregcli.report.csv_table import RunsTable, runs_table
from dregcli.report.curves_table import curves, curves_csv
from dregcli.report.latex_table import latex_table
from dregcli.report.used import data_sets_of_ones_own, used
from dregcli.wording import slugs

__all__ = [
    "Citation",
    "RunsTable",
    "bibtex",
    "report_citations",
    "report_curves_csv",
    "report_curves_json",
    "report_latex",
    "report_runs",
]


def report_runs(report: Report, *, time_to: float | None) -> RunsTable:
    """Return a tidy table of the report's runs; see :func:`dregcli.report.csv_table.runs_table`."""
    return runs_table(report.sections, time_to=time_to)


def report_curves_csv(report: Report) -> str:
    """Return the learning curves as a tidy table; see :func:`dregcli.report.curves_table.curves_csv`."""
    return curves_csv(report.sections)


def report_curves_json(report: Report) -> list[dict[str, Any]]:
    """Return the learning curves as plain values: for each run and split, its columns as lists."""
    return [
        {**identity, "columns": {name: values.tolist() for name, values in columns.items()}}
        for identity, columns in curves(report.sections)
    ]


def report_latex(report: Report, *, command: str) -> str:
    """Return a table of each section of a report; see :func:`dregcli.report.latex_table.latex_table`.

    Args:
        report: the report.
        command: the command that made the report, ready to be typed again.
    """
    sections = report.sections
    provenance = [f"by dreg {__version__}: {command}", r"add to the preamble: \usepackage{booktabs}"]
    several = len(sections) > 1
    return "\n".join(
        latex_table(
            section.groups,
            section.labels,
            section.comparisons,
            title=section.title if several else "",
            label=f"tab:dreg-{word}" if several else "tab:dreg",
            legend=section.legend,
            provenance=() if i else provenance,
            warnings=() if i else report.remarks,
        )
        for i, (section, word) in enumerate(zip(sections, slugs([each.title for each in sections]), strict=True))
    )


def report_citations(report: Report) -> tuple[list[Citation], list[str]]:
    """Return the works to cite for the report's runs, and the user's own data sets, whose works are not known."""
    keys = cited({name: entry.cites for name, entry in DATASETS.items()})
    compared = [each for section in report.sections for each in section.comparisons]
    found = citations(used(report.groups, compared), keys)
    return found, data_sets_of_ones_own(report.groups, DATASETS)
