"""The tables of a published experiment: our numbers, and the published ones beside them."""

from collections.abc import Sequence

from dregcli.report.papers.outcome import Compared, Drawing, Point
from dregcli.report.tables import (
    NOTHING,
    Cell,
    Column,
    Table,
    count,
    mean,
    paired_difference,
    verdict_in_words,
)
from dregcli.wording import AT_FLOOR, interval, scientific, with_error

_READ = {
    "table": "table",
    "text": "text",
    "eye": "by eye in a picture",
    "theory": "theorem",
}
"""How a number was read, in words."""


def differences_table(compared: Sequence[Compared]) -> Table:
    """Return a table with one row for each published number."""
    columns = (
        Column("published number", numeric=False),
        Column("ours ± s.e."),
        Column("seeds"),
        Column("published"),
        Column("difference ± s.e."),
        Column("read in", numeric=False),
        Column("ours is shorter", numeric=False),
        Column("what was published", numeric=False),
    )
    rows = [
        (
            Cell(f"{each.quantity}: {each.label}"),
            mean(each.ours),
            NOTHING if each.ours is None else Cell(str(each.ours.n), each.ours.n),
            Cell(with_error(each.published["value"], each.published["error"]), each.published["value"]),
            NOTHING if each.difference is None else Cell(_signed(each.difference, each.stderr), each.difference),
            Cell(f"{_READ[each.published['read']]}; {each.published['source']}"),
            Cell(each.shorter or "not scaled"),
            Cell(each.published["what"]),
        )
        for each in compared
    ]
    notes = [
        "s.e.: over seeds, together with the published error where it is known; with one seed, that of its "
        "replicates, if it is known."
    ]
    return Table("published numbers beside ours", columns, tuple(rows), tuple(notes))


def panel_table(drawing: Drawing) -> Table:
    """Return a table with one row for each line of a panel, and one column for each x."""
    xs = sorted({each.x for line in drawing.lines for each in line.points if each.x is not None})
    show = scientific if drawing.is_log else with_error

    def cell(found: Point | None) -> Cell:
        if found is None:
            return NOTHING
        return Cell(AT_FLOOR if drawing.is_noise(found) else show(found.y.mean, found.y.stderr), found.y.mean)

    at: list[float | None] = [*xs] or [None]
    columns = [
        Column("line", numeric=False),
        *(Column("at the end" if x is None else f"{drawing.x} {x:g}") for x in at),
    ]
    rows = [
        (Cell(line.label), *(cell(next((each for each in line.points if each.x == x), None)) for x in at))
        for line in drawing.lines
    ]
    return Table(f"{drawing.title}, {drawing.y}: mean ± s.e.", tuple(columns), tuple(rows))


def pairs_table(drawing: Drawing) -> Table:
    """Return a table with one row for each difference of two lines at the end of training."""
    columns = (
        Column("difference", numeric=False),
        Column("nats ± s.e."),
        Column("95 % interval"),
        Column("shared seeds"),
        Column("verdict", numeric=False),
    )
    labels = {label: label for each in drawing.pairs for label in (each.a, each.b)}
    rows = [
        (
            Cell(f"{each.a} minus {each.b}"),
            paired_difference(each),
            Cell(interval(each.interval, each.stderr), each.interval[0]) if each.interval else NOTHING,
            count(len(each.seeds)),
            Cell(verdict_in_words(each, labels)),
        )
        for each in drawing.pairs
    ]
    tests = sum(each.adjusted is not None for each in drawing.pairs)
    note = (
        f"verdicts by Student's t, adjusted by Holm's method for these {tests} tests: any is false with at most 5 %."
    )
    return Table(f"{drawing.title}: differences over shared seeds", columns, tuple(rows), (note,) if tests else ())


def _signed(value: float, stderr: float | None) -> str:
    text = with_error(value, stderr)
    return text if value < 0 else f"+{text}"
