"""Export a report as CSV, LaTeX and BibTeX."""

from dregcli import __version__
from dregcli.app.reporting.report import Report
from dregcli.data.catalogue import DATASETS
from dregcli.report.bibtex import Citation, bibtex, citations, cited
from dregcli.report.csv_table import csv_table
from dregcli.report.latex_table import latex_table
from dregcli.report.used import data_sets_of_ones_own, used

__all__ = ["Citation", "bibtex", "report_citations", "report_csv", "report_latex"]


def report_csv(report: Report, *, time_to: float | None) -> str:
    """Return a tidy table of the report's runs; see :func:`dregcli.report.csv_table.csv_table`."""
    return csv_table(report.groups, report.labels, time_to=time_to)


def report_latex(report: Report, *, command: str) -> str:
    """Return a table of the report's groups; see :func:`dregcli.report.latex_table.latex_table`.

    Args:
        report: the report.
        command: the command that made the report, ready to be typed again.
    """
    return latex_table(
        report.groups,
        report.labels,
        report.comparisons,
        provenance=[f"by dreg {__version__}: {command}"],
        warnings=[*report.warnings, *(f"left out: {each}" for each in report.left_out)],
    )


def report_citations(report: Report) -> tuple[list[Citation], list[str]]:
    """Return the works to cite for the report's runs, and the user's own data sets, whose works are not known."""
    keys = cited({name: entry.cites for name, entry in DATASETS.items()})
    compared = [each for section in report.sections for each in section.comparisons]
    found = citations(used(report.groups, compared), keys)
    return found, data_sets_of_ones_own(report.groups, DATASETS)
