"""``dreg report``."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.cli.reporting.exports import Exports, check_columns, export
from dregcli.cli.reporting.options import (
    Cite,
    Columns,
    Csv,
    Curves,
    Dpi,
    Figures,
    FontSize,
    Html,
    Label,
    Latex,
    NoCaption,
    Reverse,
    Sort,
    Width,
    WidthInches,
)
from dregcli.cli.reporting.result import show
from dregcli.cli.runs.watching import follow

if TYPE_CHECKING:
    from dregcli.app.runs.watch import Watched

EXAMPLES = """Report on one name:  [bold]dreg report runs/digits-iwae-dreg-k64[/bold]

Compare two names:  [bold]dreg report runs/digits-iwae-dreg-k64 runs/digits-iwae-reparam-k64[/bold]

Report on all runs, and how long each took to reach a bound:  [bold]dreg report --time-to -90[/bold]

Follow the runs that are training now:  [bold]dreg report --watch[/bold]

Write a page to share, and all figures as files:  [bold]dreg report --html report.html --figures pictures[/bold]

Name groups in all tables and figures:  [bold]dreg report --label 'iwae/dreg=DReG' --label '*/stl=STL'[/bold]

Show other columns of the groups:  [bold]dreg report --columns group,mean,verdict,lr --sort mean --reverse[/bold]

Write the learning curves, for a program of your own:  [bold]dreg report --curves curves.csv[/bold]

Write a table for a paper, and the works to cite:  [bold]dreg report --latex table.tex --cite > used.bib[/bold]"""


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs to report on: names (all versions) or versions. Without RUN: all runs.",
            show_default=False,
        ),
    ] = None,
    time_to: Annotated[
        float | None,
        typer.Option(
            metavar="BOUND", help="Show how long each run trained until its validation bound reached BOUND."
        ),
    ] = None,
    label: Label = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the runs until none is training, and then report.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two updates of --watch.")] = 2.0,
    html: Html = None,
    figures: Figures = None,
    dpi: Dpi = None,
    width_inches: WidthInches = None,
    font_size: FontSize = None,
    no_caption: NoCaption = False,
    csv: Csv = None,
    curves: Curves = None,
    latex: Latex = None,
    cite: Cite = False,
    columns: Columns = None,
    sort: Sort = None,
    reverse: Reverse = False,
    width: Width = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: means over seeds, paired differences, evaluations and learning curves, as tables or files."""
    from dregcli.app.reporting.plain import report_json
    from dregcli.app.reporting.renames import parse_renames
    from dregcli.app.reporting.report import make_report

    terminal = Terminal(as_json=as_json, quiet=quiet, width=width)
    asked = Exports(
        runs or [],
        label or [],
        csv,
        curves,
        latex,
        html,
        figures,
        dpi=dpi,
        width=width_inches,
        font=font_size,
        caption=not no_caption,
        cite=cite,
        as_json=as_json,
        time_to=time_to,
        every=every,
        columns=columns,
        sort=sort,
        reverse=reverse,
    )
    asked.check()
    renames = parse_renames(asked.labels)
    if watch:
        asked = replace(asked, runs=_follow(terminal, asked.runs, runs_dir=runs_folder(runs_dir), every=every))
    found = make_report(asked.runs, runs_dir=runs_folder(runs_dir), renames=renames)
    check_columns(found, asked)
    for left_out in found.left_out:
        terminal.warn(f"left out: {left_out}")
    with terminal:
        written = export(terminal, found, asked)
    if cite:
        return
    if as_json:
        terminal.result(report_json(found, time_to=time_to) | written)
        return
    if not asked.instead:
        show(terminal, found, time_to=time_to, chosen=asked.chosen)
    for warning in found.warnings:
        terminal.warn(warning)


def _follow(terminal: Terminal, runs: list[str], *, runs_dir: Path, every: float) -> list[str]:
    """Follow the runs, and return the runs for the report; without names, all followed runs."""
    from dregcli.app.runs.watch import watch
    from dregcli.app.studies.slurm.submitted import is_waiting

    seen: dict[str, None] = {}

    def more() -> bool:
        return not runs and is_waiting(runs_dir)

    if more():
        terminal.note("runs wait in the queue of SLURM: they are followed, too, as soon as they train")

    def noted() -> Iterator[list["Watched"]]:
        for frame in watch(runs, runs_dir=runs_dir, interval=every, more=more):
            seen.update(dict.fromkeys(str(each.path) for each in frame))
            yield frame

    follow(terminal, noted())
    if not seen:
        terminal.note("no run is training now")
    return runs or [path for path in seen if Path(path).is_dir()]
