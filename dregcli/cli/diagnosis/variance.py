"""``dreg variance``."""

import sys
from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.diagnosis.variance_result import show
from dregcli.cli.options import Checkpoint, DataDir, Examples, Json, Objective, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings

EXAMPLES = """Of a run's model, every estimator of its objective:  [bold]dreg variance digits-iwae-dreg-k64[/bold]

Some pairs:  [bold]dreg variance --k 4,64 --estimator reparam --estimator dreg --estimator rws/dreg[/bold]

The Gaussian toy, with its figure:  [bold]dreg variance --toy --out toy[/bold]"""


@with_settings(
    ("dataset", "task", "capture", "device", "k_chunk"),
    more={field: "Without RUN." for field in ("dataset", "task", "capture")},
)
def variance(
    settings: dict[str, Any],
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Whose model: a name (its newest completed version) or one version. Without it, and without --toy, "
            "a model is trained for 1,000 steps on the embedded data, and kept as a run.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="LIST", help="Samples per example.", show_default="1,4,16,64; toy: 4,16,64,256"),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="Of what: an estimator, a pair such as rws/dreg, or all; may be given several times.",
            show_default="all; toy: and rws/dreg",
        ),
    ] = None,
    objective: Objective = None,
    toy: Annotated[
        bool, typer.Option("--toy", help="The Gaussian toy of arXiv 1802.04537 instead of a model.")
    ] = False,
    replicates: Annotated[
        int | None, typer.Option(help="Independent gradients at each K.", show_default="200; toy: 4000")
    ] = None,
    reference_k: Annotated[
        int | None,
        typer.Option(help="Samples of the gradient that cosines are to.", show_default="1024, or the largest K"),
    ] = None,
    examples: Examples = 32,
    seed: Annotated[int, typer.Option(help="Random seed for examples, pixels and noise, and for the toy.")] = 0,
    checkpoint: Checkpoint = "last",
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="With --toy: a folder for PNG, SVG and JSON.", show_default="only printed"),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Gradient variance and signal-to-noise ratios of many estimators against K, on the same noise."""
    from dregcli.app.diagnosis.variance import VarianceRequest, measure_variance

    terminal = Terminal(as_json=as_json, quiet=quiet)
    request = VarianceRequest(
        run=run,
        toy=toy,
        k=k,
        estimators=tuple(estimator or ()),
        objective=objective,
        replicates=replicates,
        examples=examples,
        seed=seed,
        checkpoint=checkpoint,
        reference_k=reference_k,
        out=out,
        **settings,
    )
    try:
        report = measure_variance(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder_if_any(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    finally:
        terminal.close()
    if as_json:
        terminal.result(report.as_json())
    else:
        show(terminal, report, quiet=quiet)
