"""``dreg paper run``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.papers.options import Name, ScaleOption
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.names import Place

EXAMPLES = """See what an experiment would run, and how long it would take here:  \
[bold]dreg paper run burda2015-1layer --dry-run[/bold]

Run it much shorter:  [bold]dreg paper run tucker2018-mnist --scale 0.01[/bold]

Run the whole of it, four runs at once; the same command continues it:  \
[bold]dreg paper run tucker2018-mnist --jobs 4[/bold]

Run an experiment of your own:  [bold]dreg paper run my.toml[/bold]"""


@with_settings(("device", "threads"))
def run(
    name: Name,
    settings: dict[str, Any],
    scale: ScaleOption = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the figure and measurements.", show_default="papers/NAME"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and how long it takes here; train nothing.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", help="Train N runs at once, as in dreg train.", show_default="1"),
    ] = None,
    on: Annotated[Place, typer.Option(help="Where the runs are trained, as in dreg train.")] = Place.LOCAL,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", metavar="N", help="With --on slurm or ray: the most runs at once."),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="NAME=VALUE", help="With --on slurm: a setting of the jobs."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="auto|HOST:PORT", help="With --on ray: the cluster's address."),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Repeat a published experiment, draw its figure from these runs, and compare with the published numbers.

    The runs are a study like those of dreg train: what is done is not repeated, and the same command continues it.
    """
    from dregcli.app.papers.asking import ask
    from dregcli.app.papers.kind import PaperRequest
    from dregcli.app.papers.run import preview_paper, run_paper
    from dregcli.cli.papers.result import show_preview_of_paper, show_result

    request = PaperRequest(
        name,
        scale=scale,
        settings={field: value for field, value in settings.items() if value is not None},
        jobs=jobs,
        on=on,
        at_once=at_once,
        slurm=slurm or (),
        ray_address=ray_address,
        out=out,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        asked = ask(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
        )
        if dry_run:
            show_preview_of_paper(terminal, preview_paper(asked, terminal))
            return
        result = run_paper(asked, terminal)
    show_result(terminal, result)
    raise typer.Exit(result.ran.exit_code)
