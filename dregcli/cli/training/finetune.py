"""``dreg finetune-encoder``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import Checkpoint, DataDir, Json, Quiet, RunsDir, number_or_word, setting
from dregcli.cli.render import Terminal
from dregcli.cli.training.trained import show_trained

EXAMPLES = """More samples:  [bold]dreg finetune-encoder runs/digits-iwae-dreg-k64 --k 256 --steps 5000[/bold]

The best encoder of this model:  [bold]dreg finetune-encoder digits-iwae-dreg-k64 --reset-encoder[/bold]

Go on after a stop:  [bold]dreg train --resume digits-iwae-dreg-k64-finetune-iwae-dreg-k256[/bold]"""

_PARENTS = "the run's"


def finetune_encoder(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Where to start: a name (its newest completed version) or one version."),
    ],
    checkpoint: Checkpoint = "last",
    objective: Annotated[str | None, setting("objective", _PARENTS)] = None,
    estimator: Annotated[str | None, setting("estimator", _PARENTS)] = None,
    k: Annotated[int | None, setting("k", _PARENTS)] = None,
    batch_size: Annotated[int | None, setting("batch_size", _PARENTS)] = None,
    steps: Annotated[int | None, setting("steps", _PARENTS)] = None,
    lr: Annotated[float | None, setting("lr", _PARENTS)] = None,
    seed: Annotated[int | None, setting("seed", _PARENTS)] = None,
    reset_encoder: Annotated[
        bool, typer.Option("--reset-encoder", help="Start the encoder anew instead of from RUN's.")
    ] = False,
    eval_every: Annotated[int | None, setting("eval_every", _PARENTS)] = None,
    checkpoint_every: Annotated[int | None, setting("checkpoint_every", _PARENTS)] = None,
    keep_last: Annotated[int | None, setting("keep_last", _PARENTS)] = None,
    capture: Annotated[str | None, setting("capture", _PARENTS)] = None,
    log_every: Annotated[int | None, setting("log_every", _PARENTS)] = None,
    eval_seed: Annotated[int | None, setting("eval_seed", _PARENTS)] = None,
    backward: Annotated[str | None, setting("backward", _PARENTS)] = None,
    screen_inflation: Annotated[float | None, setting("screen_inflation", _PARENTS)] = None,
    screen_precision: Annotated[str | None, setting("screen_precision", _PARENTS)] = None,
    k_chunk: Annotated[str | None, setting("k_chunk", "auto")] = None,
    compile_: Annotated[str | None, setting("compile", "auto")] = None,
    device: Annotated[str | None, setting("device", _PARENTS)] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The new run's name.", show_default="<RUN>-finetune-<objective>-<estimator>-k<K>"),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the encoder alone, from a run's checkpoint: how much of the gap was the encoder's."""
    options: dict[str, Any] = {
        "objective": objective,
        "estimator": estimator,
        "k": k,
        "batch_size": batch_size,
        "steps": steps,
        "lr": lr,
        "seed": seed,
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
        "device": device,
    }
    from dregcli.app.training.finetune import FinetuneRequest, finetune

    terminal = Terminal(as_json=as_json, quiet=quiet)
    try:
        result = finetune(
            FinetuneRequest(run, options, checkpoint=checkpoint, reset_encoder=reset_encoder, name=name),
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    finally:
        terminal.close()
    show_trained(terminal, result)
