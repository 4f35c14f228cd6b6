r"""Groups of runs as a booktabs table for a paper: ``\input{table.tex}``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.names import Split
from dregcli.report.aggregate import Aggregate, aggregate
from dregcli.report.comparison import Comparison, Measure, evaluated_by, measured
from dregcli.report.groups import Group
from dregcli.report.latex_text import NOTHING, count, escaped, mean, plain, rate
from dregcli.report.paired import FEWEST_SEEDS, LEVEL
from dregcli.wording import listed

_UNTESTED: Final = "$^{*}$"
"""Mark of a bound that the test has not compared with the best."""

_BOLD: Final = r"\mathbf"

_RATES: Final = (
    "Steps/s: optimisation steps per second of training without evaluation, under whatever load the machine had."
)

MOST_BOUNDS: Final = 4
"""Most columns of bounds that fit on a page."""


@dataclass(frozen=True)
class _Column:
    """A column of numbers as LaTeX: its heading, and its cells by the group's key. A missing cell becomes a dash."""

    heading: str
    cells: Mapping[str, str]


def latex_table(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    comparisons: Sequence[Comparison],
    *,
    title: str = "",
    label: str = "tab:dreg",
    legend: Sequence[str] = (),
    provenance: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """Return the table of one section of a report, one row per group.

    In each column, bold marks the best group and all groups that the paired test has not found lower. Nothing is bold
    where nothing could be tested.

    Args:
        groups: groups of the report.
        labels: labels of the groups, by key.
        comparisons: comparisons of the groups, the most informative one first.
        title: what the groups have in common, for a report of several tables; it begins the caption.
        label: name of the table for references in the paper.
        legend: sentences that explain the labels; the caption has them.
        provenance: where the table's numbers come from and what wrote them; comments at the top.
        warnings: warnings for the reader; comments.
    """
    bounds, too_many, of_few = _bounds(groups, comparisons)
    evaluated = next((measure for measure in bounds if measure.kind == "evaluation"), None)
    headings = _headings(list(bounds))
    columns = [_Column("seeds", {group.key: f"${len(group.seeds())}$" for group in groups})]
    compared = [each for each in bounds.values() if isinstance(each, Comparison)]
    marked = any(each.tests for each in compared)
    columns += [_bound_column(headings[measure], groups, found, marked=marked) for measure, found in bounds.items()]
    if not bounds:
        columns.append(_final_bounds(groups))
    columns.append(_over_seeds("steps/s", groups, Group.steps_per_second))
    columns += _diagnostics(groups, evaluated)
    comments = [
        *provenance,
        *(
            f"{labels[group.key]}: group {group.key}, {', '.join(row.label for row in group.rows)}"
            for group in groups
        ),
        *(f"warning: {each}" for each in warnings),
        *(f"left out, because the table would be too wide: {measure.text}" for measure in too_many),
        *(f"left out, because some groups do not have it: {measure.text}" for measure in of_few),
    ]
    rows = [
        [escaped(labels[group.key]), *(column.cells.get(group.key, NOTHING) for column in columns)]
        for group in groups
    ]
    has_rates = any(group.steps_per_second() for group in groups)
    caption = " ".join(
        [
            *([f"{escaped(title)}."] if title else []),
            *_caption(groups, compared, evaluated, is_bold=any(_BOLD in cell for row in rows for cell in row)),
            *_examples(list(bounds)),
            *map(escaped, legend),
            *([_RATES] if has_rates else []),
        ]
    )
    return "\n".join([*(f"% {plain(each)}" for each in comments), *_environment(columns, rows, caption, label), ""])


def _environment(columns: Sequence[_Column], rows: Sequence[Sequence[str]], caption: str, label: str) -> list[str]:
    lines = [["", *(column.heading for column in columns)], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    set_rows = [
        "    " + " & ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + r" \\"
        for line in lines
    ]
    return [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"    \toprule",
        set_rows[0],
        r"    \midrule",
        *set_rows[1:],
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


Bounds = dict[Measure, Comparison | dict[int, float]]
"""Bounds that a table shows: comparisons, or, for a single group, its bounds by seed."""


def _bounds(
    groups: Sequence[Group], comparisons: Sequence[Comparison]
) -> tuple[Bounds, list[Measure], list[Measure]]:
    """Return the bounds to show, and two kinds of measures that are left out.

    The bounds are the first comparison and others of all its groups, or all bounds of a single group. Some of them
    are left out because the table would be too wide. Others are left out because some of these groups lack them.
    """
    found: Bounds = {}
    if comparisons:
        found = {each.measure: each for each in comparisons if each.values.keys() >= comparisons[0].values.keys()}
    elif len(groups) == 1:
        found = {measure: of_groups[groups[0].key] for measure, of_groups in measured(groups).items()}
    shown = dict(list(found.items())[:MOST_BOUNDS])
    of_few = [measure for measure in measured(groups) if measure not in found] if found else []
    return shown, [measure for measure in found if measure not in shown], of_few


def _counts(measures: Sequence[Measure]) -> dict[str, set[int | None]]:
    """Return the numbers of examples of the shown bounds, by split."""
    found: dict[str, set[int | None]] = {}
    for measure in measures:
        found.setdefault(measure.split, set()).add(measure.examples)
    return found


def _headings(measures: Sequence[Measure]) -> dict[Measure, str]:
    """Return a heading for each measure: the split and K, and more where two headings would be equal.

    The number of examples is part of the heading where bounds of one split have different numbers of examples.
    Otherwise the caption has it.
    """
    counts = _counts(measures)

    def heading(measure: Measure, *, more: bool) -> str:
        final = "final " if measure.kind == "final" else ""
        parts = [f"{final}{measure.split}", f"$K={count(measure.k)}$"]
        if measure.examples is not None and len(counts[measure.split]) > 1:
            parts.append(f"{count(measure.examples)} examples")
        return ", ".join([*parts, *([f"eval seed {measure.seed}"] if more else [])])

    short = [heading(measure, more=False) for measure in measures]
    return {
        measure: heading(measure, more=short.count(text) > 1) for measure, text in zip(measures, short, strict=True)
    }


def _examples(measures: Sequence[Measure]) -> list[str]:
    """Say over how many examples the bounds of each split are, where the headings do not say it."""
    same = {split: found for split, counts in _counts(measures).items() if len(counts) == 1 for found in counts}
    parts = [f"{count(found)} {split} examples" for split, found in same.items() if found is not None]
    return [f"Bounds are over {listed(parts)}."] if parts else []


def _bound_column(
    heading: str, groups: Sequence[Group], found: Comparison | dict[int, float], *, marked: bool
) -> _Column:
    """Return a column of bounds. With ``marked``, bounds that were not tested get a mark."""
    if not isinstance(found, Comparison):
        return _Column(heading, {groups[0].key: _cell(aggregate([*found.values()], "larger"), groups[0])})
    bold = found.cannot_be_told_from_best
    untested = (found.untested if bold else found.values) if marked else ()
    return _Column(
        heading,
        {
            group.key: _cell(found.of(group.key), group, bold=group.key in bold, marked=group.key in untested)
            for group in groups
            if group.key in found.values
        },
    )


def _cell(found: Aggregate | None, group: Group, *, bold: bool = False, marked: bool = False) -> str:
    """Return the mean, with its number of seeds if it does not cover all seeds of the group."""
    text = mean(found, bold=bold) + (_UNTESTED if marked else "")
    return text if found is None or found.n == len(group.seeds()) else f"{text} ($n={found.n}$)"


def _over_seeds(heading: str, groups: Sequence[Group], of: Callable[[Group], Aggregate | None]) -> _Column:
    return _Column(heading, {group.key: rate(found.mean) for group in groups if (found := of(group))})


def _final_bounds(groups: Sequence[Group]) -> _Column:
    """Return a column of final test bounds, for groups that cannot be compared."""
    return _Column("final test", {group.key: _cell(group.bound(Split.TEST), group) for group in groups})


def _diagnostics(groups: Sequence[Group], measure: Measure | None) -> list[_Column]:
    """Return columns with ESS and active units of the evaluation that the table shows."""
    found = {group.key: each for group in groups if (each := evaluated_by(group, measure))}
    ess = {key: mean(each.ess, places=1) for key, each in found.items() if each.ess}
    active = {key: mean(each.active_units, places=0) for key, each in found.items() if each.active_units}
    return [_Column(heading, cells) for heading, cells in (("ESS", ess), ("active units", active)) if cells]


def _caption(
    groups: Sequence[Group], compared: Sequence[Comparison], evaluated: Measure | None, *, is_bold: bool
) -> list[str]:
    sentences = [r"Bounds in nats per example, larger is better; mean $\pm$ standard error over seeds."]
    if compared:
        sentences.append(_about_the_test(compared, is_bold=is_bold))
    elif len(groups) > 1:
        sentences.append(
            "The groups have different data, pixels or $K$: they are not compared, and nothing is in bold."
        )
    if any(each.kind == "final" for each in (comparison.measure for comparison in compared)):
        sentences.append("Final bounds are computed at the end of training.")
    if evaluated is not None:
        sentences.append(f"ESS and active units belong to {evaluated.split}, $K={count(evaluated.k)}$.")
    return sentences


def _about_the_test(compared: Sequence[Comparison], *, is_bold: bool) -> str:
    """Explain what bold means: the test, its level, the adjustment, and the seeds; or why nothing is bold."""
    tested = [pair for each in compared for pair in each.pairs if pair.verdict != "untested"]
    if tested and not is_bold:
        return "Nothing is in bold."
    if not tested:
        return f"Nothing is in bold: a paired test needs two groups that share {FEWEST_SEEDS} seeds or more."
    seeds = {pair.seeds for pair in tested}
    if len(seeds) == 1:
        (shared,) = seeds
        over = f"the seeds {', '.join(map(str, shared))}"
    else:
        over = f"the {min(map(len, seeds))} to {max(map(len, seeds))} seeds that two groups share"
    columns = ", column by column" if len(compared) > 1 else ""
    few = any(pair.verdict == "untested" for each in compared for pair in each.pairs)
    return (
        f"Bold{columns}: the best mean and every group that a two-sided paired $t$-test over {over} does not find "
        rf"lower, at a level of {100.0 * LEVEL:g}\,\% over all pairs of groups by Holm's method."
        + (f" {_UNTESTED}~Not tested: shares fewer than {FEWEST_SEEDS} seeds with the best group." if few else "")
    )
