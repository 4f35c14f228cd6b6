"""``dreg bias-check``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.diagnosis.bias_result import show
from dregcli.cli.options import Checkpoint, DataDir, Examples, Json, Objective, Quiet, RunModel, RunsDir, TrustCode
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.defaults import DEFAULT_K, DETECT, DIAGNOSED_EXAMPLES, FALSE_ALARM, MAX_BATCHES, TRAINING_STEPS
from dregcli.names import Promise, Verdict
from dregcli.specs.execution import DEFAULT_PRECISION
from dregcli.words import listed_words

EXAMPLES = f"""Check on the embedded digits, after training for {TRAINING_STEPS:,} steps:  \
[bold]dreg bias-check --k 64[/bold]

Check every estimator of a run's objective, on the model of the run:  \
[bold]dreg bias-check digits-iwae-dreg-k64 --estimator all[/bold]

Check some pairs:  [bold]dreg bias-check --estimator rws/dreg --estimator jvi:order=2/dreg[/bold]

Exit code: 0 all pairs are unbiased or identical, 1 some are biased, 5 inconclusive."""


_FIELDS = (
    *("dataset", "task", "prior_gradient"),
    *("device", "threads", "backward", "screen_inflation", "screen_precision", "k_chunk", "capture"),
)


@with_settings(
    _FIELDS,
    shown={"screen_precision": DEFAULT_PRECISION, "prior_gradient": "the run's, or score"},
    defaults={"backward": "dense"},
    helps={
        "backward": "dense or screened: the gradients to check; those to compare with are always dense.",
        "prior_gradient": "score, gdreg or blend: the gradient of a learned prior to check, against score.",
    },
    more={field: "Only without RUN." for field in ("dataset", "task", "capture")},
)
def bias_check(
    settings: dict[str, Any],
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run with the model to check: a name (its newest completed version) or a version. Without RUN, the "
            f"command trains a model for {TRAINING_STEPS:,} steps on the data of --dataset, and keeps it as a run.",
            show_default=False,
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Estimator to check, or a pair such as rws/dreg, or all; several are a list, dreg,stl, or several "
            "options.",
            show_default="the run's, or dreg",
        ),
    ] = None,
    objective: Objective = None,
    k: Annotated[
        int | None, typer.Option("--k", help="Samples per example.", show_default=f"the run's, or {DEFAULT_K}")
    ] = None,
    detect: Annotated[
        float,
        typer.Option(help="Smallest relative bias the check must be able to detect before it reports 'unbiased'."),
    ] = DETECT,
    false_alarm: Annotated[
        float, typer.Option(help="Probability that the whole check calls any unbiased pair 'biased'.")
    ] = FALSE_ALARM,
    max_batches: Annotated[int, typer.Option(help="Limit on the number of batches, 384 or more.")] = MAX_BATCHES,
    max_seconds: Annotated[
        float | None, typer.Option(help="Time limit in seconds, not counting training.", show_default="no limit")
    ] = None,
    examples: Examples = DIAGNOSED_EXAMPLES,
    seed: Annotated[int, typer.Option(help="Random seed for the examples, the pixels and the noise.")] = 0,
    checkpoint: Checkpoint = "last",
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check estimators for bias on a fixed model. The check always ends, and the error rates are known."""
    from dregcli.app.diagnosis.bias_check import BiasRequest, check_run_for_bias
    from dregcli.app.models.request import CodeRequest

    request = BiasRequest(
        run=run,
        objective=objective,
        estimators=tuple(listed_words(estimator or ())),
        k=k,
        checkpoint=checkpoint,
        examples=examples,
        seed=seed,
        false_alarm=false_alarm,
        detect=detect,
        max_batches=max_batches,
        max_seconds=max_seconds,
        code=CodeRequest(model, trust=trust_code),
        **settings,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        report = check_run_for_bias(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    for result in report.results:
        if result.verdict is Verdict.BIASED and result.promise is Promise.UNBIASED:
            terminal.warn(
                f"{report.label(result)} promises to be unbiased but is biased: this is a fault, report it."
            )
    if as_json:
        terminal.result(report.as_json())
    else:
        show(terminal, report, quiet=quiet)
    raise typer.Exit(report.exit_code)
