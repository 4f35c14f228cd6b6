"""``dreg runs export`` and ``dreg runs import``."""

from pathlib import Path
from typing import Annotated

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir, TrustCode
from dregcli.cli.render import Terminal, bytes_in_words
from dregcli.commands import command, quoted
from dregcli.errors import UsageError

EXPORT_EXAMPLES = """Export one run to a file:  [bold]dreg runs export mnist-iwae-dreg-k64/v001 mnist.zip[/bold]

Export a damaged run:  [bold]dreg runs export mnist-iwae-dreg-k64/v001 mnist.zip --force[/bold]

Export the model alone, with a page about it and a program that loads it without dreg:  \
[bold]dreg runs export mnist-iwae-dreg-k64 --model mnist-model[/bold]

Write metrics of all versions for TensorBoard:  \
[bold]dreg runs export mnist-iwae-dreg-k64 --tensorboard logs[/bold]"""
IMPORT_EXAMPLES = """Import a run:  [bold]dreg runs import mnist.zip[/bold]

Import a run with another name:  [bold]dreg runs import mnist.zip --name mnist-from-the-cluster[/bold]"""


def export(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN FILE",
            help="Run to export (a version, or a name for its newest completed version), and a new file. With "
            "--tensorboard: any runs (a name means all its versions), or none for all runs.",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard",
            metavar="DIR",
            help="Write only the metrics, for TensorBoard, to DIR/NAME/v001.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FOLDER",
            help="Write only the model of one run, for people without dreg: weights, description, and a loader.",
        ),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="last|best|STEP", help="With --model: the checkpoint of the weights.")
    ] = "last",
    trust_code: TrustCode = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also export a damaged run, without what cannot be read; the archive lists its faults."
        ),
    ] = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run to one file that another machine can import, or its model alone, or metrics for TensorBoard."""
    terminal = Terminal(as_json=as_json, quiet=quiet)
    if model is not None:
        if force or tensorboard is not None or words is None or len(words) != 1:
            what = "--model exports the model of one run: give one RUN, and neither --tensorboard nor --force."
            raise UsageError(what, hint=command("runs", "export", "RUN", "--model", "FOLDER"))
        folders = runs_folder(runs_dir), data_folder_if_any(data_dir)
        _export_model(terminal, words[0], model, checkpoint, *folders, trust=trust_code)
        return
    if checkpoint != "last":
        what = "--checkpoint only applies to --model: a run is exported with all its checkpoints."
        raise UsageError(what, hint=command("runs", "export", "RUN", "--model", "FOLDER"))
    if tensorboard is not None:
        if force:
            what = "--force only applies to an export into one file: leave it out with --tensorboard."
            raise UsageError(what, hint="leave out --force; with --tensorboard, unreadable parts are always skipped")
        _export_events(terminal, words or [], tensorboard, runs_folder(runs_dir))
        return
    if words is None or len(words) != 2:
        what = f"An export needs two words, RUN and FILE; {len(words or [])} given."
        other = command("runs", "export", "RUN", "--tensorboard", "DIR")
        hint = f"{command('runs', 'export', 'RUN', 'FILE')}\nor, for the metrics of any runs: {other}"
        raise UsageError(what, hint=hint)
    _export_archive(terminal, words[0], Path(words[1]), runs_folder(runs_dir), force=force)


def _export_archive(terminal: Terminal, run: str, file: Path, runs_dir: Path, *, force: bool) -> None:
    from dregcli.app.runs.carry import export_to

    found, holds = export_to(run, file, force=force, runs_dir=runs_dir, listener=terminal)
    size = file.stat().st_size
    if terminal.as_json:
        terminal.result({"run": str(found.path), "file": str(file), "bytes": size, "captured": holds.as_json()})
    else:
        terminal.line(f"exported {found.label} to {file} ({bytes_in_words(size)})")
        terminal.line(holds.in_words())
        terminal.line(f"on the other machine: {quoted('dreg', 'runs', 'import', file.name)}")


def _export_model(
    terminal: Terminal, run: str, folder: Path, checkpoint: str, runs_dir: Path, data_dir: Path, *, trust: bool
) -> None:
    from dregcli.app.models.request import CodeRequest
    from dregcli.app.runs.model_export import export_model

    code, folders = CodeRequest(trust=trust), {"runs_dir": runs_dir, "data_dir": data_dir}
    found = export_model(run, folder, checkpoint=checkpoint, **folders, listener=terminal, code=code)
    if terminal.as_json:
        terminal.result(found.as_json())
        return
    terminal.line(f"exported the model of {found.run.label}, step {found.step:,}, to {found.folder}")
    for name, size in found.files.items():
        terminal.line(f"  {name} ({bytes_in_words(size)})")
    terminal.line(f"{found.folder / 'load.py'} loads it with torch and safetensors alone")


def _export_events(terminal: Terminal, runs: list[str], folder: Path, runs_dir: Path) -> None:
    from dregcli.app.reporting.tensorboard import export_events

    written = export_events(runs, folder, runs_dir=runs_dir, listener=terminal)
    if terminal.as_json:
        runs_json = [{"run": str(each.run.path), "file": str(each.file), "bytes": each.size} for each in written]
        terminal.result({"folder": str(folder), "runs": runs_json})
        return
    for each in written:
        terminal.line(f"exported {each.run.label} to {each.file} ({bytes_in_words(each.size)})")
    terminal.line(f"next: {quoted('tensorboard', '--logdir', folder)}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `dreg runs export` wrote.")],
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run here, also for a second copy of a run that is here.", show_default="its old name"
        ),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every byte of an exported run, and add it to the store as a new version, unless it is there already."""
    from dregcli.app.runs.carry import import_from

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = import_from(file, name, runs_dir=runs_folder(runs_dir))
    for fault in found.faults:
        path = found.run.path / fault
        gone = "" if path.exists() else ", and it is not in the file"
        terminal.warn(f"{path} was damaged when the run was exported{gone}")
    if as_json:
        same = [str(run.path) for run in found.same]
        content = {"imported": found.is_new, "same_as": same, "faults": list(found.faults)}
        terminal.result({"run": str(found.run.path), "origin": found.origin, **content})
    elif not found.is_new:
        terminal.line(f"{found.origin} is here already, as {found.run.path}: nothing was imported")
        terminal.line(f"next: {command('runs', 'show', found.run.label)}")
    else:
        terminal.line(f"imported {found.origin} as {found.run.path}")
        if found.same:
            terminal.note(f"the store had the same run already: {', '.join(run.label for run in found.same)}")
        terminal.line(f"next: {command('runs', 'list', found.run.label)}")
