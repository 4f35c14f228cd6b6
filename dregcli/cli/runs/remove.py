"""``dreg runs rm`` and ``dreg runs gc``."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dregcli.app.common.places import runs_folder
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

RM_EXAMPLES = """Remove one version:  [bold]dreg runs rm mnist-iwae-dreg-k64/v002[/bold]

Remove all versions of a name, without a question:  [bold]dreg runs rm mnist-iwae-dreg-k64 --yes[/bold]

Restore a version:  [bold]dreg runs rm --restore mnist-iwae-dreg-k64/v002[/bold]"""
GC_EXAMPLES = """See what would be removed:  [bold]dreg runs gc --dry-run[/bold]

Remove what has been in the trash for more than a week:  [bold]dreg runs gc --older-than 7[/bold]"""

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _agreed(question: str, instead: str, *, yes: bool) -> bool:
    """Ask the user, and return whether the user agrees.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        what = f"Nobody can answer this question here: {question}"
        raise UsageError(what, hint=instead)
    return typer.confirm(question, err=True)  # on stderr: stdout is for the result


def rm(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Versions, or names for all their versions.")],
    restore: Annotated[bool, typer.Option("--restore", help="Bring versions back from the trash.")] = False,
    yes: Yes = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Move runs to the trash, after asking; `dreg runs gc` empties the trash."""
    from dregcli.app.runs.remove import plan_run_removal, remove_runs, restore_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    root = runs_folder(runs_dir)
    if restore:
        _show_restored(terminal, restore_runs(runs, runs_dir=root))
        return
    removals = plan_run_removal(runs, runs_dir=root)
    for removal in removals:
        if removal.children:
            terminal.warn(f"{', '.join(removal.children)} started from {removal.run.label}.")
    labels = ", ".join(f"{each.run.label} ({each.status}, {bytes_in_words(each.nbytes)})" for each in removals)
    if not _agreed(f"Move {labels} to the trash?", command("runs", "rm", *runs, "--yes"), yes=yes):
        removals = []
    moved = remove_runs(removals)
    if as_json:
        pairs = zip(removals, moved, strict=True)
        terminal.result({"removed": [{"run": each.run.label, "trash": str(path)} for each, path in pairs]})
        return
    for each in removals:
        terminal.line(f"removed {each.run.label}; to restore:  {command('runs', 'rm', '--restore', each.run.label)}")
    if not removals:
        terminal.line("nothing was removed")


def _show_restored(terminal: Terminal, paths: "list[Path]") -> None:
    if terminal.as_json:
        terminal.result({"restored": [str(path) for path in paths]})
        return
    for path in paths:
        terminal.line(f"restored {path}")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than", min=0, metavar="DAYS", help="Remove only trash that is older than this many days."
        ),
    ] = 0.0,
    yes: Yes = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Permanently remove the trash and the files that killed processes left behind, after asking."""
    from dregcli.app.runs.remove import empty_garbage, find_garbage

    terminal = Terminal(as_json=as_json, quiet=quiet)
    root = runs_folder(runs_dir)
    found = find_garbage(runs_dir=root, older_than_days=older_than)
    size = f"{counted(len(found.paths), 'item')}, {bytes_in_words(found.nbytes)}"
    for path in found.paths:
        terminal.note(str(path))
    gone = False
    if found.paths and not dry_run:
        gone = _agreed(f"Remove permanently: {size}?", command("runs", "gc", "--yes"), yes=yes)
    if gone:
        empty_garbage(found, runs_dir=root)
    if as_json:
        terminal.result({"removed": gone, "bytes": found.nbytes, "paths": [str(path) for path in found.paths]})
    elif not found.paths:
        terminal.line("there is nothing to remove")
    else:
        terminal.line(f"{'removed' if gone else 'not removed'}: {size}")
