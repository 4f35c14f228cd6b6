"""``dreg runs export`` and ``dreg runs import``."""

from pathlib import Path
from typing import Annotated

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, bytes_in_words

EXPORT_EXAMPLES = """[bold]dreg runs export mnist-iwae-dreg-k64/v001 mnist.zip[/bold]

What is left of a damaged one:  [bold]dreg runs export mnist-iwae-dreg-k64/v001 mnist.zip --force[/bold]"""
IMPORT_EXAMPLES = """[bold]dreg runs import mnist.zip[/bold]

Under another name:  [bold]dreg runs import mnist.zip --name mnist-from-the-cluster[/bold]"""


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A version, or a name: its newest completed version.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also with files that are not as they were written; the archive names them."),
    ] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run, whole and verified, into one file that another machine can import."""
    from dregcli.app.runs_carry import export_to

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = export_to(run, file, force=force, runs_dir=runs_folder(runs_dir), listener=terminal)
    size = file.stat().st_size
    if as_json:
        terminal.result({"run": str(found.path), "file": str(file), "bytes": size})
    else:
        terminal.line(f"exported {found.label} to {file} ({bytes_in_words(size)})")
        terminal.line(f"elsewhere: dreg runs import {file.name}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `dreg runs export` wrote.")],
    name: Annotated[str | None, typer.Option(help="The run's name here.", show_default="as it was")] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring an exported run into the store as a new version, after checking every byte of it."""
    from dregcli.app.runs_carry import import_from

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = import_from(file, name, runs_dir=runs_folder(runs_dir))
    for fault in found.faults:
        terminal.warn(f"{found.run.path / fault} was damaged when the run was exported")
    if as_json:
        same = [str(run.path) for run in found.same]
        told = {"same_as": same, "faults": list(found.faults)}
        terminal.result({"run": str(found.run.path), "origin": found.origin, **told})
    else:
        terminal.line(f"imported {found.origin} as {found.run.path}")
        if found.same:
            terminal.note(f"it was here already: {', '.join(run.label for run in found.same)} is the same run")
        terminal.line(f"next: dreg runs list {found.run.label}")
