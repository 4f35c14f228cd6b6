"""``dreg report``."""

from typing import Annotated

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.cli.report_result import show

EXAMPLES = """One name:  [bold]dreg report runs/digits-iwae-dreg-k64[/bold]

Two, side by side:  [bold]dreg report runs/digits-iwae-dreg-k64 runs/digits-iwae-reparam-k64[/bold]

All runs, and how long each took to a bound:  [bold]dreg report --time-to -90[/bold]"""


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
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: means over seeds, paired differences, evaluations, learning curves."""
    from dregcli.app.report import make_report
    from dregcli.app.report_json import report_json

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = make_report(runs or [], runs_dir=runs_folder(runs_dir))
    for left_out in found.left_out:
        terminal.warn(f"left out: {left_out}")
    if as_json:
        terminal.result(report_json(found, time_to=time_to))
        return
    show(terminal, found, time_to=time_to)
    for warning in found.warnings:
        terminal.warn(warning)
