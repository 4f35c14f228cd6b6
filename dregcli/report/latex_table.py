r"""Groups of runs as a table that a paper can take in: booktabs, ``\input{table.tex}``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.names import Split
from dregcli.report.comparison import Comparison, Measure, measured
from dregcli.report.groups import Aggregate, Evaluated, EvaluationKey, Group, aggregate
from dregcli.report.latex_text import NOTHING, count, escaped, mean, plain, rate
from dregcli.report.paired import FEWEST_SEEDS, LEVEL

_UNTESTED: Final = "$^{*}$"
"""What marks a bound that the test has not compared with the best."""

MOST_BOUNDS: Final = 4
"""Columns of bounds: a page is no wider."""


@dataclass(frozen=True)
class _Column:
    """A column of numbers: its heading and its cells by group's key, as LaTeX; a dash where there is none."""

    heading: str
    cells: Mapping[str, str]


def latex_table(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    comparisons: Sequence[Comparison],
    *,
    provenance: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """The table, one row a group.

    In bold, column by column, are the groups that the paired test cannot tell from the best: never the best mean
    alone, and nothing where nothing could be tested.

    Args:
        groups: of the report.
        labels: of the groups, by key.
        comparisons: of the groups, the one that says most first.
        provenance: what the table is made of and by; comments at its top.
        warnings: what a reader must know; comments.
    """
    bounds, left_out = _bounds(groups, comparisons)
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
        *(f"left out, for its width: {measure.told}" for measure in left_out),
        r"in the preamble: \usepackage{booktabs}",
    ]
    rows = [
        [escaped(labels[group.key]), *(column.cells.get(group.key, NOTHING) for column in columns)]
        for group in groups
    ]
    caption = _caption(groups, compared, evaluated)
    return "\n".join([*(f"% {plain(each)}" for each in comments), *_environment(columns, rows, caption), ""])


def _environment(columns: Sequence[_Column], rows: Sequence[Sequence[str]], caption: str) -> list[str]:
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
        r"  \label{tab:dreg}",
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
"""What bounds a table shows: comparisons, or those of the one group that there is by seed."""


def _bounds(groups: Sequence[Group], comparisons: Sequence[Comparison]) -> tuple[Bounds, list[Measure]]:
    """The first comparison and others of all its groups, or all bounds of a single group; and what is too much."""
    found: Bounds = {}
    if comparisons:
        found = {each.measure: each for each in comparisons if each.values.keys() >= comparisons[0].values.keys()}
    elif len(groups) == 1:
        found = {measure: of_groups[groups[0].key] for measure, of_groups in measured(groups).items()}
    shown = dict(list(found.items())[:MOST_BOUNDS])
    return shown, [measure for measure in found if measure not in shown]


def _headings(measures: Sequence[Measure]) -> dict[Measure, str]:
    """A heading each: the split and K, and what else it takes to tell two columns apart."""

    def told(measure: Measure, *, more: bool) -> str:
        final = "final " if measure.kind == "final" else ""
        parts = [f"{final}{measure.split}", f"$K={count(measure.k)}$"]
        if more:
            parts += [] if measure.examples is None else [f"{count(measure.examples)} examples"]
            parts += [f"eval seed {measure.seed}"]
        return ", ".join(parts)

    short = [told(measure, more=False) for measure in measures]
    return {measure: told(measure, more=short.count(text) > 1) for measure, text in zip(measures, short, strict=True)}


def _bound_column(
    heading: str, groups: Sequence[Group], found: Comparison | dict[int, float], *, marked: bool
) -> _Column:
    """A column of bounds; what is not tested in it is marked where other columns or rows are."""
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
    """The mean; and of how many seeds it is, where these are not all."""
    text = mean(found, bold=bold) + (_UNTESTED if marked else "")
    return text if found is None or found.n == len(group.seeds()) else f"{text} ($n={found.n}$)"


def _over_seeds(heading: str, groups: Sequence[Group], of: Callable[[Group], Aggregate | None]) -> _Column:
    return _Column(heading, {group.key: rate(found.mean) for group in groups if (found := of(group))})


def _final_bounds(groups: Sequence[Group]) -> _Column:
    """Of groups that have nothing to be compared by."""
    return _Column("final test", {group.key: _cell(group.bound(Split.TEST), group) for group in groups})


def _diagnostics(groups: Sequence[Group], measure: Measure | None) -> list[_Column]:
    """ESS and active units of the evaluation that the table shows."""
    if measure is None:
        return []
    found = {group.key: each for group in groups if (each := _evaluated(group, measure))}
    ess = {key: mean(each.ess, places=1) for key, each in found.items() if each.ess}
    active = {key: mean(each.active_units, places=0) for key, each in found.items() if each.active_units}
    return [_Column(heading, cells) for heading, cells in (("ESS", ess), ("active units", active)) if cells]


def _evaluated(group: Group, measure: Measure) -> Evaluated | None:
    """The evaluations of the group's last step that the measure is of."""
    if measure.examples is None:
        return None
    for row in group.seeds():
        step = row.summary.get("step")
        if isinstance(step, int):
            key = EvaluationKey(measure.split, measure.k, measure.seed, step, measure.examples)
            if (found := group.evaluations().get(key)) is not None:
                return found
    return None


def _caption(groups: Sequence[Group], compared: Sequence[Comparison], evaluated: Measure | None) -> str:
    told = [r"Bounds in nats per example, larger is better; mean $\pm$ standard error over seeds."]
    if compared:
        told.append(_of_the_test(compared))
    elif len(groups) > 1:
        told.append("The groups are of different data, pixels or $K$: they are not compared, and nothing is in bold.")
    if any(each.kind == "final" for each in (comparison.measure for comparison in compared)):
        told.append("Final bounds are those at the end of training, at its $K$.")
    if evaluated is not None:
        told.append(f"ESS and active units are those of {evaluated.split}, $K={count(evaluated.k)}$.")
    return " ".join(told)


def _of_the_test(compared: Sequence[Comparison]) -> str:
    """What bold means: the test, its level, the adjustment, and the seeds."""
    tested = [pair for each in compared for pair in each.pairs if pair.verdict != "untested"]
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
        f"In bold{columns}: the best mean and every group that a two-sided paired $t$-test over {over} does not find "
        rf"lower, at a level of {100.0 * LEVEL:g}\,\% over all pairs of groups by Holm's method."
        + (f" {_UNTESTED}~Not tested: fewer than {FEWEST_SEEDS} seeds are shared with the best." if few else "")
    )
