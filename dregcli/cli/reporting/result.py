"""The output of a report in the terminal."""

from typing import TYPE_CHECKING

from dregcli.cli.render import Terminal
from dregcli.describe import experiment_in_words
from dregcli.names import Split
from dregcli.wording import counted, difference, with_error

if TYPE_CHECKING:
    from dregcli.app.reporting.report import Aggregate, Comparison, Group, Report
    from dregcli.report.tables import Table

_STYLES = {"best": "bold", "live": "cyan", "stopped": "yellow", "broken": "red"}


def show(terminal: Terminal, report: "Report", *, time_to: float | None) -> None:
    """Show every group, then the table of all groups, then the paired comparison."""
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
    from dregcli.report.tables import Cell, Column, Table, run_cells, run_columns

    names = {row.name for row in group.rows}
    is_short = len(names) == 1 and not any(row.elsewhere for row in group.rows)
    rows = [(Cell(row.version if is_short else row.label), *run_cells(row, time_to=time_to)) for row in group.rows]
    columns = (Column("run", numeric=False), *run_columns(time_to))
    title = f"{', '.join(sorted(names))}: {experiment_in_words(group.spec)}"
    _table(terminal, Table(title, columns, tuple(rows)))
    for row in group.rows:
        if hashes := row.split_hashes:
            terminal.line(f"splits: {', '.join(f'{split} {digest[:12]}' for split, digest in hashes.items())}")
            break


def _table(terminal: Terminal, table: "Table") -> None:
    rows = [[cell.text for cell in row] for row in table.rows]
    styles = [{j: _STYLES[cell.tone] for j, cell in enumerate(row) if cell.tone} for row in table.rows]
    terminal.table([column.name for column in table.columns], rows, title=table.title, styles=styles)
    for note in table.notes:
        terminal.line(note)


def _means(terminal: Terminal, group: "Group") -> None:
    seeds = len(group.seeds())
    means = [
        f"{split} {with_error(a.mean, a.stderr)}{_in_brackets(a, seeds, group.examples(split))}"
        for split in Split
        if (a := group.bound(split))
    ]
    if means:
        terminal.line(f"bound, mean ± s.e. over {counted(seeds, 'seed')}, nats per example: {', '.join(means)}")
    gains = [
        f"{split} {with_error(before.mean, None)} {difference(gain.mean, gain.stderr)}"
        for split in Split
        if (before := group.before(split)) and (gain := group.gain(split))
    ]
    if gains:
        terminal.line(f"bound of the parent, and gain from the encoder alone: {', '.join(gains)}")


def _in_brackets(found: "Aggregate", seeds: int, examples: int | None) -> str:
    """Return the number of examples, the best seed's value, and the number of seeds if some are missing."""
    parts = [f"{examples:,} examples"] if examples else []
    parts += [f"best {with_error(found.best, None)}"] if found.n > 1 else []
    parts += [f"{found.n} of {seeds} seeds"] if found.n < seeds else []
    return f" ({', '.join(parts)})" if parts else ""


def _evaluations(terminal: Terminal, group: "Group") -> None:
    for key, found in group.evaluations().items():
        a = found.bound
        of = f"{key.split} bound at K={key.k}, {key.n:,} examples, step {key.checkpoint}, eval seed {key.seed}"
        parts = [f"eval: {of}: {with_error(a.mean, a.stderr)} nats, {counted(a.n, 'seed')}"]
        if found.ess:
            parts.append(f"ESS {found.ess.mean:.1f}")
        if found.khat:
            parts.append(f"median k-hat {found.khat.mean:.2f}")
        if found.khat_share:
            parts.append(f"k-hat above 0.7: {100.0 * found.khat_share.mean:.3g} %")
        if found.active_units:
            parts.append(f"active units {found.active_units.mean:.3g}")
        terminal.line("; ".join(parts))


def _verdicts(terminal: Terminal, group: "Group") -> None:
    from dregcli.report.groups import bias_to_tested

    for path, found in group.bias():
        sizes = {"bias/tested": bias_to_tested(found), "bias/whole": found.get("relative_bias")}
        bias = "".join(f", {name} {size:.4f}" for name, size in sizes.items() if size is not None)
        terminal.line(
            f"bias: {found['objective']}/{found['estimator']} at K={found['k']}: {found['verdict']}{bias} ({path})"
        )
    for row in group.rows:
        if row.variance:
            terminal.line(f"variance: {row.variance[-1]['summary']} ({row.path})")


def _tracked(terminal: Terminal, group: "Group") -> None:
    from dregcli.report.tables import TRACKED_TITLE, Table, tracked_columns, tracked_note, tracked_rows

    if rows := tracked_rows(group):
        note = tracked_note(group)
        table = Table(TRACKED_TITLE, tuple(tracked_columns()), tuple(rows), (note,) if note else ())
        _table(terminal, table)


def _groups(terminal: Terminal, report: "Report", time_to: float | None) -> None:
    """Show one row per group, with the values that decide between groups."""
    from dregcli.report.tables import groups_table

    curves = report.sparklines()
    _table(terminal, groups_table(report.groups, report.labels, report.comparisons, curves, time_to=time_to))


def _comparison(terminal: Terminal, report: "Report", found: "Comparison") -> None:
    from dregcli.report.tables import pairs_table, shown_pairs

    _table(terminal, pairs_table(found, report.labels, shown_pairs(found)))
