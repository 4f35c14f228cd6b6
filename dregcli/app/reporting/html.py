"""Make one HTML page of a report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dregcli import __version__
from dregcli.app.common.places import typed
from dregcli.app.reporting.report import Report
from dregcli.commands import command
from dregcli.describe import flat_environment
from dregcli.errors import DregError
from dregcli.report.drawn import Drawn
from dregcli.report.html import origins, results
from dregcli.report.html.images import images
from dregcli.report.html.page import render
from dregcli.report.html.view import Command, Page, Section
from dregcli.store.labels import Labels
from dregcli.store.run import Run
from dregcli.wording import shell_command


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
    groups, labels = report.groups, report.labels
    unread: list[str] = []
    of_runs = {path: _origin(run, unread) for path, run in report.runs.items()}
    sections = [
        results.summary(groups, labels, report.comparisons, report.sparklines(), time_to=time_to),
        results.comparison(report.comparisons, labels),
        Section("figures", "Figures", images=images(figures)),
        results.evaluations(groups, labels),
        results.bias(groups, labels),
        origins.specs(groups, labels),
        origins.runs(groups, labels, of_runs, time_to=time_to),
        origins.environments(groups, of_runs),
        origins.commands(groups, labels, of_runs),
    ]
    return Page(
        title=_title(report),
        lead=results.about(groups),
        warnings=(*report.warnings, *(f"left out: {each}" for each in (*report.left_out, *unread))),
        sections=tuple(section for section in sections if not section.empty),
        made=f"Made on {now:%Y-%m-%d %H:%M} UTC by dreg {__version__} with",
        command=shell_command(argv),
    )


def _title(report: Report) -> str:
    names = dict.fromkeys(str(group.spec["dataset"]) for group in report.groups)
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
