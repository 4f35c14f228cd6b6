"""``dreg runs diff``."""

from typing import Annotated, Any

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

EXAMPLES = """Compare two versions:  [bold]dreg runs diff mnist-iwae-dreg-k64/v001 mnist-iwae-dreg-k64/v002[/bold]

Include times, paths and patches:  [bold]dreg runs diff a b --all[/bold]"""

_RUN = "Run to compare: a version, or a name for its newest completed version."


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=_RUN)],
    b: Annotated[str, typer.Argument(metavar="B", help=_RUN)],
    everything: Annotated[bool, typer.Option("--all", help="Also compare times, paths and patches.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two runs, and show the differences in spec, environment and results."""
    from dregcli.app.runs.diff import diff_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = diff_runs(a, b, runs_dir=runs_folder(runs_dir), listener=terminal, everything=everything)
    if as_json:
        sections = {
            name: [{"field": each.field, "a": each.a, "b": each.b, "difference": each.change} for each in rows]
            for name, rows in found.sections.items()
        }
        terminal.result({"a": str(found.a.path), "b": str(found.b.path), **sections})
        return
    for name, rows in found.sections.items():
        if not rows:
            terminal.line(f"{name}: the same")
            continue
        cells = [
            [each.field, _cell(each.a), _cell(each.b), "" if each.change is None else f"{each.change:+.6g}"]
            for each in rows
        ]
        terminal.table([name, found.a.label, found.b.label, "difference"], cells)
        terminal.line()


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\n", "\\n")
