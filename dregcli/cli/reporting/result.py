"""The output of a report in the terminal."""

from typing import TYPE_CHECKING

from dregcli.cli.render import Terminal
from dregcli.describe import shared_in_words
from dregcli.names import Split
from dregcli.parts import shown_word
from dregcli.wording import counted, difference, with_error

if TYPE_CHECKING:
    from dregcli.app.reporting.report import Aggregate, Comparison, Group, Report
    from dregcli.report.along import Along
    from dregcli.report.arrangement import Arrangement
    from dregcli.report.layers import OfLayer
    from dregcli.report.sections import ReportSection
    from dregcli.report.tables import Table

_STYLES = {"best": "bold", "live": "cyan", "stopped": "yellow", "broken": "red"}


def show(terminal: Terminal, report: "Report", *, time_to: float | None, chosen: "Arrangement | None" = None) -> None:
    """Show the report section by section: the table of its groups, paired comparisons, then each group.

    Args:
        terminal: where to show it.
        report: the report.
        time_to: bound for the time that runs took to reach it, nats per example.
        chosen: the user's choice of columns and order for the tables of groups.
    """
    from dregcli.report.comparison import shown_first

    for number, section in enumerate(report.sections):
        if number:
            terminal.line()
        _heading(terminal, section)
        _groups(terminal, section, time_to, chosen)
        for comparison in shown_first(section.comparisons):
            terminal.line()
            _comparison(terminal, section, comparison)
        for group in section.groups:
            terminal.line()
            _runs(terminal, section, group, time_to)
            _means(terminal, group)
            _evaluations(terminal, group)
            _verdicts(terminal, group)
            _tracked(terminal, group)
    for found in report.along:
        _along(terminal, report, found)


def _heading(terminal: Terminal, section: "ReportSection") -> None:
    """Show the title, the settings that all groups share, and the checksums of the data."""
    runs = sum(len(group.rows) for group in section.groups)
    counts = f"{counted(runs, 'run')} in {counted(len(section.groups), 'group')}"
    terminal.heading(f"{section.title}: {counts}")
    terminal.line(shared_in_words([group.spec for group in section.groups]))
    hashes = {
        ", ".join(f"{split} {digest[:12]}" for split, digest in row.split_hashes.items())
        for group in section.groups
        for row in group.rows
    }
    for text in sorted(hashes - {""}):
        terminal.line(f"splits: {text}")
    terminal.line()


def _groups(
    terminal: Terminal, section: "ReportSection", time_to: float | None, chosen: "Arrangement | None"
) -> None:
    """Show one row per group, with the values that decide between groups."""
    from dregcli.report.arrangement import USUAL
    from dregcli.report.groups_table import groups_table

    table = groups_table(
        section.groups,
        section.labels,
        section.comparisons,
        section.sparklines(),
        time_to=time_to,
        chosen=chosen or USUAL,
    )
    _table(terminal, table)
    for sentence in section.legend:
        terminal.line(sentence)


def _comparison(terminal: Terminal, section: "ReportSection", found: "Comparison") -> None:
    from dregcli.report.tables import pairs_table, shown_pairs

    _table(terminal, pairs_table(found, section.labels, shown_pairs(found)))


def _along(terminal: Terminal, report: "Report", found: "Along") -> None:
    """Show the pairs that differ in one setting alone."""
    from dregcli.report.along import along_table

    table = along_table(found, report.labels)
    if table.rows or table.notes:
        terminal.line()
    if table.rows:
        _table(terminal, table)
    for note in () if table.rows else table.notes:
        terminal.line(f"along {found.name}: {note}")


def _runs(terminal: Terminal, section: "ReportSection", group: "Group", time_to: float | None) -> None:
    from dregcli.report.tables import Cell, Column, Table, run_cells, run_columns

    names = {row.name for row in group.rows}
    is_short = len(names) == 1 and not any(row.elsewhere for row in group.rows)
    rows = [(Cell(row.version if is_short else row.label), *run_cells(row, time_to=time_to)) for row in group.rows]
    columns = (Column("run", numeric=False), *run_columns(time_to))
    title = f"{section.labels[group.key]}: {', '.join(sorted(names))}"
    _table(terminal, Table(title, columns, tuple(rows)))


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
        of = f"{key.split} bound at K={key.k}, {key.n:,} examples, step {found.step_in_words}, eval seed {key.seed}"
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
        if found.layers:
            layers = "; ".join(_layer(name, layer) for name, layer in found.layers.items())
            terminal.line(f"eval by layer, nearest to x first: {layers}")


def _layer(name: str, found: "OfLayer") -> str:
    """Describe one layer: its part of the KL, its active units, and in how many evaluations it has collapsed."""
    parts = [f"part of the KL {with_error(found.kl.mean, found.kl.stderr)}"] if found.kl else []
    if found.active_units:
        of = f" of {found.units}" if found.units else ""
        parts.append(f"active units {found.active_units.mean:.3g}{of}")
    parts += [f"collapsed in {counted(found.collapsed, 'evaluation')}"] if found.collapsed else []
    return f"{name} {', '.join(parts)}"


def _verdicts(terminal: Terminal, group: "Group") -> None:
    from dregcli.report.groups import bias_to_tested

    for path, found in group.bias():
        pair = shown_word(f"{found['objective']}/{found['estimator']}")
        sizes = {"bias/tested": bias_to_tested(found), "bias/whole": found.get("relative_bias")}
        bias = "".join(f", {name} {size:.4f}" for name, size in sizes.items() if size is not None)
        terminal.line(f"bias: {pair} at K={found['k']}: {found['verdict']}{bias} ({path})")
    for row in group.rows:
        if row.variance:
            terminal.line(f"variance: {row.variance[-1]['summary']} ({row.path})")


def _tracked(terminal: Terminal, group: "Group") -> None:
    from dregcli.report.tables import TRACKED_TITLE, Table, tracked_columns, tracked_note, tracked_rows

    if rows := tracked_rows(group):
        note = tracked_note(group)
        table = Table(TRACKED_TITLE, tuple(tracked_columns()), tuple(rows), (note,) if note else ())
        _table(terminal, table, names=2)


def _table(terminal: Terminal, table: "Table", *, names: int = 1) -> None:
    rows = [[cell.text for cell in row] for row in table.rows]
    styles = [{j: _STYLES[cell.tone] for j, cell in enumerate(row) if cell.tone} for row in table.rows]
    terminal.table([column.name for column in table.columns], rows, title=table.title, styles=styles, names=names)
    for note in table.notes:
        terminal.line(note)
