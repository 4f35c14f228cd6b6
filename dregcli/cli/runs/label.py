"""``dreg runs tag`` and ``dreg runs note``."""

from typing import Annotated

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

TAG_EXAMPLES = """Add a tag:  [bold]dreg runs tag mnist-iwae-dreg-k64 --add paper[/bold]

Show the tags of a run:  [bold]dreg runs tag mnist-iwae-dreg-k64[/bold]

Change the tags of all versions of a name:  \
[bold]dreg runs tag mnist-iwae-dreg-k64 --all --add paper --remove draft[/bold]

List all runs with a tag:  [bold]dreg runs list --tag paper[/bold]"""
NOTE_EXAMPLES = """Add a note:  [bold]dreg runs note mnist-iwae-dreg-k64 "the one of figure 3"[/bold]

Read the notes:  [bold]dreg runs note mnist-iwae-dreg-k64[/bold]"""

_RUN = "A version, or a name for its newest completed version."


def tag(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help=_RUN)],
    add: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Add this tag; can be given several times.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Remove this tag; can be given several times.")
    ] = None,
    all_versions: Annotated[bool, typer.Option("--all", help="A name means all its versions.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add tags to runs, remove tags, or show the tags of runs."""
    from dregcli.app.runs.label import label_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = label_runs(
        runs,
        runs_dir=runs_folder(runs_dir),
        listener=terminal,
        add=add or (),
        remove=remove or (),
        all_versions=all_versions,
    )
    if as_json:
        terminal.result({"runs": [{"run": str(run.path), "tags": list(labels.tags)} for run, labels in found]})
        return
    for run, labels in found:
        terminal.line(f"{run.label}: {' '.join(labels.tags) or 'no tags'}")


def note(
    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN)],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Text of the note. Without TEXT: show all notes.")
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add a note to a run, or read its notes."""
    from dregcli.app.runs.label import label_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    ((found, labels),) = label_runs([run], runs_dir=runs_folder(runs_dir), listener=terminal, note=text)
    notes = [{"time": each.time.isoformat(), "text": each.text} for each in labels.notes]
    if as_json:
        terminal.result({"run": str(found.path), "notes": notes})
        return
    for each in labels.notes:
        terminal.line(f"{each.time:%Y-%m-%d %H:%M} {each.text}")
    if not labels.notes:
        terminal.line(f"{found.label}: no notes")
