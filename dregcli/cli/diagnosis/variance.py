"""``dreg variance``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.diagnosis.variance_result import show
from dregcli.cli.options import Checkpoint, DataDir, Examples, Json, Objective, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.defaults import (
    DIAGNOSED_EXAMPLES,
    LEAST_REFERENCE_K,
    MODEL_KS,
    MODEL_REPLICATES,
    TOY_KS,
    TOY_REPLICATES,
    TRAINING_STEPS,
)
from dregcli.words import listed_words

EXAMPLES = """Measure every estimator of a run's objective, on the model of the run:  \
[bold]dreg variance digits-iwae-dreg-k64[/bold]

Measure some pairs:  [bold]dreg variance --k 4,64 --estimator reparam --estimator dreg --estimator rws/dreg[/bold]

Measure on the Gaussian toy, and draw the figure:  [bold]dreg variance --toy --out toy[/bold]"""


@with_settings(
    ("dataset", "task", "capture", "device", "threads", "k_chunk"),
    more={field: "Only without RUN." for field in ("dataset", "task", "capture")},
)
def variance(
    settings: dict[str, Any],
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run with the model to measure: a name (its newest completed version) or a version. Without RUN and "
            f"--toy, the command trains a model for {TRAINING_STEPS:,} steps on the data of --dataset, and keeps it "
            "as a run.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k", metavar="LIST", help="Numbers of samples per example.", show_default=f"{MODEL_KS}; toy: {TOY_KS}"
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Estimator to measure, or a pair such as rws/dreg, or all; several are a list, dreg,stl, or several "
            "options. The figure shows all that are named; without names, reparam, the run's own and the three best.",
            show_default="all; toy: all and rws/dreg",
        ),
    ] = None,
    objective: Objective = None,
    prior_gradient: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Kind of the gradient of a learned prior to measure: score, gdreg or blend; several are a list, "
            "score,blend, or several options.",
            show_default="all that the prior has",
        ),
    ] = None,
    toy: Annotated[
        bool, typer.Option("--toy", help="Use the Gaussian toy of arXiv 1802.04537 instead of a model.")
    ] = False,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Independent gradients at each K.", show_default=f"{MODEL_REPLICATES}; toy: {TOY_REPLICATES}"
        ),
    ] = None,
    reference_k: Annotated[
        int | None,
        typer.Option(
            help="Samples per example of the reference gradient for the cosines.",
            show_default=f"{LEAST_REFERENCE_K}, or the largest K; the next number that the objectives allow",
        ),
    ] = None,
    examples: Examples = DIAGNOSED_EXAMPLES,
    seed: Annotated[int, typer.Option(help="Random seed for the examples, the pixels, the noise and the toy.")] = 0,
    checkpoint: Checkpoint = "last",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="With --toy: folder for PNG, SVG, PDF and JSON files.", show_default="print only"
        ),
    ] = None,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure gradient variance and signal-to-noise ratio of many estimators against K, on the same noise."""
    from dregcli.app.diagnosis.variance import VarianceRequest, measure_variance
    from dregcli.app.models.request import CodeRequest

    request = VarianceRequest(
        run=run,
        toy=toy,
        k=k,
        estimators=tuple(listed_words(estimator or ())),
        objective=objective,
        prior_gradients=tuple(listed_words(prior_gradient or ())),
        replicates=replicates,
        examples=examples,
        seed=seed,
        checkpoint=checkpoint,
        reference_k=reference_k,
        out=out,
        code=CodeRequest(model, trust=trust_code),
        **settings,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        report = measure_variance(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    if as_json:
        terminal.result(report.as_json())
    else:
        show(terminal, report, quiet=quiet)
