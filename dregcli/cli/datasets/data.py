"""``dreg data``: list, show, verify and rm. The module ``import_`` holds ``dreg data import``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dregcli.app.common.places import NO_FOLDER, data_folder, data_folder_if_any
from dregcli.cli.datasets.plain import dataset_json, image_in_words
from dregcli.cli.datasets.preview import preview
from dregcli.cli.options import DataDir, Json, Quiet, split_option
from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.errors import UsageError
from dregcli.names import Split, unknown

if TYPE_CHECKING:
    from dregcli.app.datasets.remove import Removal
    from dregcli.app.datasets.status import DataRow

LIST_EXAMPLES = """List all data sets:  [bold]dreg data list[/bold]

List them as JSON, for a program:  [bold]dreg data list --json[/bold]"""
SHOW_EXAMPLES = """Draw the training split of the embedded digits:  [bold]dreg data show digits[/bold]

Draw another split to a file of your choice:  [bold]dreg data show mnist --split test --out mnist.png[/bold]"""
VERIFY_EXAMPLES = """Verify all data sets on this machine:  [bold]dreg data verify[/bold]

Verify one data set:  [bold]dreg data verify mnist[/bold]"""
RM_EXAMPLES = """Remove a data set:  [bold]dreg data rm mine[/bold]

Remove two without a question, as in a script:  [bold]dreg data rm mine mnist --yes[/bold]"""

_CHECK_SAYS_NO = 1


def _remove_with(command: str | None) -> str:
    return f"; remove it with  {command}" if command else ""


def _as_json(row: "DataRow") -> dict[str, Any]:
    return {
        "dataset": row.name,
        "status": row.status.value,
        "imported": row.imported,
        "problem": row.problem,
        "kind": row.kind.value if row.kind else None,
        "image": list(row.image) or None,
        "splits": {split.value: count for split, count in row.splits.items()} or None,
        "split_conventions": list(row.conventions),
        "bytes": row.nbytes,
        "checksum": row.checksum,
        "path": str(row.path) if row.path else None,
        "source": row.source,
    }


def list_(data_dir: DataDir = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the data sets of the catalogue and your own, with their status on this machine."""
    from dregcli.app.datasets.status import list_data

    terminal = Terminal(as_json=as_json, quiet=quiet)
    folder = data_folder_if_any(data_dir)
    rows = list_data(folder)
    if as_json:
        terminal.result(
            {"data_dir": None if folder == NO_FOLDER else str(folder), "results": [_as_json(row) for row in rows]}
        )
        return
    terminal.table(
        ["data set", "status", "kind", "image", *Split, "on disk", "checksum", "splits"],
        [
            [
                row.name,
                f"{row.status.value}, imported" if row.imported else row.status.value,
                row.kind.value if row.kind else "-",
                image_in_words(row.image),
                *(f"{row.splits[split]:,}" if row.splits else "-" for split in Split),
                bytes_in_words(row.nbytes),
                row.checksum[:8] if row.checksum else "-",
                ", ".join(row.conventions) or "-",
            ]
            for row in rows
        ],
    )
    for row in rows:
        if row.problem:
            terminal.line(f"{row.name} is damaged: {row.problem}{_remove_with(row.removal)}")
    if not quiet:
        for row in rows:
            if row.path and row.source:
                terminal.line(f"{row.name}: {row.path}, {row.source}")


def show(
    name: Annotated[str, typer.Argument(help="Name of a data set: see `dreg data list`.")],
    split: Annotated[str, split_option("Split to draw: train, valid or test.")] = Split.TRAIN.value,
    split_convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Published split to use: see `dreg data list`.",
            show_default="the data set's first",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PNG file to write; it must not exist.",
            show_default="in figures/ of the data folder",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a data set as a PNG: images, their mean, and a histogram of the values."""
    from dregcli.app.datasets.show import show_data

    if split not in list(Split):
        raise UsageError(unknown("split", split, Split), where="--split", hint="dreg data show --help")
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        shown = show_data(
            name,
            data_folder_if_any(data_dir),
            split=Split(split),
            convention=split_convention,
            out=out,
            listener=terminal,
        )
    if as_json:
        terminal.result(
            {
                **dataset_json(shown),
                "split": shown.split.value,
                "figure": str(shown.path),
            }
        )
        return
    for note in shown.dataset.provenance.get("done", ()):
        terminal.note(str(note))
    terminal.line(f"figure: {shown.path}")
    preview(terminal, shown, shown.split)


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Data sets to verify. Without NAME: all on this machine."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Read every value again, and compare it with the checksums; exit code 1 if a data set is damaged."""
    from dregcli.app.datasets.status import verify_data

    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        results = verify_data(names or [], data_folder_if_any(data_dir), terminal)
    damaged = [result for result in results if result.problem]
    if as_json:
        terminal.result(
            {
                "results": [
                    {
                        "dataset": result.name,
                        "verdict": "damaged" if result.problem else "ok",
                        "problem": result.problem,
                        "checksum": result.checksum,
                        "path": str(result.path) if result.path else None,
                    }
                    for result in results
                ]
            }
        )
        return _CHECK_SAYS_NO if damaged else 0
    terminal.table(
        ["data set", "verdict", "checksum", "where"],
        [
            [
                result.name,
                "damaged" if result.problem else "OK",
                (result.checksum or "-")[:8],
                str(result.path or "with the program"),
            ]
            for result in results
        ],
    )
    for result in damaged:
        terminal.line(f"{result.name}: {result.problem}{_remove_with(result.removal)}")
    return _CHECK_SAYS_NO if damaged else 0


def _figures(removal: "Removal") -> str:
    count = len(removal.figures)
    return f" and its {count} figure{'s' if count > 1 else ''}" if count else ""


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Data sets to remove from the data folder.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also remove a file that cannot be read, and so may not belong to dreg."),
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove data sets from the data folder, after asking."""
    from dregcli.app.datasets.remove import plan_removal, remove_data
    from dregcli.app.datasets.status import removal_command

    terminal = Terminal(as_json=as_json, quiet=quiet)
    folder = data_folder(data_dir)
    removals = plan_removal(names, folder, force=force)
    for removal in removals:
        if removal.unreadable:
            terminal.warn(f"{removal.path} cannot be read, so it may not be a data set of dreg.")
        elif removal.imported:
            origin = f" ({removal.source})" if removal.source else ""
            terminal.warn(f"'{removal.name}' is your own data{origin}: it cannot be downloaded again, only imported.")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                what="nobody can answer whether to remove " + ", ".join(removal.name for removal in removals),
                hint=removal_command([removal.name for removal in removals], folder, force=force, yes=True),
            )
        files = ", ".join(
            f"{removal.path} ({bytes_in_words(removal.nbytes)}){_figures(removal)}" for removal in removals
        )
        # On stderr: stdout is for the result.
        if not typer.confirm(f"Remove {files}?", err=True):
            removals = []
    remove_data(removals)
    if as_json:
        terminal.result(
            {
                "removed": [
                    {
                        "dataset": removal.name,
                        "path": str(removal.path),
                        "bytes": removal.nbytes,
                        "figures": [str(path) for path in removal.figures],
                    }
                    for removal in removals
                ]
            }
        )
        return
    if not removals:
        terminal.line("nothing was removed")
    for removal in removals:
        terminal.line(f"removed {removal.name}: {removal.path} ({bytes_in_words(removal.nbytes)}){_figures(removal)}")
