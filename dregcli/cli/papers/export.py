"""``dreg paper export``."""

from pathlib import Path
from typing import Annotated

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.papers.options import Name, ScaleOption
from dregcli.cli.render import Terminal

EXAMPLES = """Write the table of an experiment that was run:  \
[bold]dreg paper export tucker2018-toy --to results[/bold]"""


def export(
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder for the files.")],
    scale: ScaleOption = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with the measurements of the run.", show_default="papers/NAME"),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the results of an experiment as a small JSON file, a picture and a page with tables; nothing is run."""
    from dregcli.app.papers.asking import ask
    from dregcli.app.papers.export import export_paper
    from dregcli.app.papers.kind import PaperRequest

    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        asked = ask(
            PaperRequest(name, scale=scale, out=out),
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=[],
        )
        found = export_paper(asked, to, terminal)
    if as_json:
        terminal.result({"files": [str(each) for each in found.files], "missing": found.missing})
        return
    for file in found.files:
        terminal.line(f"written: {file}")
