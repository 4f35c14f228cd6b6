"""``dreg train``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir, number_or_word, setting
from dregcli.cli.render import Terminal
from dregcli.cli.training.study import show_study
from dregcli.cli.training.trained import show_trained
from dregcli.specs.execution import DEFAULT_BACKWARD, DEFAULT_INFLATION

EXAMPLES = """The embedded digits:  [bold]dreg train --estimator dreg --objective iwae[/bold]

MNIST as in arXiv 1810.04152, shortened:  [bold]dreg train --preset paper --lr 1e-3 --steps 4000[/bold]

The bottom half of a digit given its top half:  [bold]dreg train --task structured[/bold]

A study, each estimator at each seed, and their report; asked again it goes on where it was stopped:
[bold]dreg train --seeds 0-4 --estimator dreg --estimator reparam[/bold]

Prolong a run, or go on after a stop:  [bold]dreg train --resume runs/digits-iwae-dreg-k64 --steps 6000[/bold]"""


def _sizes(text: str | None) -> tuple[int, ...] | str | None:
    """``200,200`` as (200, 200); what is no such list as it is, for the spec to refuse with all other faults."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return text


def train(
    dataset: Annotated[str | None, setting("dataset", "digits")] = None,
    task: Annotated[str | None, setting("task", "generative")] = None,
    model: Annotated[str | None, setting("model", "vae")] = None,
    split_convention: Annotated[str | None, setting("split_convention", "the data set's first")] = None,
    binarisation: Annotated[str | None, setting("binarisation", "by the data's kind")] = None,
    likelihood: Annotated[str | None, setting("likelihood", "by the data's kind")] = None,
    objective: Annotated[str | None, setting("objective", "iwae")] = None,
    estimator: Annotated[list[str] | None, setting("estimator", "dreg", more="Given several times: a study.")] = None,
    k: Annotated[int | None, setting("k", "64")] = None,
    batch_size: Annotated[int | None, setting("batch_size", "32")] = None,
    steps: Annotated[int | None, setting("steps", "2000")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, instead of --steps.")] = None,
    lr: Annotated[float | None, setting("lr", "0.001")] = None,
    seed: Annotated[int | None, setting("seed", "0")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="SEEDS", help="A study: a run for each, such as 0-4 or 0,2,5-7; then a report of them."),
    ] = None,
    hidden: Annotated[str | None, typer.Option(help="Hidden layer sizes.", show_default="200,200")] = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="Latent dimensions; of linear-gaussian 5.", show_default="50")
    ] = None,
    eval_every: Annotated[int | None, setting("eval_every", "500")] = None,
    checkpoint_every: Annotated[int | None, setting("checkpoint_every", "500")] = None,
    keep_last: Annotated[int | None, setting("keep_last", "2")] = None,
    capture: Annotated[str | None, setting("capture", "names")] = None,
    log_every: Annotated[int | None, setting("log_every", "50")] = None,
    eval_seed: Annotated[int | None, setting("eval_seed", "0")] = None,
    backward: Annotated[str | None, setting("backward", DEFAULT_BACKWARD)] = None,
    screen_inflation: Annotated[float | None, setting("screen_inflation", str(DEFAULT_INFLATION))] = None,
    screen_precision: Annotated[str | None, setting("screen_precision", "bfloat16 where it is faster")] = None,
    k_chunk: Annotated[str | None, setting("k_chunk", "auto")] = None,
    compile_: Annotated[str | None, setting("compile", "auto")] = None,
    track_estimators: Annotated[str | None, setting("track_estimators", "none")] = None,
    device: Annotated[str | None, setting("device", "auto")] = None,
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
        "task": task,
        "model": model,
        "split_convention": split_convention,
        "binarisation": binarisation,
        "likelihood": likelihood,
        "objective": objective,
        "estimator": estimator or None,
        "k": k,
        "batch_size": batch_size,
        "steps": steps,
        "epochs": epochs,
        "lr": lr,
        "seed": seed,
        "seeds": seeds,
        "hidden": _sizes(hidden),
        "latent_dim": latent_dim,
        "eval_every": eval_every,
        "checkpoint_every": checkpoint_every,
        "keep_last": keep_last,
        "capture": capture,
        "log_every": log_every,
        "eval_seed": eval_seed,
        "backward": backward,
        "screen_inflation": screen_inflation,
        "screen_precision": screen_precision,
        "k_chunk": number_or_word(k_chunk),
        "compile": compile_,
        "track_estimators": track_estimators,
        "device": device,
    }
    from dregcli.app.studies.launch import StudyResult, TrainRequest, launch

    terminal = Terminal(as_json=as_json, quiet=quiet)
    try:
        result = launch(
            TrainRequest(options, name=name, preset=preset, config=config, resume=resume),
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    finally:
        terminal.close()
    if isinstance(result, StudyResult):
        show_study(terminal, result)
        raise typer.Exit(result.exit_code)
    show_trained(terminal, result)
