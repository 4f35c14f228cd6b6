"""The output of measured gradient variances and signal-to-noise ratios in the terminal."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.constrain import Constrain
from rich.text import Text

from dregcli.cli.render import Terminal
from dregcli.names import Network, PriorGradient
from dregcli.wording import AT_FLOOR

if TYPE_CHECKING:
    from dregcli.app.diagnosis.variance_report import Row, Slope, VarianceReport

_HOW_TO_READ = """\
In brackets: the standard error, in units of the last digits. variance: mean over the parameters, squared nats per \
squared unit. SNR: mean of |mean| / standard deviation over the parameters that vary. Pure noise has an SNR of \
{floor:.4f} with {replicates:,} replicates, so up to that much of each SNR is noise, whatever its standard error. \
DSNR: signal along the direction of the expected gradient, divided by the size across it; the direction is learned \
on other replicates. of noise: the DSNR of pure noise. cosine: with the gradient at K={k}. The decoder's gradient is \
the same for every estimator of an objective that has no row of its own in the decoder's table."""

_HOW_TO_READ_PRIOR = """ \
The prior is learned; its gradient is that of all parameters that log p(z) depends on, and they do not count in the \
decoder. Its expectation is the same for each kind: score, gdreg and blend are what --prior-gradient of dreg train \
means."""

_WIDTH = 98
_NAMES = {"variance": "variance", "snr": "SNR", "dsnr": "DSNR"}
_COLUMNS = ("gradient", "K", "variance", "SNR", "DSNR", "of noise", "cosine")


def show(terminal: Terminal, report: "VarianceReport", *, quiet: bool) -> None:
    """Show the findings and, unless quiet, how to read them."""
    terminal.line(f"{report.title}, {report.seconds:.0f} s")
    for network in dict.fromkeys(row.of.network for row in report.rows):
        rows = [
            [report.label(row.of), str(row.k), *_cells(report, row)]
            for row in report.rows
            if row.of.network is network
        ]
        missing = _missing(report, network)
        terminal.line()
        terminal.table(_COLUMNS, [*rows, *missing], title=network.value, names=2)
    terminal.line()
    _slopes(terminal, report)
    terminal.line()
    _shared(terminal, report)
    if not quiet:
        terminal.line()
        settings = report.settings
        text = _HOW_TO_READ.format(floor=report.floor, replicates=settings["replicates"], k=settings["reference_k"])
        if report.has_prior:
            text += _HOW_TO_READ_PRIOR
        terminal.show(Constrain(Text(text), _WIDTH))
    terminal.line()
    if report.file:
        terminal.line(f"kept: {report.file}")
    for figure in report.figures:
        terminal.line(f"figure: {figure}")
    if not report.file:
        terminal.line("nothing is kept: use --out DIR to write PNG, SVG, PDF and JSON")


def _cells(report: "VarianceReport", row: "Row") -> list[str]:
    """Format the statistics of a row; an SNR near its floor is shown in words, because its value is mostly noise."""
    cells = {
        name: with_digits(row[name].value, row[name].stderr)
        for name in ("variance", "snr", "dsnr", "dsnr_floor", "cosine")
    }
    return [*(cells | ({"snr": AT_FLOOR} if report.at_floor(row) else {})).values()]


def _missing(report: "VarianceReport", network: Network) -> list[list[str]]:
    """Return a row of dashes for each K for which a gradient is not defined."""
    found: list[list[str]] = []
    for of in dict.fromkeys(row.of for row in report.rows if row.of.network is network):
        there = {row.k for row in report.rows if row.of == of}
        found += [
            [report.label(of), str(k), *["-"] * (len(_COLUMNS) - 2)] for k in report.settings["k"] if k not in there
        ]
    return found


def with_digits(value: float, stderr: float) -> str:
    """Format a number with its standard error in brackets, in units of the last digits: 0.0133(1), 1.50(2)e-07."""
    if not math.isfinite(value):
        return "-"
    if not (math.isfinite(stderr) and stderr > 0.0):
        return f"{value:.4g}"
    scale = 0
    if not 1e-3 <= (size := max(abs(value), stderr)) < 1e4:
        scale = math.floor(math.log10(size))
    value, stderr = value / 10.0**scale, stderr / 10.0**scale
    first = math.floor(math.log10(stderr))
    # One digit of the error; two if the first digit is a 1, because rounding would change it a lot.
    places = -first + (1 if stderr / 10.0**first < 1.95 else 0)
    if places < 0:
        places = 0
    text = f"{value:.{places}f}({round(stderr * 10.0**places)})"
    return text if not scale else f"{text}e{scale:+03d}"


def _slopes(terminal: Terminal, report: "VarianceReport") -> None:
    """Show the slopes if there are several K, and the points that cannot be distinguished from noise."""
    labels = list(dict.fromkeys(slope.of for slope in report.slopes))
    rows = [
        [
            f"{of.network.value} {report.label(of)}",
            *(_interval(each.slope) for each in report.slopes if each.of == of),
        ]
        for of in labels
    ]
    has_slopes = len(report.settings["k"]) > 1
    if has_slopes:
        title = "slopes of log(statistic) against log(K), with 95 % intervals"
        terminal.table(("gradient", "variance", "SNR", "DSNR"), rows, title=title)
    left_out = [
        f"{each.of.network.value} {report.label(each.of)} {_NAMES[each.statistic]} at K={_ks(each.left_out)}"
        for each in report.slopes
        if each.left_out
    ]
    if left_out:
        unused = ", and therefore not used for a slope" if has_slopes else ""
        text = f"not distinguishable from noise{unused}: {'; '.join(left_out)}"
        terminal.show(Constrain(Text(text), _WIDTH))


def _ks(ks: Sequence[int]) -> str:
    return ",".join(map(str, ks))


def _interval(slope: "Slope | None") -> str:
    return f"{slope.value:+.2f} [{slope.low:+.2f}, {slope.high:+.2f}]" if slope else "-"


def _shared(terminal: Terminal, report: "VarianceReport") -> None:
    """Show the values that depend only on K, and how good the reference is."""
    sampled = report.sampled
    terminal.line("ESS: " + ", ".join(f"K={s.k} {with_digits(s.ess.value, s.ess.stderr)}" for s in sampled))
    bounds = ", ".join(f"K={s.k} {with_digits(s.bound.value, s.bound.stderr)}" for s in sampled)
    terminal.line(f"IWAE bound, nats per example: {bounds}")
    if report.log_p:
        known = (("model", report.log_p.model), ("data", report.log_p.data))
        values = ", ".join(f"{name} {value:.4f}" for name, value in known if value is not None)
        terminal.line(f"exact log p(x), nats per example: {values}")
    least = min((each.agreement for each in report.references), default=math.nan)
    settings = report.settings
    by = ", ".join(dict.fromkeys(each.pair.estimator.name for each in report.references if not each.prior))
    if kinds := [each.prior for each in report.references if each.prior and each.prior is not PriorGradient.SCORE]:
        by += f" and, for the prior, {kinds[0]}"
    terminal.line(
        f"reference: {by} at K={settings['reference_k']}, {settings['reference_replicates']} replicates; "
        f"cosine between its halves at least {least:.3f}"
    )
