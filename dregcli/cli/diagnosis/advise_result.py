"""The output of an advice in the terminal: one screen."""

import sys
from typing import Final

from rich.constrain import Constrain
from rich.text import Text

from dregcli.app.diagnosis.advice_measured import Candidate, Ratio
from dregcli.app.diagnosis.advice_report import AdviceReport
from dregcli.cli.diagnosis.advise_words import changes, number, of_k, of_pair, others, weights
from dregcli.cli.diagnosis.variance_result import with_digits
from dregcli.cli.render import Terminal
from dregcli.names import Network
from dregcli.wording import encodable

_WIDTH: Final = 98
_MOST_PAIRS: Final = 5
"""Largest number of pairs in the table, so that everything fits on one screen."""


def show(terminal: Terminal, report: AdviceReport) -> None:
    """Show what to use, the numbers behind it, what would change it, and the command to type."""
    use = report.choice.use
    terminal.line(
        f"{report.run.label}, step {report.checkpoint:,}, K={use.k}: gradients of {report.replicates} batches of "
        f"{report.spec.batch_size} examples, {report.seconds:.0f} s"
    )
    for text in (*of_pair(report.choice), of_k(use.k, report.k, report.at, report.bounds)):
        _say(terminal, text)
    shown = _shown(report)
    left_out = len(report.choice.compared) - len(shown)
    more = f" ({left_out} more in --json)" if left_out else ""
    columns = (f"gradient of q{more}", "SNR² a step", "ms a step", "SNR² a second", "bias")
    terminal.table(columns, [_row(each, ratio, use) for each, ratio in shown])
    networks = [each for each in (Network.ENCODER, Network.DECODER) if use.gradient(each)]
    terminal.table(
        ("K", "bound, nats", "nats per ms", "ms a step", "SNR² a second: q", "and p")[: 4 + len(networks)],
        [_row_of_k(report, k, networks) for k in sorted([use.k, *(each.k for each in report.at)])],
    )
    for text in (*others(report), weights(report.bounds, use.k), *changes(report)):
        _say(terminal, text)
    terminal.line(f"next: {report.next}")


def _say(terminal: Terminal, text: str) -> None:
    terminal.show(Constrain(Text(encodable(text, sys.stdout.encoding)), _WIDTH))


def _shown(report: AdviceReport) -> list[tuple[Candidate, Ratio | None]]:
    """Return the best pairs, and the run's own pair and the advised one in any case, in their order."""
    always = {report.own, report.choice.use.label}
    every = report.choice.compared
    room = _MOST_PAIRS - sum(each.label in always for each, _ in every)
    kept: list[tuple[Candidate, Ratio | None]] = []
    for each, ratio in every:
        if each.label not in always:
            room -= 1
            if room < 0:
                continue
        kept.append((each, ratio))
    return kept


def _row(each: Candidate, ratio: Ratio | None, use: Candidate) -> list[str]:
    snr = "lost in noise" if each.encoder.is_lost else number(each.encoder.squared_snr)
    speed = "1" if each is use else "-" if each.refusal is not None else _times(ratio)
    return [each.label, snr, number(each.milliseconds), speed, _bias(each)]


def _bias(each: Candidate) -> str:
    if each.refusal is not None:
        return "cannot train"
    if not each.is_biased:
        return "none"
    found = each.relative_bias
    return "yes, lost in noise" if found is None else f"{with_digits(found.value, found.stderr)} x the gradient"


def _row_of_k(report: AdviceReport, k: int, networks: list[Network]) -> list[str]:
    for each in report.at:
        if each.k == k:
            per = each.nats_per_millisecond
            gain = f"{'+' if each.gain.value >= 0 else ''}{number(each.gain)}"
            speeds = [_times(each.speed[network]) for network in networks]
            return [str(k), gain, "-" if per is None else f"{per:.2g}", number(each.milliseconds), *speeds]
    value = report.bounds.values[k]
    return [str(k), f"{sum(value) / len(value):.2f}", "", number(report.milliseconds), *("1" for _ in networks)]


def _times(ratio: Ratio | None) -> str:
    return "lost in noise" if ratio is None else with_digits(ratio.value, ratio.error)
