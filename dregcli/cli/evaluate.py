"""``dreg eval``."""

from typing import Annotated

import typer

from dregcli.app.places import data_folder, runs_folder
from dregcli.cli.describe import described, seen_as
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir, number_or_word, setting
from dregcli.cli.render import Terminal, with_error

EXAMPLES = """All versions of a name:  [bold]dreg eval runs/digits-iwae-dreg-k64 --split test --k 500[/bold]

One version, at its best checkpoint:  [bold]dreg eval runs/digits-iwae-dreg-k64/v001 --checkpoint best[/bold]"""


def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: a name (all versions) or one version.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    k: Annotated[int, typer.Option("--k", help="Samples per example.")] = 500,
    checkpoint: Annotated[str, typer.Option(help="last, best or a step.")] = "last",
    eval_seed: Annotated[int, typer.Option(help="Of pixels and noise; the same for all runs.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    k_chunk: Annotated[str, setting("k_chunk")] = "auto",
    compile_: Annotated[str, setting("compile")] = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate runs at any K; per-example values are kept in the run."""
    from dregcli.app.evaluate import evaluate_runs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    try:
        results = evaluate_runs(
            runs,
            split=split,
            k=k,
            seed=eval_seed,
            checkpoint=checkpoint,
            device=device,
            k_chunk=number_or_word(k_chunk),
            compiled=compile_,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder(data_dir),
            listener=terminal,
        )
    finally:
        terminal.close()
    if as_json:
        terminal.result({"results": [result.as_json() for result in results]})
        return
    rows = [
        [
            result.run.label,
            str(result.checkpoint),
            with_error(result.bounds.value, result.bounds.stderr),
            f"{result.bounds.n:,}",
            f"{result.bounds.ess.mean():.1f}",
            str(result.bounds.active_units),
        ]
        for result in results
    ]
    title = f"IWAE bound at K={k} on {split}, nats per example"
    terminal.table(["run", "step", "bound ± s.e.", "examples", "mean ESS", "active units"], rows, title=title)
    for what, split_hash in dict.fromkeys(
        (described(result.spec.model_dump()), result.split_hash) for result in results
    ):
        terminal.line(f"of {what}, {split} split {split_hash[:12]}, eval seed {eval_seed}")
    if len({(result.split_hash, *seen_as(result.spec.model_dump())) for result in results}) > 1:
        terminal.warn("these runs are of different data or pixels: their bounds do not compare.")
    for result in results:
        terminal.line(f"kept: {result.path}")
    terminal.line(f"next: dreg report {' '.join(runs)}")
