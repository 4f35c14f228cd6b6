"""``dreg runs tag`` and ``dreg runs note``."""

from typing import Annotated

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal

TAG_EXAMPLES = """[bold]dreg runs tag mnist-iwae-dreg-k64 --add paper[/bold]

What it has:  [bold]dreg runs tag mnist-iwae-dreg-k64[/bold]

All versions of a name:  [bold]dreg runs tag mnist-iwae-dreg-k64 --all --add paper --remove draft[/bold]

All with it:  [bold]dreg runs list --tag paper[/bold]"""
NOTE_EXAMPLES = """[bold]dreg runs note mnist-iwae-dreg-k64 "the one of figure 3"[/bold]

What was noted:  [bold]dreg runs note mnist-iwae-dreg-k64[/bold]"""

_RUN = "A version, or a name, which means its newest version."


def tag(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help=_RUN)],
    add: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Add it; may be given several times.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Remove it; the same.")] = None,
    all_versions: Annotated[bool, typer.Option("--all", help="Of a name, all its versions.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add tags to runs, remove them, or tell which there are."""
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
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to note; without it, all notes.")] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Note something about a run, or read what was noted."""
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
        terminal.line(f"{found.label}: nothing was noted")
