"""The output of a bias check in the terminal."""

import math
from itertools import groupby
from typing import TYPE_CHECKING

from dregcli.cli.render import Terminal
from dregcli.names import Verdict

if TYPE_CHECKING:
    from dregcli.app.diagnosis.bias_report import BiasReport, BiasResult

_STYLES = {
    Verdict.UNBIASED: "green",
    Verdict.IDENTICAL: "green",
    Verdict.BIASED: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
}

_HOW_TO_READ = """\
against: the unbiased estimator of the same objective that a pair is compared with on the same noise: reparam, and \
dreg for reparam itself; if no latent can be differentiated, vimco, and reinforce for vimco itself.
first-samples: such an estimator at the samples that ovis-mc does not set aside.
bias/tested: norm of the bias / norm of the reference gradient over the tested blocks, in which the two can differ.
bias/whole: norm of the same bias / norm of the reference gradient over all parameters, at these examples together.
detectable: the bias/whole that this budget finds with probability 0.9, in directions like those of the noise; \
'unbiased' needs {detect:g} or less.
t: statistic of the test with the smallest p: along a learned direction, along the reference gradient, or in a block.
p: two-sided, from t by Student's t of batch means; corrected for all pairs, tests and looks of this check, and the \
smallest over its looks. 'biased' means p <= {false_alarm:g}. The tests are asymptotic."""

_PAIR, _PROMISE, _VERDICT = "pair", "promise", "verdict"
_COLUMNS = (
    _PAIR,
    _VERDICT,
    "bias/tested [95 %]",
    "bias/whole [95 %]",
    "detectable",
    "t",
    "p",
    _PROMISE,
    "batches",
    "against",
)


def show(terminal: Terminal, report: "BiasReport", *, quiet: bool) -> None:
    """Show the findings and, unless quiet, how to read them."""
    settings = report.settings
    how = [f"(seed {settings['seed']})", *filter(None, [report.computed]), f"{report.seconds:.0f} s"]
    terminal.line(
        f"{report.run.label}, step {report.checkpoint}, K={settings['k']}: {settings['examples']} training examples "
        + ", ".join(how)
    )
    rows = [_row(report, result) for result in report.results]
    styles = [{_COLUMNS.index(_VERDICT): _STYLES[result.verdict]} for result in report.results]
    terminal.table(_COLUMNS, rows, styles=styles)
    terminal.line()
    for line in [
        *_settings(report),
        *_identical(report),
        *_of_prior(report),
        *_needed(report),
        *_signed_means(report),
    ]:
        terminal.line(line)
    if not quiet:
        terminal.line()
        text = _HOW_TO_READ.format(false_alarm=settings["false_alarm"], detect=settings["detect"])
        for line in text.split("\n"):
            terminal.line(line)
        terminal.line()
    terminal.line(f"kept: {report.file}")
    if report.figure:
        terminal.line(f"figure: {report.figure}")


def _row(report: "BiasReport", result: "BiasResult") -> list[str]:
    found = result.evidence
    return [
        report.label(result),
        result.verdict.value,
        _relative(result, to_tested=True),
        _relative(result, to_tested=False),
        f"{result.detectable:.4f}" if result.detectable is not None else "-",
        f"{found.deciding_t:.1f}" if found else "-",
        f"{result.p_value:.2g}" if found else "-",
        result.promise.value,
        f"{result.n:,}",
        result.comparison.reference.estimator.name,
    ]


def _relative(result: "BiasResult", *, to_tested: bool) -> str:
    """Return the relative bias with its 95 % interval, or a dash if it is not known."""
    if result.relative_bias is None or result.interval is None:
        return "-"
    values = [result.relative_bias, *result.interval]
    known = [found for value in values if (found := result.to_tested(value) if to_tested else value) is not None]
    return "{:.4f} [{:.4f}, {:.4f}]".format(*known) if known else "-"


def _settings(report: "BiasReport") -> list[str]:
    """List the parameter values of estimators whose label ends with (learned) or (fixed)."""
    lines: list[str] = []
    for result in report.results:
        label, estimator = report.label(result), result.comparison.pair.estimator
        if estimator.learned and label.endswith(")"):
            values = ", ".join(f"{name} {getattr(estimator, name):.4g}" for name in estimator.learned)
            lines.append(f"{label}: {values}")
    return lines


def _needed(report: "BiasReport") -> list[str]:
    """Estimate the batches that undecided pairs need; the detectable bias falls with the root of the batches."""
    wanted: list[str] = []
    for result in report.results:
        if result.verdict is Verdict.INCONCLUSIVE and result.detectable is not None:
            batches = result.n * (result.detectable / report.settings["detect"]) ** 2
            wanted.append(f"{report.label(result)} {_two_digits(batches)}")
    open_ones = [result for result in report.results if result.verdict is Verdict.INCONCLUSIVE]
    if not open_ones:
        return []
    if not any(result.evidence for result in open_ones):
        return ["inconclusive: the time ended before the first test. Give more time: --max-seconds"]
    advice = f" Approximate number of batches to decide: {', '.join(wanted)}." if wanted else ""
    return [f"inconclusive: no bias found, but a bias below 'detectable' may have been missed.{advice}"]


def _signed_means(report: "BiasReport") -> list[str]:
    """Show the statistic that the reference implementation uses."""
    shown = [f"{report.label(r)} {r.evidence.t_signed_mean:.1f}" for r in report.results if r.evidence]
    if not shown:
        return []
    what = "t of the signed mean over all parameters, in which biases cancel (the statistic of the reference code)"
    return [f"{what}: {', '.join(shown)}"]


def _of_prior(report: "BiasReport") -> list[str]:
    """Show the largest t among the blocks of a learned prior, if another gradient than its score was checked."""
    shown: list[str] = []
    for result in report.results:
        tested = result.evidence.t_blocks if result.evidence else {}
        if mine := {name: tested[name] for name in report.prior_blocks if name in tested}:
            block = max(mine, key=lambda name: abs(mine[name]))
            shown.append(f"{report.label(result)} {mine[block]:.1f} ({block})")
    if not shown:
        return []
    kind = report.settings["prior_gradient"]
    return [f"largest t in a block of the prior, whose gradient by {kind} is compared with score: {', '.join(shown)}"]


def _two_digits(value: float) -> str:
    digits = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / digits) * digits:,}"


def _identical(report: "BiasReport") -> list[str]:
    """List the blocks in which there was nothing to test; pairs with the same blocks share a line."""
    found: dict[tuple[str, ...], list[str]] = {}
    for result in report.results:
        if not result.evidence and result.verdict is not Verdict.IDENTICAL:
            continue  # nothing was tested yet
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
    """Return the names of the blocks; the blocks of a whole network are replaced by its name."""
    found: list[str] = []
    for network, members in groupby(blocks, lambda block: block.partition(".")[0]):
        names = list(members)
        whole = len(names) == sum(block.partition(".")[0] == network for block in known)
        found += [f"{network} (all {len(names)} blocks)"] if whole and len(names) > 1 else names
    return found
