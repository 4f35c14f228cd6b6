"""``dreg report --html FILE``: a report as one page."""

import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dregcli import __version__
from dregcli.app.places import run_command, typed
from dregcli.app.report import Report
from dregcli.app.runs_diff import flat_environment
from dregcli.errors import DregError, StoreWriteError, UsageError
from dregcli.report.drawn import Drawn
from dregcli.report.html import origins, results
from dregcli.report.html.images import images
from dregcli.report.html.page import render
from dregcli.report.html.view import Command, Page, Section
from dregcli.store.filesystem import LOCAL, write_aside
from dregcli.store.labels import Labels
from dregcli.store.run import Run
from dregcli.wording import shell_command


def check_target(path: Path) -> None:
    """Refuses what no page can be written to: asked before any work is done for it.

    Raises:
        UsageError: its folder is not there, or what has its name is no plain file.
    """
    where, another = f"--html {path}", "name another file: --html FILE"
    if not path.parent.exists():
        what = "There is no folder for the page."
        raise UsageError(what, where=where, hint=f"make it: {shell_command(['mkdir', '-p', str(path.parent)])}")
    if not path.parent.is_dir():
        what = "A file is where the page's folder must be."
        raise UsageError(what, where=where, hint=another)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        what = f"The page cannot be written there: {error.strerror or error}."
        raise UsageError(what, where=where, hint=another) from error
    if not stat.S_ISREG(mode):
        what = "What has that name is no plain file, and is not replaced."
        raise UsageError(what, where=where, hint=another)


def write_html(
    report: Report, figures: Sequence[Drawn], path: Path, *, time_to: float | None, argv: Sequence[str]
) -> int:
    """Write a report as one page that needs no other file and no network.

    Args:
        report: what was found.
        figures: that the page shows, in their order.
        path: the file; one that is there is replaced when the new one is whole.
        time_to: the bound that the time to is told of, nats per example.
        argv: the command line, which the page tells.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: see ``check_target``.
        StoreWriteError: the disk refuses.
    """
    check_target(path)
    content = render(page_of(report, figures, time_to=time_to, argv=argv, now=datetime.now(UTC)))
    try:
        write_aside(LOCAL, path, content)
    except StoreWriteError as error:
        hint = "free some space there, or name a file where you can write: --html FILE"
        raise StoreWriteError(error.what, where=f"--html {path}", hint=hint) from error
    return len(content)


def page_of(
    report: Report, figures: Sequence[Drawn], *, time_to: float | None, argv: Sequence[str], now: datetime
) -> Page:
    """The page as plain values; see ``write_html``."""
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
    """Where a run comes from; what of that cannot be read is told in ``unread``."""
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
    again = Command("once more, from its own spec", run_command("runs rerun", run.label, run.path.parent.parent))
    return origins.Origin(
        commands=(*lines, again),
        environments=tuple(flat_environment(each) for each in captured),
        tags=labels.tags,
        notes=tuple(note.text for note in labels.notes),
    )
