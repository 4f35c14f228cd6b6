"""Tables of a report: every cell has a text, and the number by which it is sorted.

The terminal shows the texts. A page also sorts by the numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dregcli.columns import at_floor
from dregcli.names import RunStatus, Split
from dregcli.report.aggregate import Aggregate
from dregcli.report.comparison import Comparison
from dregcli.report.groups import Group, RunRow
from dregcli.report.paired import FEWEST_SEEDS, Paired
from dregcli.wording import AT_FLOOR, difference, interval, scientific, with_error

Tone = Literal["", "best", "live", "stopped", "broken"]

MOST_PAIRS: Final = 6
"""Most pairs of groups that are all shown. If there are more, only pairs with the best group are shown."""

TRACKED: Final = {
    "encoder variance": "posterior_variance",
    "encoder SNR": "posterior_snr",
    "decoder variance": "model_variance",
    "decoder SNR": "model_snr",
}
"""Columns of the table of tracked estimators, with the quantity in each."""

_TONES: Final[dict[RunStatus, Tone]] = {
    RunStatus.RUNNING: "live",
    RunStatus.INTERRUPTED: "stopped",
    RunStatus.CRASHED: "broken",
    RunStatus.FAILED: "broken",
}


@dataclass(frozen=True)
class Cell:
    """A text and the number that it shows; None if it shows no number, or the number is not known."""

    text: str
    value: float | None = None
    tone: Tone = ""

    @property
    def key(self) -> float | None:
        """Number by which the cell is sorted; None if it is not finite."""
        return self.value if self.value is not None and math.isfinite(self.value) else None


@dataclass(frozen=True)
class Column:
    """Heading of a column, and whether the column holds numbers."""

    name: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table. The first cell of a row names the row.

    Attributes:
        title: title of the table.
        columns: headings.
        rows: rows of cells, one cell per column.
        notes: sentences that explain the table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


NOTHING: Final = Cell("-")


def quantity(value: float | None) -> Cell:
    """Return a cell with a number, such as a bound."""
    return NOTHING if value is None else Cell(with_error(value, None), float(value))


def count(value: object) -> Cell:
    """Return a cell with a whole number. Any other value counts as not known."""
    return Cell(str(value), float(value)) if isinstance(value, int) and not isinstance(value, bool) else NOTHING


def mean(found: Aggregate | None, tone: Tone = "") -> Cell:
    """Return a cell with a mean and its standard error."""
    return Cell(with_error(found.mean, found.stderr), found.mean, tone) if found else NOTHING


def seconds(value: float | None) -> Cell:
    """Return a cell with a time in seconds."""
    return NOTHING if value is None else Cell(f"{value:.1f} s", value)


def run_columns(time_to: float | None) -> list[Column]:
    """Return the columns of ``run_cells``."""
    kinds = {"seed": True, "status": False, "step": True, **dict.fromkeys(Split, True), "steps/s": True}
    time = [] if time_to is None else [Column(f"time to {time_to:g}")]
    return [*(Column(name, numeric) for name, numeric in kinds.items()), *time]


def run_cells(row: RunRow, *, time_to: float | None) -> list[Cell]:
    """Return the cells of one run in a table of runs, without its name."""
    return [
        count(row.seed),
        Cell(row.status.value, tone=_TONES.get(row.status, "")),
        count(row.summary.get("step")),
        *(quantity(row.bound(split)) for split in Split),
        quantity(row.steps_per_second),
        *([] if time_to is None else [seconds(row.seconds_to(time_to))]),
    ]


def some_seeds(n: int, of: int) -> Cell:
    """Return a cell with the number of seeds of a mean, and the number of all seeds if some are missing."""
    return Cell(str(n) if n in (0, of) and not (n == 0 < of) else f"{n} of {of}", float(n))


def shown_pairs(found: Comparison) -> Sequence[Paired]:
    """Return all pairs if there are few, else the pairs with the best group."""
    return found.pairs if len(found.pairs) <= MOST_PAIRS else found.against(found.best)


def pairs_table(found: Comparison, labels: Mapping[str, str], pairs: Sequence[Paired]) -> Table:
    """Return a table with one row per pair of groups: the difference, and the verdict on it."""
    return table_of_pairs(f"paired over seeds: {found.measure.text}", labels, pairs, tests=found.tests)


def table_of_pairs(
    title: str, labels: Mapping[str, str], pairs: Sequence[Paired], *, tests: int, family: str = ""
) -> Table:
    """Return a table with one row per pair of groups.

    Args:
        title: title of the table.
        labels: labels of the groups, by key.
        pairs: the pairs.
        tests: number of tests for which the p-values are adjusted.
        family: in words where these tests are, if other tables have some of them.
    """
    columns = [
        Column("difference", numeric=False),
        Column("nats ± s.e."),
        Column("verdict", numeric=False),
        *(Column(name) for name in ("p (Holm)", "t", "p", "95 % interval", "shared seeds")),
    ]
    rows = [
        (
            Cell(f"{labels[pair.a]} minus {labels[pair.b]}"),
            paired_difference(pair),
            Cell(verdict_in_words(pair, labels)),
            _p(pair.adjusted),
            NOTHING if pair.t is None else Cell(f"{pair.t:+.2f}", pair.t),
            _p(pair.p),
            Cell(interval(pair.interval, pair.stderr), pair.interval[0]) if pair.interval else NOTHING,
            count(len(pair.seeds)),
        )
        for pair in pairs
    ]
    of_all = f"the {tests} tested pairs{family}" if tests > 1 else "the one tested pair"
    notes = [
        "t: nats / s.e. p and the interval follow from it by Student's t, with one degree of freedom fewer than "
        f"shared seeds, for each pair alone. p (Holm): p adjusted for {of_all}, so that the chance of any false "
        "verdict is at most 5 %."
    ]
    if any(pair.verdict == "undecided" for pair in pairs):
        notes.append(
            "Seeds to decide: with so many seeds, the test would find a difference of this size with a chance of "
            "80 %."
        )
    tested = any(pair.adjusted is not None for pair in pairs)
    return Table(title, tuple(columns), tuple(rows), tuple(notes if tested else []))


def paired_difference(pair: Paired) -> Cell:
    """Return a cell with the mean difference of a pair over shared seeds, and its standard error."""
    return Cell(difference(pair.difference, pair.stderr), pair.difference) if pair.seeds else NOTHING


def _p(value: float | None) -> Cell:
    return NOTHING if value is None else Cell(f"{value:.2g}", value)


def verdict_in_words(pair: Paired, labels: Mapping[str, str]) -> str:
    """Say which group is higher, or why the test does not decide."""
    if pair.verdict == "untested":
        return f"not tested: fewer than {FEWEST_SEEDS} shared seeds"
    if pair.verdict == "undecided":
        about = "more than 10,000" if pair.needed is None else f"about {pair.needed:,}"
        return f"undecided: {about} seeds to decide"
    if pair.verdict == "identical":
        return "identical"
    return f"{labels[pair.a if pair.verdict == 'higher' else pair.b]} is higher"


def tracked_columns() -> list[Column]:
    """Return the columns of ``tracked_rows``."""
    return [Column("estimator", numeric=False), Column("over", numeric=False), *map(Column, TRACKED)]


def tracked_rows(group: Group) -> list[tuple[Cell, ...]]:
    """Return the tracked statistics of each estimator: a row of moving averages, and of windows if there are any."""
    kinds = {"moving average": ""} | ({"windows": "_window"} if group.tracked_window() else {})
    return [
        (
            Cell(word),
            Cell(kind),
            *(_tracked_cell(each.get(name + end), group.tracked_floor(name + end)) for name in TRACKED.values()),
        )
        for word, each in group.tracked().items()
        for kind, end in kinds.items()
    ]


def _tracked_cell(found: Aggregate | None, floor: float | None) -> Cell:
    if found is None:
        return NOTHING
    return Cell(AT_FLOOR if at_floor(found.mean, floor) else scientific(found.mean, found.stderr), found.mean)


TRACKED_TITLE: Final = (
    "gradients of tracked estimators at the end of training, means over coordinates, ± s.e. over seeds"
)


def tracked_note(group: Group) -> str | None:
    """Describe the windows of a group; None if it has none."""
    if not (window := group.tracked_window()):
        return None
    steps, floor = window
    return (
        f"windows: means over the last tenth of training, each window with {steps:.0f} steps; pure noise has an SNR "
        f"of about {floor:.3f} in windows, and of {group.tracked_floor('model_snr'):.3f} in moving averages"
    )


def share(found: Aggregate | None) -> Cell:
    """Return a cell with a share of examples in per cent."""
    return Cell(f"{100.0 * found.mean:.3g} %", found.mean) if found else NOTHING


def in_brief(found: Aggregate | None, form: str) -> Cell:
    """Return a cell with a formatted mean, without its standard error."""
    return Cell(format(found.mean, form), found.mean) if found else NOTHING
