"""``dreg advise``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import Checkpoint, DataDir, Json, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.defaults import ADVICE_SECONDS, DEFAULT_K, TRAINING_STEPS
from dregcli.words import listed_words

EXAMPLES = """Which estimator and which K to use from here on, measured on the model of a run:  \
[bold]dreg advise digits-iwae-dreg-k64[/bold]

For a model that has no run yet:  [bold]dreg advise --dataset digits --k 16[/bold]

Choose among some estimators, more exactly:  \
[bold]dreg advise digits-iwae-dreg-k64 --estimator reparam,dreg,vimco --budget 300[/bold]"""


@with_settings(
    ("dataset", "task", "capture", "device", "threads", "k_chunk"),
    more={field: "Only without RUN." for field in ("dataset", "task", "capture")},
)
def advise(
    settings: dict[str, Any],
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run with the model to measure: a name (its newest completed version) or a version. Without RUN, "
            f"the command trains a model for {TRAINING_STEPS:,} steps on the data of --dataset, and keeps it as a "
            "run.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            help="Samples per example; a quarter of them and four times as many are measured, too.",
            show_default=f"the run's, or {DEFAULT_K}",
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Estimator to choose from, or all; several are a list, dreg,stl, or several options.",
            show_default="all",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Objective to stay with.", show_default="the run's, or iwae"),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time for the measurement, not counting the training of a model: it sets the number of replicates.",
        ),
    ] = ADVICE_SECONDS,
    replicates: Annotated[
        int | None,
        typer.Option(help="Independent gradients at each K.", show_default="as many as --budget allows"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for the batches, the pixels and the noise.")] = 0,
    checkpoint: Checkpoint = "last",
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Advise which estimator and K to use here: by signal, noise, bias and time of real training steps."""
    from dregcli.app.diagnosis.advise import AdviseRequest
    from dregcli.app.diagnosis.advise import advise as measure
    from dregcli.app.models.request import CodeRequest
    from dregcli.cli.diagnosis.advise_result import show

    request = AdviseRequest(
        run=run,
        k=k,
        estimators=tuple(listed_words(estimator or ())),
        objective=objective,
        budget=budget,
        replicates=replicates,
        seed=seed,
        checkpoint=checkpoint,
        code=CodeRequest(model, trust=trust_code),
        **settings,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        report = measure(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    if as_json:
        terminal.result(report.as_json())
    else:
        show(terminal, report)
