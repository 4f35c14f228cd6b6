"""``dreg train``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.cli.training.preview import show_preview
from dregcli.cli.training.study import show_study
from dregcli.cli.training.trained import show_config, show_trained
from dregcli.errors import UsageError
from dregcli.names import Place
from dregcli.specs.options import fields_in_order
from dregcli.specs.shown import Panel

EXAMPLES = """Train on the embedded digits:  [bold]dreg train --estimator dreg --objective iwae[/bold]

Train on MNIST as in arXiv 1810.04152, but shorter:  [bold]dreg train --preset paper --lr 1e-3 --steps 4000[/bold]

Model the bottom half of a digit given its top half:  [bold]dreg train --task structured[/bold]

Run a study of each estimator at each seed, with a report; the same command continues a stopped study:
[bold]dreg train --seeds 0-4 --estimator dreg --estimator reparam[/bold]

Compare two numbers of samples and two estimators; see first what it would train:
[bold]dreg train --seeds 0-4 --k 16,64 --estimator dreg,stl --dry-run[/bold]

Have a cluster of SLURM train it, 20 runs at once; the same command again shows the results:
[bold]dreg train --seeds 0-9 --on slurm --at-once 20 --slurm partition=gpu --slurm timeout_min=240[/bold]

Prolong a run, or continue it after a stop:  \
[bold]dreg train --resume runs/digits-iwae-dreg-k64 --steps 6000[/bold]"""


_START = "Start from"


@with_settings(fields_in_order(), lists=True)
def train(
    *,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Named settings: paper, or a TOML file.", rich_help_panel=_START),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A TOML file of options, or a run's spec.json.", rich_help_panel=_START),
    ] = None,
    sweep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file of \\[\\[run]] tables of options: a study of all of them.",
            rich_help_panel=_START,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue this run; a larger --steps prolongs it.", rich_help_panel=_START),
    ] = None,
    end: Annotated[
        bool,
        typer.Option(
            "--end",
            help="With --resume: take no more steps, compute the final bounds, and complete the run as it is.",
            rich_help_panel=_START,
        ),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="With --resume: run the copy of the model's code that the run keeps; read it first.",
            rich_help_panel=_START,
        ),
    ] = False,
    settings: dict[str, Any],
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run.",
            show_default="<dataset>-<objective>-<estimator>-k<K>",
            rich_help_panel=Panel.OUTPUT.value,
        ),
    ] = None,
    print_config_: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print the resolved run as TOML for --config, or with --json as JSON for --config; train nothing.",
            rich_help_panel=Panel.OUTPUT.value,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show every run of the command, and what is done already; train nothing.",
            rich_help_panel=Panel.OUTPUT.value,
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="Train N runs of a study at once, each in a process of its own. --threads auto then gives each run "
            "its share of the cores: cores // N threads, at least 1.",
            show_default="1",
            rich_help_panel=Panel.EXECUTION.value,
        ),
    ] = None,
    on: Annotated[
        Place,
        typer.Option(
            help="Where the runs of a study are trained: local; slurm, where each run is a task of an array and this "
            "command only hands them over; or ray, where each run is a task and this command waits for all.",
            rich_help_panel=Panel.EXECUTION.value,
        ),
    ] = Place.LOCAL,
    at_once: Annotated[
        int | None,
        typer.Option(
            "--at-once",
            metavar="N",
            help="With --on slurm or ray: the most runs that the cluster trains at once.",
            show_default="as many as the cluster allows",
            rich_help_panel=Panel.EXECUTION.value,
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm",
            metavar="NAME=VALUE",
            help="With --on slurm: a setting of the jobs, by submitit's name, such as partition=gpu or "
            "timeout_min=240. Give it several times for several settings.",
            rich_help_panel=Panel.EXECUTION.value,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="auto|HOST:PORT",
            help="With --on ray: the cluster's address; auto is the cluster to which this machine belongs.",
            show_default="auto",
            rich_help_panel=Panel.EXECUTION.value,
        ),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model, and keep everything about the run.

    An option of a run may have several values, as in --k 16,64 or --lr 1e-3 --lr 3e-4: the command is then a study \
of every combination of the values and the seeds. A comma is part of one value of --hidden and --latent-dim: give \
these several times.
    """
    from dregcli.app.studies.launch import StudyResult, TrainRequest, launch, preview, print_config
    from dregcli.app.training.following import one_of_the_ranks

    request = TrainRequest(
        settings,
        name=name,
        preset=preset,
        config=config,
        sweep=sweep,
        resume=resume,
        end=end,
        trust_code=trust_code,
        jobs=jobs,
        on=on,
        at_once=at_once,
        slurm=slurm or (),
        ray_address=ray_address,
    )
    if print_config_ and dry_run:
        what = "--print-config prints the settings of one run, and --dry-run lists the runs of a command."
        raise UsageError(what, hint="give one of --print-config and --dry-run")
    with Terminal(as_json=as_json, quiet=quiet) as terminal, one_of_the_ranks(data_folder_if_any(data_dir)) as leads:
        if not leads:
            return
        if print_config_:
            spec = print_config(request, data_dir=data_folder_if_any(data_dir), listener=terminal)
            show_config(terminal, spec)
            return
        if dry_run:
            found = preview(
                request, runs_dir=runs_folder(runs_dir), data_dir=data_folder_if_any(data_dir), listener=terminal
            )
            show_preview(terminal, found)
            return
        result = launch(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    if isinstance(result, StudyResult):
        show_study(terminal, result)
        raise typer.Exit(result.exit_code)
    show_trained(terminal, result)
