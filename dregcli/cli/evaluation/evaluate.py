"""``dreg eval``."""

from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.evaluation.result import show
from dregcli.cli.options import Checkpoint, DataDir, Json, Quiet, RunModel, RunsDir, TrustCode, split_option
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.commands import command
from dregcli.defaults import ACTIVE_VARIANCE, ANNEALED_EXAMPLES, ANNEALING_CHAINS, ANNEALING_STEPS, EVALUATED_KS

EXAMPLES = """Evaluate all versions of a name:  [bold]dreg eval runs/digits-iwae-dreg-k64 --split test --k 5000[/bold]

Get a curve over K from one pass:  [bold]dreg eval digits-iwae-dreg-k64 --k 1,10,100,1000,5000[/bold]

Get a second opinion on the first 100 examples:  \
[bold]dreg eval digits-iwae-dreg-k64 --k 5000 --method ais --n 100[/bold]

Evaluate one version at its best checkpoint:  \
[bold]dreg eval runs/digits-iwae-dreg-k64/v001 --checkpoint best[/bold]

Keep all log-weights, in a file that xarray reads:  \
[bold]dreg eval digits-iwae-dreg-k64 --k 1000 --keep-weights[/bold]

To continue a stopped evaluation, run the same command again."""


@with_settings(("device", "threads", "k_chunk", "compile"))
def evaluate(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Runs to evaluate: names (all versions) or versions.")
    ],
    settings: dict[str, Any],
    split: Annotated[str, split_option("Split to evaluate: train, valid or test.")] = "test",
    k: Annotated[
        str, typer.Option("--k", metavar="K[,K...]", help="Samples per example; several values give a curve.")
    ] = EVALUATED_KS,
    repeats: Annotated[int, typer.Option(help="Independent draws of all samples, to measure their spread.")] = 1,
    noise: Annotated[
        str,
        typer.Option(
            help="iid; or antithetic or sobol: samples of an example that depend on each other, for another bound."
        ),
    ] = "iid",
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            help="Evaluate only the first N examples.",
            show_default=f"all; with --method ais: {ANNEALED_EXAMPLES}",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="importance; or ais, which adds annealed importance sampling as a second opinion.")
    ] = "importance",
    steps: Annotated[
        int | None,
        typer.Option(
            help="Temperatures with --method ais, each with one Hamiltonian transition.",
            show_default=str(ANNEALING_STEPS),
        ),
    ] = None,
    chains: Annotated[
        int | None, typer.Option(help="Chains per example with --method ais.", show_default=str(ANNEALING_CHAINS))
    ] = None,
    active_threshold: Annotated[
        float, typer.Option(help="A latent is active if the variance over examples of q's mean exceeds this value.")
    ] = ACTIVE_VARIANCE,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Also keep the log-weights of all samples, in a file of their own.")
    ] = False,
    checkpoint: Checkpoint = "last",
    eval_seed: Annotated[int, typer.Option(help="Seed for evaluation; keep it fixed to compare runs.")] = 0,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate log-likelihoods, and show how far to trust them; the run keeps the values of all examples."""
    from dregcli.app.evaluation.evaluate import EvalRequest, evaluate_runs
    from dregcli.app.models.request import CodeRequest

    request = EvalRequest(
        split=split,
        k=k,
        seed=eval_seed,
        repeats=repeats,
        noise=noise,
        n=n,
        active_threshold=active_threshold,
        method=method,
        steps=steps,
        chains=chains,
        checkpoint=checkpoint,
        keep_weights=keep_weights,
        code=CodeRequest(model, trust=trust_code),
        **settings,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        results = evaluate_runs(
            runs, request, runs_dir=runs_folder(runs_dir), data_dir=data_folder_if_any(data_dir), listener=terminal
        )
    if as_json:
        terminal.result({"results": [result.as_json() for result in results]})
        return
    show(terminal, results)
    terminal.line(f"next: {command('report', *runs)}")
