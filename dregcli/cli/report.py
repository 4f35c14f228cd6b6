"""``dreg report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.cli.report_result import show

if TYPE_CHECKING:
    from dregcli.app.report import Report
    from dregcli.app.report_figures import WrittenFigure

EXAMPLES = """One name:  [bold]dreg report runs/digits-iwae-dreg-k64[/bold]

Two, side by side:  [bold]dreg report runs/digits-iwae-dreg-k64 runs/digits-iwae-reparam-k64[/bold]

All runs, and how long each took to a bound:  [bold]dreg report --time-to -90[/bold]

All runs, in pictures:  [bold]dreg report --figures pictures[/bold]"""


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
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write every figure there are data for, as PNG and SVG; nothing is overwritten."
        ),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: means over seeds, paired differences, evaluations, learning curves, figures."""
    from dregcli.app.report import make_report
    from dregcli.app.report_json import report_json

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = make_report(runs or [], runs_dir=runs_folder(runs_dir))
    for left_out in found.left_out:
        terminal.warn(f"left out: {left_out}")
    drawn = None if figures is None else _figures(terminal, found, figures)
    if as_json:
        content = report_json(found, time_to=time_to)
        terminal.result(content if drawn is None else content | {"figures": [each.as_json() for each in drawn]})
        return
    show(terminal, found, time_to=time_to)
    for each in drawn or []:
        terminal.line(f"figure: {', '.join(map(str, each.files))}")
    for warning in found.warnings:
        terminal.warn(warning)


def _figures(terminal: Terminal, report: "Report", folder: Path) -> "list[WrittenFigure]":
    from dregcli.app.report_figures import draw_report, write_figures

    try:
        drawn = draw_report(report, terminal)
        if not drawn:
            terminal.warn("there is nothing to draw: no run is completed with a bound.")
            return []
        return write_figures(drawn, folder, terminal)
    finally:
        terminal.close()
