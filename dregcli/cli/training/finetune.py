"""``dreg finetune-encoder``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import Checkpoint, DataDir, Json, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.cli.training.trained import show_trained

EXAMPLES = """Train with more samples:  \
[bold]dreg finetune-encoder runs/digits-iwae-dreg-k64 --k 256 --steps 5000[/bold]

Find the best encoder for this model:  [bold]dreg finetune-encoder digits-iwae-dreg-k64 --reset-encoder[/bold]

Continue after a stop:  [bold]dreg train --resume digits-iwae-dreg-k64-finetune-iwae-dreg-k256[/bold]"""

_FIELDS = (
    *("objective", "estimator", "k", "steps", "batch_size", "optimizer", "lr", "lr_schedule", "warmup_steps"),
    *("kl_warmup", "grad_clip", "ema", "patience", "seed"),
    *("device", "threads", "backward", "screen_inflation", "screen_precision", "k_chunk", "shard", "compile"),
    *("eval_every", "eval_k", "eval_seed", "final_eval", "checkpoint_every", "keep_last", "log_every", "capture"),
)
_SHOWN = {
    **{field: "the run's" for field in _FIELDS},
    **dict.fromkeys(("k_chunk", "compile", "threads", "eval_every"), "auto"),
    **{"shard": "samples", "lr": "the run's, of q", "warmup_steps": "0", "kl_warmup": "0", "patience": "none"},
    **{"lr_schedule": "the run's, but not burda"},
}


@with_settings(_FIELDS, shown=_SHOWN)
def finetune_encoder(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Run to start from: a name (its newest completed version) or a version."),
    ],
    settings: dict[str, Any],
    checkpoint: Checkpoint = "last",
    reset_encoder: Annotated[
        bool, typer.Option("--reset-encoder", help="Start with new initial parameters instead of RUN's encoder.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the new run.", show_default="<RUN>-finetune-<objective>-<estimator>-k<K>"),
    ] = None,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train only the encoder, from a checkpoint of a run. This shows how much of the gap the encoder caused."""
    from dregcli.app.models.request import CodeRequest
    from dregcli.app.training.finetune import FinetuneRequest, finetune
    from dregcli.app.training.following import one_of_the_ranks

    code = CodeRequest(model, trust=trust_code)
    with Terminal(as_json=as_json, quiet=quiet) as terminal, one_of_the_ranks(data_folder_if_any(data_dir)) as leads:
        if not leads:
            return
        result = finetune(
            FinetuneRequest(run, settings, checkpoint=checkpoint, reset_encoder=reset_encoder, name=name, code=code),
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    show_trained(terminal, result)
