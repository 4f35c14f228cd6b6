"""How a report reads in the terminal."""

import math
from typing import TYPE_CHECKING

from dregcli.cli.render import Terminal, difference, with_error
from dregcli.describe import experiment_in_words
from dregcli.names import RunStatus, Split

if TYPE_CHECKING:
    from dregcli.app.report import Aggregate, Comparison, Group, Paired, Report

_STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.CRASHED: "red",
    RunStatus.FAILED: "red",
}
_MOST_PAIRS = 6
"""Pairs of groups that are told one by one; of more those with the best group are."""

_TRACKED = {
    "encoder variance": "posterior_variance",
    "encoder SNR": "posterior_snr",
    "decoder variance": "model_variance",
    "decoder SNR": "model_snr",
}


def show(terminal: Terminal, report: "Report", *, time_to: float | None) -> None:
    """Shows every group, then how they compare, then what to beware of."""
    for group in report.groups:
        _runs(terminal, group, time_to)
        _means(terminal, group)
        _evaluations(terminal, group)
        _verdicts(terminal, group)
        _tracked(terminal, group)
        terminal.line()
    _groups(terminal, report, time_to)
    for comparison in report.comparisons[:1]:
        terminal.line()
        _comparison(terminal, report, comparison)


def _runs(terminal: Terminal, group: "Group", time_to: float | None) -> None:
    names = {row.name for row in group.rows}
    rows = [
        [
            row.version if len(names) == 1 else row.label,
            str(row.seed),
            row.status.value,
            str(row.summary.get("step", "-")),
            *(with_error(row.bound(split), None) for split in Split),
            with_error(row.steps_per_second, None),
            *([] if time_to is None else [_seconds(row.seconds_to(time_to))]),
        ]
        for row in group.rows
    ]
    styles = [{2: _STYLES[row.status]} if row.status in _STYLES else {} for row in group.rows]
    columns = ["run", "seed", "status", "step", *Split, "steps/s", *_time_column(time_to)]
    title = f"{', '.join(sorted(names))}: {experiment_in_words(group.spec)}"
    terminal.table(columns, rows, title=title, styles=styles)
    for row in group.rows:
        if "split_hashes" in row.summary:
            hashes = row.summary["split_hashes"].items()
            terminal.line(f"splits: {', '.join(f'{split} {digest[:12]}' for split, digest in hashes)}")
            break


def _time_column(time_to: float | None) -> list[str]:
    return [] if time_to is None else [f"time to {time_to:g}"]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _means(terminal: Terminal, group: "Group") -> None:
    seeds = len(group.seeds())
    means = [
        f"{split} {with_error(a.mean, a.stderr)}{f' (best {with_error(a.best, None)})' if a.n > 1 else ''}"
        for split in Split
        if (a := group.bound(split))
    ]
    if means:
        count = f"{seeds} seed{'s' if seeds != 1 else ''}"
        terminal.line(f"bound, mean ± s.e. over {count}, nats per example: {', '.join(means)}")
    gains = [
        f"{split} {with_error(before.mean, None)} {difference(gain.mean, gain.stderr)}"
        for split in Split
        if (before := group.before(split)) and (gain := group.gain(split))
    ]
    if gains:
        terminal.line(f"the parent's bound and what the encoder alone gained: {', '.join(gains)}")


def _evaluations(terminal: Terminal, group: "Group") -> None:
    for key, found in group.evaluations().items():
        a = found.bound
        count = f"{a.n} seed{'s' if a.n != 1 else ''}"
        of = f"{key.split} bound at K={key.k}, {key.n:,} examples, step {key.checkpoint}, eval seed {key.seed}"
        parts = [f"eval: {of}: {with_error(a.mean, a.stderr)} nats, {count}"]
        if found.ess:
            parts.append(f"ESS {found.ess.mean:.1f}")
        if found.khat_share:
            parts.append(f"k-hat above 0.7: {100.0 * found.khat_share.mean:.3g} %")
        if found.active_units:
            parts.append(f"active units {found.active_units.mean:.3g}")
        terminal.line("; ".join(parts))


def _verdicts(terminal: Terminal, group: "Group") -> None:
    for path, found in group.bias():
        size = found.get("relative_bias")
        told = "" if size is None else f", relative bias {size:+.4f}"
        terminal.line(
            f"bias: {found['objective']}/{found['estimator']} at K={found['k']}: {found['verdict']}{told} ({path})"
        )
    for row in group.rows:
        if row.variance:
            terminal.line(f"variance: {row.variance[-1]['told']} ({row.path})")


def _tracked(terminal: Terminal, group: "Group") -> None:
    """The table of what was tracked; where there are windows each estimator has a row of them, too."""
    found, window = group.tracked(), group.tracked_window()
    if not found:
        return
    kinds = {"moving average": ""} | ({"windows": "_window"} if window else {})
    rows = [
        [
            word,
            kind,
            *(
                _scientific(a.mean, a.stderr) if (a := each.get(quantity + end)) else "-"
                for quantity in _TRACKED.values()
            ),
        ]
        for word, each in found.items()
        for kind, end in kinds.items()
    ]
    title = "gradients of tracked estimators at the end of training, means over coordinates, ± s.e. over seeds"
    terminal.table(["estimator", "over", *_TRACKED], rows, title=title)
    if window:
        steps, floor = window
        terminal.line(
            f"windows: means over the last tenth of training, of {steps:.0f} steps each; pure noise has an SNR of "
            f"about {floor:.3f} in them, and of 0.06 in the moving average"
        )


def _scientific(value: float, stderr: float | None) -> str:
    """A number of any size, with its standard error if there is one."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.1g}"


def _groups(terminal: Terminal, report: "Report", time_to: float | None) -> None:
    """One row a group, the best first: what decides between them."""
    first = report.comparisons[0] if report.comparisons else None
    curves = report.sparklines()
    told_best = first.cannot_be_told_from_best if first else set[str]()
    ranked = sorted(report.groups, key=lambda group: -_mean(group, first))
    rows: list[list[str]] = []
    for group in ranked:
        a = _measured(group, first)
        rate = group.over_seeds(lambda row: row.steps_per_second)
        rows.append(
            [
                report.labels[group.key],
                str(len(group.seeds())),
                with_error(a.mean, a.stderr) if a else "-",
                with_error(a.best, None) if a else "-",
                with_error(rate.mean, None) if rate else "-",
                *([] if time_to is None else [_time_to(group, time_to)]),
                curves.get(group.key, "-"),
            ]
        )
    columns = ["group", "seeds", "mean ± s.e.", "best", "steps/s", *_time_column(time_to), "validation bound by step"]
    measure = first.measure.told if first else "test final bound"
    styles = [{2: "bold green"} if group.key in told_best else {} for group in ranked]
    terminal.table(columns, rows, title=f"groups by their {measure}, nats per example", styles=styles)


def _measured(group: "Group", comparison: "Comparison | None") -> "Aggregate | None":
    if comparison is None:
        return group.bound(Split.TEST)
    return comparison.of(group.key) if group.key in comparison.values else None


def _mean(group: "Group", comparison: "Comparison | None") -> float:
    found = _measured(group, comparison)
    return found.mean if found else -math.inf


def _time_to(group: "Group", bound: float) -> str:
    """Mean and standard error of the seconds, and how many seeds reached the bound where not all did."""
    found = group.over_seeds(lambda row: row.seconds_to(bound))
    if found is None:
        return "never"
    some = f" ({found.n} of {len(group.seeds())})" if found.n < len(group.seeds()) else ""
    return f"{with_error(found.mean, found.stderr)} s{some}"


def _comparison(terminal: Terminal, report: "Report", found: "Comparison") -> None:
    pairs = found.pairs if len(found.pairs) <= _MOST_PAIRS else found.against(found.best)
    rows = [
        [
            f"{report.labels[pair.a]} less {report.labels[pair.b]}",
            difference(pair.difference, pair.stderr) if pair.seeds else "-",
            "[{:+.4f}, {:+.4f}]".format(*pair.interval) if pair.interval else "-",
            "-" if pair.adjusted is None else f"{pair.adjusted:.2g}",
            str(len(pair.seeds)),
            _verdict(pair),
        ]
        for pair in pairs
    ]
    columns = ["difference", "nats ± s.e.", "95 % interval", "p (Holm)", "shared seeds", "verdict"]
    terminal.table(columns, rows, title=f"paired over seeds: {found.measure.told}")
    if any(pair.adjusted is not None for pair in pairs):
        terminal.line(
            f"Student's t of the differences; over all {len(found.pairs)} pairs a false verdict has a chance of 5 % "
            "at most. Seeds to decide: a difference of this size would then be found with a chance of 80 %."
        )


def _verdict(pair: "Paired") -> str:
    if pair.verdict == "untested":
        return "too few shared seeds"
    if pair.verdict == "undecided":
        about = "more than 10,000" if pair.needed is None else f"about {pair.needed:,}"
        return f"undecided: {about} seeds to decide"
    return pair.verdict
