"""The arrangement of a table: the columns and the order of the rows that the user chose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Arrangement:
    """The columns of a table and the order of its rows, as the user chose them.

    Attributes:
        columns: names of the columns in the order in which they are shown; empty for the usual ones.
        sort: name of the column by which the rows are sorted; None for the usual order.
        reverse: whether the largest values come first.
    """

    columns: tuple[str, ...] = ()
    sort: str | None = None
    reverse: bool = False

    def unknown(self, known: Sequence[str]) -> dict[str, list[str]]:
        """Return the names that a table does not have, by the option with which the user gave them."""
        given = {"columns": self.columns, "sort": (self.sort,) if self.sort else ()}
        return {option: [name for name in names if name not in known] for option, names in given.items()}

    def only(self, known: Sequence[str]) -> "Arrangement":
        """Return the choice without the names that a table does not have."""
        columns = tuple(name for name in self.columns if name in known)
        return Arrangement(columns, self.sort if self.sort in known else None, self.reverse)

    def ordered(self, rows: Sequence[Row], value: Callable[[Row], tuple[float | None, str]]) -> list[Row]:
        """Return the rows in the order of the column ``sort``, numbers before texts.

        Args:
            rows: the rows in their usual order, which they keep if there is no column to sort by.
            value: the number of a row in that column, or None, and its text. Rows without a text stay at the end in
                both directions.
        """
        if self.sort is None:
            return list(rows)
        values = [value(row) for row in rows]
        known = [i for i, (_, text) in enumerate(values) if text]
        known.sort(key=lambda i: (values[i][0] is None, values[i][0] or 0.0, values[i][1]), reverse=self.reverse)
        return [rows[i] for i in (*known, *(i for i, (_, text) in enumerate(values) if not text))]


USUAL: Final = Arrangement()
