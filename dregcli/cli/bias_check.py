"""``dreg bias-check``."""

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dregcli.app.places import data_folder, runs_folder
from dregcli.cli.options import DataDir, Json, Quiet, RunsDir
from dregcli.cli.render import Terminal
from dregcli.names import Promise, Verdict

if TYPE_CHECKING:
    from dregcli.app.bias_report import BiasReport, BiasResult

EXAMPLES = """On the embedded data, trained for 1,000 steps first:  [bold]dreg bias-check --k 64[/bold]

Every estimator of a run's objective, on its model:  \
[bold]dreg bias-check digits-iwae-dreg-k64 --estimator all[/bold]

Some pairs:  [bold]dreg bias-check --estimator rws/dreg --estimator jvi:order=2/dreg[/bold]

Exit code: 0 all unbiased or identical, 1 some biased, 5 inconclusive."""

_STYLES = {
    Verdict.UNBIASED: "green",
    Verdict.IDENTICAL: "green",
    Verdict.BIASED: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
}

_HOW_TO_READ = """\
relative bias: norm of the bias over the norm of the reference gradient, all parameters at these examples
together. detectable: the relative bias that this budget finds with probability 0.9, in directions like those of
the noise. max |t|: over parameter blocks, along each block's learned direction. p: corrected for all pairs, tests
and looks of this call; biased is p <= {false_alarm:g}. The tests are asymptotic: Student's t of batch means."""


def bias_check(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Whose model: a name (its newest completed version) or one version. Without it a model is trained "
            "for 1,000 steps on the embedded data, and kept as a run.",
            show_default=False,
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="What to check: an estimator, a pair such as rws/dreg, or all; may be given several times.",
            show_default="the run's, or dreg",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Of estimators named alone.", show_default="the run's, or iwae"),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", help="Samples per example.", show_default="the run's, or 64")
    ] = None,
    detect: Annotated[
        float, typer.Option(help="The relative bias that a verdict of unbiased must have been able to find.")
    ] = 0.02,
    false_alarm: Annotated[
        float, typer.Option(help="Probability of calling any unbiased pair biased, over the whole call.")
    ] = 1e-3,
    max_batches: Annotated[int, typer.Option(help="Batches at most.")] = 12_288,
    max_seconds: Annotated[
        float | None, typer.Option(help="Seconds at most, training apart.", show_default="no limit")
    ] = None,
    examples: Annotated[int, typer.Option(help="Training examples to check at, drawn by the seed.")] = 32,
    seed: Annotated[int, typer.Option(help="Of examples, pixels and noise.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="last, best or a step of RUN.")] = "last",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check estimators for bias on a frozen model: a verdict that always comes, with its error rates."""
    from dregcli.app.bias_check import BiasRequest, check_run_for_bias

    terminal = Terminal(as_json=as_json, quiet=quiet)
    request = BiasRequest(
        run=run,
        objective=objective,
        estimators=tuple(estimator or ()),
        k=k,
        checkpoint=checkpoint,
        examples=examples,
        seed=seed,
        false_alarm=false_alarm,
        detect=detect,
        max_batches=max_batches,
        max_seconds=max_seconds,
        device=device,
    )
    try:
        report = check_run_for_bias(
            request,
            runs_dir=runs_folder(runs_dir),
            data_dir=data_folder(data_dir),
            argv=["dreg", *sys.argv[1:]],
            listener=terminal,
        )
    finally:
        terminal.close()
    for result in report.results:
        if result.verdict is Verdict.BIASED and result.promise is Promise.UNBIASED:
            terminal.warn(f"{report.label(result)} promises to be unbiased and is not: this is a fault, report it.")
    if as_json:
        terminal.result(report.as_json())
    else:
        _show(terminal, report, quiet=quiet)
    raise typer.Exit(report.exit_code)


def _show(terminal: Terminal, report: "BiasReport", *, quiet: bool) -> None:
    settings = report.settings
    title = (
        f"{report.run.label}, step {report.checkpoint}, K={settings['k']}: {settings['examples']} training examples "
        f"(seed {settings['seed']}), {report.seconds:.0f} s"
    )
    columns = ["estimator", "against", "verdict", "relative bias [95 %]", "detectable", "max |t|", "p", "batches"]
    rows = [_row(report, result) for result in report.results]
    styles = [{2: _STYLES[result.verdict]} for result in report.results]
    terminal.table(columns, rows, title=title, styles=styles)
    for line in _identical(report):
        terminal.line(line)
    if not quiet:
        terminal.line(f"\n{_HOW_TO_READ.format(false_alarm=settings['false_alarm'])}\n")
    terminal.line(f"kept: {report.file}")
    if report.figure:
        terminal.line(f"figure: {report.figure}")


def _row(report: "BiasReport", result: "BiasResult") -> list[str]:
    found = result.evidence
    relative = "-"
    if result.relative_bias is not None and result.interval is not None:
        low, high = result.interval
        relative = f"{result.relative_bias:.4f} [{low:.4f}, {high:.4f}]"
    return [
        report.label(result),
        result.comparison.reference.estimator.name,
        result.verdict.value,
        relative,
        f"{result.detectable:.4f}" if result.detectable is not None else "-",
        f"{found.max_abs_t:.1f}" if found else "-",
        f"{result.p_value:.2g}" if found else "-",
        f"{result.n:,}",
    ]


def _identical(report: "BiasReport") -> list[str]:
    """Which blocks there was nothing to test in, pairs with the same ones together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for result in report.results:
        tested = result.evidence.t_blocks if result.evidence else {}
        blocks = tuple(block for block in report.blocks if block not in tested)
        if blocks:
            found.setdefault(blocks, []).append(report.label(result))
    lines: list[str] = []
    for blocks, pairs in found.items():
        who = "all pairs" if len(pairs) == len(report.results) else ", ".join(pairs)
        lines.append(f"identical by construction, for {who}: {', '.join(_networks(blocks, report.blocks))}")
    return lines


def _networks(blocks: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """The blocks' names, a whole network's by its own name."""
    found: list[str] = []
    for network, members in groupby(blocks, lambda block: block.partition(".")[0]):
        names = list(members)
        whole = len(names) == sum(block.partition(".")[0] == network for block in known)
        found += [f"{network} (all {len(names)} blocks)"] if whole else names
    return found
