"""How the report of a bias check reads in the terminal."""

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

_MOST = 0.9
"""Share of the gradient from which on the tested blocks are the whole of it for all purposes."""

_HOW_TO_READ = """\
Each pair is compared with its objective's reparam, reparam itself with dreg, on the same noise. relative bias: norm \
of the bias over the norm of the reference gradient, all parameters at these examples together. detectable: the \
relative bias that this budget finds with probability 0.9, in directions like those of the noise; 'unbiased' needs \
{detect:g} or less. max |t|: over parameter blocks, along each block's learned direction. p: corrected for all \
pairs, tests and looks of this call; biased is p <= {false_alarm:g}. The tests are asymptotic: Student's t of batch \
means."""

_TEXT_WIDTH = 112

_PAIR, _PROMISE, _VERDICT = "pair", "promise", "verdict"
_COLUMNS = (_PAIR, _PROMISE, _VERDICT, "relative bias [95 %]", "detectable", "max |t|", "p", "batches", "against")
_LEAST_FIRST = ("against", "batches", "max |t|", _PROMISE, "p", "detectable")
"""What is left out of a table that is too wide for the terminal, in this order."""

_GAP, _NARROWEST_PAIR = 2, 24


def show(terminal: Terminal, report: "BiasReport", *, quiet: bool) -> None:
    """Shows what was found, and unless quiet how to read it."""
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
    """Results as a table that fits: where there is no room for all columns, the least important are left out."""

    def __init__(self, rows: list[dict[str, Text]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns by the width there is."""
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
            yield Text(f"No room here for: {', '.join(left_out)}; --json has all.", style="dim")


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
    """What an estimator that is named by (learned) or (fixed) was set to."""
    lines: list[str] = []
    for result in report.results:
        label, estimator = report.label(result), result.comparison.pair.estimator
        if estimator.learned and label.endswith(")"):
            values = ", ".join(f"{name} {getattr(estimator, name):.4g}" for name in estimator.learned)
            lines.append(f"{label}: {values}")
    return lines


def _needed(report: "BiasReport") -> list[str]:
    """What would decide the pairs that are not decided: what is detectable goes with the root of the batches."""
    wanted: list[str] = []
    for result in report.results:
        if result.verdict is Verdict.INCONCLUSIVE and result.detectable is not None:
            batches = result.n * (result.detectable / report.settings["detect"]) ** 2
            wanted.append(f"{report.label(result)} {_two_digits(batches)}")
    found = any(result.verdict is Verdict.INCONCLUSIVE for result in report.results)
    if not found:
        return []
    advice = f" Batches that it would take, about: {', '.join(wanted)}." if wanted else ""
    return [f"inconclusive: no bias found, but one below 'detectable' may have been missed.{advice}"]


def _shares(report: "BiasReport") -> list[str]:
    """What relative sizes are of the tested blocks alone, where the others carry much of the gradient."""
    shares = [r.tested_share for r in report.results if r.tested_share is not None and r.tested_share < _MOST]
    if not shares:
        return []
    low, high = (f"{100.0 * share:.2g}" for share in (min(shares), max(shares)))
    size = f"{low} %" if low == high else f"{low} to {high} %"
    times = f"{1.0 / max(shares):.2g}" if low == high else f"{1.0 / max(shares):.2g} to {1.0 / min(shares):.2g}"
    return [
        f"the tested blocks have {size} of the whole gradient's norm: relative to their own, the sizes above are "
        f"{times} times as large"
    ]


def _signed_means(report: "BiasReport") -> list[str]:
    """The reference implementation's own statistic, as it is known from there."""
    shown = [f"{report.label(r)} {r.evidence.t_signed_mean:.1f}" for r in report.results if r.evidence]
    if not shown:
        return []
    return [f"t of the signed mean over all parameters, in which biases cancel (the reference's): {', '.join(shown)}"]


def _two_digits(value: float) -> str:
    digits = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / digits) * digits:,}"


def _identical(report: "BiasReport") -> list[str]:
    """Which blocks there was nothing to test in, pairs with the same ones together."""
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
    """The blocks' names, a whole network's by its own name."""
    found: list[str] = []
    for network, members in groupby(blocks, lambda block: block.partition(".")[0]):
        names = list(members)
        whole = len(names) == sum(block.partition(".")[0] == network for block in known)
        found += [f"{network} (all {len(names)} blocks)"] if whole else names
    return found
