"""``dreg report``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.cli.report_result import show
from dregcli.cli.watching import follow
from dregcli.errors import UsageError

if TYPE_CHECKING:
    from dregcli.app.report import Report
    from dregcli.app.watch import Watched

EXAMPLES = """One name:  [bold]dreg report runs/digits-iwae-dreg-k64[/bold]

Two, side by side:  [bold]dreg report runs/digits-iwae-dreg-k64 runs/digits-iwae-reparam-k64[/bold]

All runs, and how long each took to a bound:  [bold]dreg report --time-to -90[/bold]

What is training now, until it is done:  [bold]dreg report --watch[/bold]

The same as a page to hand on:  [bold]dreg report --html report.html[/bold]"""


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs: a name (all versions) or one version; all.", show_default=False
        ),
    ] = None,
    time_to: Annotated[
        float | None,
        typer.Option(metavar="BOUND", help="Tell how long each run trained until its validation bound was so high."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the runs until none of them trains any more; then report.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks of --watch.")] = 2.0,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a page: one file with all its figures, which needs no network.",
            show_default=False,
        ),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: means over seeds, paired differences, evaluations, learning curves."""
    from dregcli.app.report import make_report
    from dregcli.app.report_json import report_json

    terminal = Terminal(as_json=as_json, quiet=quiet)
    if html is not None:
        from dregcli.app.report_html import check_target

        check_target(html)
    if watch:
        runs = _follow(terminal, runs or [], runs_dir=runs_folder(runs_dir), every=every)
    found = make_report(runs or [], runs_dir=runs_folder(runs_dir))
    for left_out in found.left_out:
        terminal.warn(f"left out: {left_out}")
    if html is not None:
        _write_page(terminal, found, html, time_to)
    if as_json:
        written = {} if html is None else {"html": str(html)}
        terminal.result({**report_json(found, time_to=time_to), **written})
        return
    show(terminal, found, time_to=time_to)
    for warning in found.warnings:
        terminal.warn(warning)


def _follow(terminal: Terminal, runs: list[str], *, runs_dir: Path, every: float) -> list[str]:
    """Follow the runs; what is to be reported on then: without names all that were followed."""
    from dregcli.app.watch import watch

    if not every > 0.0:
        what = f"--every must be above 0, got {every:g}."
        raise UsageError(what, hint="dreg report --help")
    seen: dict[str, None] = {}

    def noted() -> Iterator[list["Watched"]]:
        for frame in watch(runs, runs_dir=runs_dir, interval=every):
            seen.update(dict.fromkeys(str(each.path) for each in frame))
            yield frame

    follow(terminal, noted())
    if not seen:
        terminal.note("nothing is training now")
    return runs or list(seen)


def _write_page(terminal: Terminal, found: "Report", path: Path, time_to: float | None) -> None:
    from dregcli.app.report_html import write_html

    nbytes = write_html(found, (), path, time_to=time_to, argv=["dreg", *sys.argv[1:]])
    terminal.note(f"page written: {path} ({bytes_in_words(nbytes)})")
