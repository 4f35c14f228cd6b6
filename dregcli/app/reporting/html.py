"""Make one HTML page of a report."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dregcli import __version__
from dregcli.app.common.places import typed
from dregcli.app.reporting.report import Report
from dregcli.commands import command
from dregcli.describe import flat_environment
from dregcli.errors import DregError
from dregcli.report.drawn import Drawn
from dregcli.report.groups import Group
from dregcli.report.html import origins, results
from dregcli.report.html.images import images
from dregcli.report.html.page import render
from dregcli.report.html.view import Command, Image, Page, Section
from dregcli.report.sections import ReportSection
from dregcli.report.tables import Table
from dregcli.store.labels import Labels
from dregcli.store.run import Run
from dregcli.wording import shell_command, slugs


def page(report: Report, figures: Sequence[Drawn], *, time_to: float | None, argv: Sequence[str]) -> bytes:
    """Return a report as one page of HTML that needs no other file and no network.

    Args:
        report: the report.
        figures: the figures of the page, in order.
        time_to: the bound for the time that runs took to reach it, nats per example; None shows no time.
        argv: the command line, which the page shows.
    """
    return render(page_of(report, figures, time_to=time_to, argv=argv, now=datetime.now(UTC)))


def page_of(
    report: Report, figures: Sequence[Drawn], *, time_to: float | None, argv: Sequence[str], now: datetime
) -> Page:
    """Return the page as plain values."""
    unread: list[str] = []
    of_runs = {path: _origin(run, unread) for path, run in report.runs.items()}
    groups = report.groups
    words = slugs([section.title for section in report.sections])
    several = len(words) > 1
    parts: list[Section] = []
    for section, word in zip(report.sections, words, strict=True):
        own = [drawn for drawn in figures if not several or drawn.section == section.title]
        found = _results(section, images(own), time_to=time_to)
        parts += [_part(section, word, found)] if several else found
    sections = [
        *parts,
        results.along(report.along, report.labels),
        _joined(report.sections, lambda each: origins.specs(each.groups, each.labels)),
        _joined(report.sections, lambda each: origins.runs(each.groups, each.labels, of_runs, time_to=time_to)),
        origins.environments(groups, of_runs),
        _joined(report.sections, lambda each: origins.commands(each.groups, each.labels, of_runs)),
    ]
    return Page(
        title=_title(groups),
        lead=results.about(groups),
        warnings=(*report.remarks, *(f"left out: {each}" for each in unread)),
        sections=tuple(section for section in sections if not section.empty),
        made=f"Made on {now:%Y-%m-%d %H:%M} UTC by dreg {__version__} with",
        command=shell_command(argv),
    )


def _results(section: ReportSection, figures: tuple[Image, ...], *, time_to: float | None) -> list[Section]:
    """Return the results of one section of the report; a result that it does not have is left out."""
    groups, labels, comparisons = section.groups, section.labels, section.comparisons
    found = [
        results.summary(groups, labels, comparisons, section.sparklines(), time_to=time_to),
        results.comparison(comparisons, labels),
        Section("figures", "Figures", images=figures),
        results.evaluations(groups, labels),
        results.bias(groups, labels),
    ]
    found[0] = replace(found[0], lead=(*found[0].lead, *section.legend))
    return [each for each in found if not each.empty]


def _part(section: ReportSection, word: str, found: Sequence[Section]) -> Section:
    """Return the part of the page about one section of the report. Its anchors begin with the section's word."""
    inside = tuple(replace(each, anchor=f"{word}-{each.anchor}") for each in found)
    return Section(f"results-{word}", section.title, lead=(f"{results.about(section.groups)}.",), sections=inside)


def _joined(sections: Sequence[ReportSection], made: Callable[[ReportSection], Section]) -> Section:
    """Return one section of the page about all sections of the report; their titles begin those of the tables."""
    found = [made(each) for each in sections]
    if len(found) == 1:
        return found[0]

    def named(tables: Sequence[Table], title: str) -> list[Table]:
        return [replace(table, title=f"{title}: {table.title}") for table in tables]

    pairs = [(own.title, each) for own, each in zip(sections, found, strict=True)]
    return replace(
        found[0],
        tables=tuple(table for title, each in pairs for table in named(each.tables, title)),
        folded=tuple(table for title, each in pairs for table in named(each.folded, title)),
        commands=tuple(replace(one, title=f"{title}: {one.title}") for title, each in pairs for one in each.commands),
    )


def _title(groups: Sequence[Group]) -> str:
    names = dict.fromkeys(str(group.spec["dataset"]) for group in groups)
    return f"Runs on {' and '.join(names)}" if len(names) < 3 else f"Runs on {len(names)} data sets"


def _origin(run: Run, unread: list[str]) -> origins.Origin:
    """Return where a run comes from; parts that cannot be read are added to ``unread``."""
    captured: list[dict[str, Any]] = []
    try:
        captured = [run.environment(), *run.resumed_environments().values()]
    except DregError as error:
        unread.append(f"environment of {run.path}: {error.what}")
    labels = Labels()
    try:
        labels = run.labels()
    except DregError as error:
        unread.append(f"labels of {run.path}: {error.what}")
    lines = [
        Command("typed" if i == 0 else "typed to resume it", line)
        for i, environment in enumerate(captured)
        if (line := typed(environment))
    ]
    again = Command("to train it again from its spec", command("runs", "rerun", run.label, runs_dir=run.root))
    return origins.Origin(
        commands=(*lines, again),
        environments=tuple(flat_environment(each) for each in captured),
        tags=labels.tags,
        notes=tuple(note.text for note in labels.notes),
    )
