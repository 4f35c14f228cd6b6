"""The output of a bias check in the terminal."""

import math
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

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

_WHOLE = 0.9
"""If the tested blocks have at least this share of the gradient's norm, they count as the whole gradient."""

_HOW_TO_READ = """\
Each pair is compared with the reparam estimator of its objective, and reparam itself with dreg, on the same noise. \
relative bias: norm of the bias / norm of the reference gradient, over all parameters at these examples together. \
detectable: the relative bias that this budget finds with probability 0.9, in directions like those of the noise; \
'unbiased' needs {detect:g} or less. max |t|: the largest over the parameter blocks, along the learned direction of \
each block. p: corrected for all pairs, tests and looks of this check; 'biased' means p <= {false_alarm:g}. The \
tests are asymptotic: Student's t of batch means."""

_TEXT_WIDTH = 112

_PAIR, _PROMISE, _VERDICT = "pair", "promise", "verdict"
_COLUMNS = (_PAIR, _PROMISE, _VERDICT, "relative bias [95 %]", "detectable", "max |t|", "p", "batches", "against")
_LEAST_FIRST = ("against", "batches", "max |t|", _PROMISE, "p", "detectable")
"""The columns that a table leaves out if it is too wide for the terminal, in this order."""

_GAP, _NARROWEST_PAIR = 2, 24


def show(terminal: Terminal, report: "BiasReport", *, quiet: bool) -> None:
    """Show the findings and, unless quiet, how to read them."""
    settings = report.settings
    how = [f"(seed {settings['seed']})", *filter(None, [report.computed]), f"{report.seconds:.0f} s"]
    terminal.line(
        f"{report.run.label}, step {report.checkpoint}, K={settings['k']}: {settings['examples']} training examples "
        + ", ".join(how)
    )
    terminal.show(_Table([_row(report, result) for result in report.results]))
    terminal.line()
    for line in [
        *_settings(report),
        *_identical(report),
        *_shares(report),
        *_needed(report),
        *_signed_means(report),
    ]:
        terminal.show(Text(line))
    if not quiet:
        terminal.line()
        text = _HOW_TO_READ.format(false_alarm=settings["false_alarm"], detect=settings["detect"])
        terminal.show(Constrain(Text(text), _TEXT_WIDTH))
        terminal.line()
    terminal.line(f"kept: {report.file}")
    if report.figure:
        terminal.line(f"figure: {report.figure}")


class _Table:
    """A table of results that fits: if there is no room for all columns, the least important ones are left out."""

    def __init__(self, rows: list[dict[str, Text]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns by the available width."""
        widths = {name: max(len(name), *(len(row[name]) for row in self._rows)) for name in _COLUMNS}
        widths[_PAIR] = min(widths[_PAIR], _NARROWEST_PAIR)  # it may be folded
        shown, left_out = list(_COLUMNS), list[str]()
        for name in _LEAST_FIRST:
            if sum(widths[each] + _GAP for each in shown) - _GAP <= options.max_width:
                break
            shown.remove(name)
            left_out.append(name)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for name in shown:
            side = "left" if name in (_PAIR, _PROMISE, _VERDICT, "against") else "right"
            table.add_column(name, justify=side, overflow="fold", no_wrap=name != _PAIR)
        for row in self._rows:
            table.add_row(*(row[name] for name in shown))
        yield table
        if left_out:
            yield Text(f"Not shown for lack of room: {', '.join(left_out)}; --json has all columns.", style="dim")


def _row(report: "BiasReport", result: "BiasResult") -> dict[str, Text]:
    found = result.evidence
    relative = "-"
    if result.relative_bias is not None and result.interval is not None:
        low, high = result.interval
        relative = f"{result.relative_bias:.4f} [{low:.4f}, {high:.4f}]"
    cells = [
        report.label(result),
        result.promise.value,
        result.verdict.value,
        relative,
        f"{result.detectable:.4f}" if result.detectable is not None else "-",
        f"{found.max_abs_t:.1f}" if found else "-",
        f"{result.p_value:.2g}" if found else "-",
        f"{result.n:,}",
        result.comparison.reference.estimator.name,
    ]
    return {
        name: Text(cell, style=_STYLES[result.verdict] if name == _VERDICT else "")
        for name, cell in zip(_COLUMNS, cells, strict=True)
    }


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
    found = any(result.verdict is Verdict.INCONCLUSIVE for result in report.results)
    if not found:
        return []
    advice = f" Approximate number of batches to decide: {', '.join(wanted)}." if wanted else ""
    return [f"inconclusive: no bias found, but a bias below 'detectable' may have been missed.{advice}"]


def _shares(report: "BiasReport") -> list[str]:
    """Say how to convert relative sizes to the tested blocks alone, if the other blocks have much of the gradient."""
    shares = [r.tested_share for r in report.results if r.tested_share is not None and r.tested_share < _WHOLE]
    if not shares:
        return []
    low, high = (f"{100.0 * share:.2g}" for share in (min(shares), max(shares)))
    size = f"{low} %" if low == high else f"{low} to {high} %"
    times = f"{1.0 / max(shares):.2g}" if low == high else f"{1.0 / max(shares):.2g} to {1.0 / min(shares):.2g}"
    return [
        f"the tested blocks have {size} of the whole gradient's norm: relative to the norm of the tested blocks, the "
        f"sizes above are {times} times as large"
    ]


def _signed_means(report: "BiasReport") -> list[str]:
    """Show the statistic that the reference implementation uses."""
    shown = [f"{report.label(r)} {r.evidence.t_signed_mean:.1f}" for r in report.results if r.evidence]
    if not shown:
        return []
    return [f"t of the signed mean over all parameters, in which biases cancel (the reference's): {', '.join(shown)}"]


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
        found += [f"{network} (all {len(names)} blocks)"] if whole else names
    return found
