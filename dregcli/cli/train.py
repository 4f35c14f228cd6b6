"""``dreg train``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.app.places import data_folder, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, with_error
from dregcli.names import EstimatorName, ObjectiveName

EXAMPLES = """The embedded digits:  [bold]dreg train --estimator dreg --objective iwae[/bold]

MNIST as in arXiv 1810.04152, shortened:  [bold]dreg train --preset paper --lr 1e-3 --steps 4000[/bold]

Prolong a run, or go on after a stop:  [bold]dreg train --resume runs/digits-iwae-dreg-k64 --steps 6000[/bold]"""


def _one_of(names: type[StrEnum]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _sizes(text: str | None) -> tuple[int, ...] | str | None:
    """``200,200`` as (200, 200); what is no such list as it is, for the spec to refuse with all other faults."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return text


def train(
    dataset: Annotated[str | None, typer.Option(help="digits or mnist.", show_default="digits")] = None,
    objective: Annotated[str | None, typer.Option(help=f"{_one_of(ObjectiveName)}.", show_default="iwae")] = None,
    estimator: Annotated[str | None, typer.Option(help=f"{_one_of(EstimatorName)}.", show_default="dreg")] = None,
    k: Annotated[int | None, typer.Option("--k", help="Samples per example.", show_default="64")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step.", show_default="32")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps.", show_default="2000")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, instead of --steps.")] = None,
    lr: Annotated[float | None, typer.Option(help="Adam's learning rate.", show_default="0.001")] = None,
    seed: Annotated[int | None, typer.Option(help="Addresses every random number.", show_default="0")] = None,
    hidden: Annotated[str | None, typer.Option(help="Hidden layer sizes.", show_default="200,200")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Latent dimensions.", show_default="50")] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps between validations; 0 is only at the end.", show_default="500")
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between checkpoints, beside the best, the last and one every 5 minutes; 0 is only those.",
            show_default="500",
        ),
    ] = None,
    log_every: Annotated[int | None, typer.Option(help="Steps per row of metrics.", show_default="50")] = None,
    eval_seed: Annotated[int | None, typer.Option(help="Of evaluation pixels and noise.", show_default="0")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    name: Annotated[
        str | None, typer.Option(help="The run's name.", show_default="<dataset>-<objective>-<estimator>-k<K>")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Settings by name: paper.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of options, or a run's spec.json.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue this run; more --steps prolong it.")
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model and keep everything about the run."""
    options: dict[str, Any] = {
        "dataset": dataset,
        "objective": objective,
        "estimator": estimator,
        "k": k,
        "batch_size": batch_size,
        "steps": steps,
        "epochs": epochs,
        "lr": lr,
        "seed": seed,
        "hidden": _sizes(hidden),
        "latent_dim": latent_dim,
        "eval_every": eval_every,
        "checkpoint_every": checkpoint_every,
        "log_every": log_every,
        "eval_seed": eval_seed,
        "device": device,
    }
    from dregcli.app.launch import TrainRequest, launch

    terminal = Terminal(as_json=as_json, quiet=quiet)
    try:
        result = launch(
            TrainRequest(options, name=name, preset=preset, config=config, resume=resume),
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    finally:
        terminal.close()

    summary = result.summary
    if as_json:
        keys = ("run", "status", "step", "k", "bound", "binarisation", "seconds", "steps_per_second")
        terminal.result({key: summary[key] for key in keys})
        return
    spec = result.spec
    rows = [
        [split, with_error(bound["value"], bound["stderr"]), f"{bound['n']:,}"]
        for split, bound in summary["bounds"].items()
    ]
    title = (
        f"{spec.dataset} ({spec.binarisation} binarisation), {spec.objective}/{spec.estimator}: "
        f"bound at K={spec.k}, nats per example"
    )
    terminal.table(["split", "bound ± s.e.", "examples"], rows, title=title)
    rate = f", {summary['steps_per_second']:.1f} steps/s" if summary["steps_per_second"] else ""
    terminal.line(f"run:  {summary['run']}   ({summary['step']} steps in {summary['seconds']:.1f} s{rate})")
    terminal.line(f"next: dreg eval {summary['run']} --split test --k 500")
