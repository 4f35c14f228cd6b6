"""Tables as dicts of columns, which pandas and polars take as they are, and which a notebook shows as a table."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, cast

from dregcli.wording import typed_list

_ROWS: Final = 30
"""Most rows that a notebook shows."""


class Frame(dict[str, Any]):
    """A dict of columns of equal length: lists, or arrays of NumPy. ``pandas.DataFrame(frame)`` takes it as it is."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values()), ()))

    def __repr__(self) -> str:
        """Return the size and the names of the columns."""
        return f"<Frame of {self.rows} rows: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """Return an HTML table, as notebooks show it."""
        shown = min(self.rows, _ROWS)
        body = [[_text(column[row]) for column in self.values()] for row in range(shown)]
        more = f"<p>{self.rows - shown} more rows</p>" if self.rows > shown else ""
        return html_table(list(self), body) + more


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()) -> Frame:
    """Return the columns of some rows, each a mapping of plain values; a value that a row lacks is None.

    Each column has one type: lists become texts as the command line takes them, whole numbers become floats beside
    floats, and all values become texts beside texts.

    Args:
        rows: the rows.
        columns: columns that the frame has even without any row; they come first.
    """
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    return Frame({name: _one_type([_plain(row.get(name)) for row in rows]) for name in names})


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a spec
    if isinstance(value, list | tuple):
        return typed_list(cast("Sequence[object]", value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _one_type(column: list[Any]) -> list[Any]:
    kinds: set[type] = {type(value) for value in column if value is not None}
    if len(kinds) < 2:
        return column
    kind = float if kinds == {int, float} else str
    return [None if value is None else kind(value) for value in column]


def _text(value: Any) -> str:  # noqa: ANN401 - any value of a table
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of texts; an empty head is left out."""
    lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"
