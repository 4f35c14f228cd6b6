"""Export a report as CSV, LaTeX and BibTeX."""

from dregcli import __version__
from dregcli.app.reporting.report import Report
from dregcli.data.catalogue import DATASETS
from dregcli.report.bibtex import Citation, bibtex, citations, cited
from dregcli.report.csv_table import csv_table
from dregcli.report.latex_table import latex_table
from dregcli.report.used import data_sets_of_ones_own, used
from dregcli.wording import slugs

__all__ = ["Citation", "bibtex", "report_citations", "report_csv", "report_latex"]


def report_csv(report: Report, *, time_to: float | None) -> str:
    """Return a tidy table of the report's runs; see :func:`dregcli.report.csv_table.csv_table`."""
    return csv_table(report.groups, report.labels, time_to=time_to)


def report_latex(report: Report, *, command: str) -> str:
    """Return a table of each section of a report; see :func:`dregcli.report.latex_table.latex_table`.

    Args:
        report: the report.
        command: the command that made the report, ready to be typed again.
    """
    sections = report.sections
    provenance = [f"by dreg {__version__}: {command}"]
    warnings = [*report.warnings, *(f"left out: {each}" for each in report.left_out)]
    several = len(sections) > 1
    return "\n".join(
        latex_table(
            section.groups,
            section.labels,
            section.comparisons,
            title=section.title if several else "",
            label=f"tab:dreg-{word}" if several else "tab:dreg",
            provenance=() if i else provenance,
            warnings=() if i else warnings,
        )
        for i, (section, word) in enumerate(zip(sections, slugs([each.title for each in sections]), strict=True))
    )


def report_citations(report: Report) -> tuple[list[Citation], list[str]]:
    """Return the works to cite for the report's runs, and the user's own data sets, whose works are not known."""
    keys = cited({name: entry.cites for name, entry in DATASETS.items()})
    compared = [each for section in report.sections for each in section.comparisons]
    found = citations(used(report.groups, compared), keys)
    return found, data_sets_of_ones_own(report.groups, DATASETS)
