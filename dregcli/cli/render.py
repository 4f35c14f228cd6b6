"""The only place that prints: results to stdout, everything else to stderr."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dregcli.cli.progress import ProgressDisplay
from dregcli.errors import DregError
from dregcli.wording import encodable, printable

_PIPED_WIDTH = 200
"""Where nobody has a screen to wrap to, no cell is ever cut."""

_PIPED_GAP = 2
"""Characters between columns there."""

_GAP, _EDGES = 3, 2
"""Characters between columns, and outside of them, in the frame that terminals get."""

_LEAST_WIDTH = 8
"""Of a column, so that tables of few columns are not cramped."""


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value with NaN and infinities as None: JSON has no words for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("Sequence[Any]", value)]
    return value


def bytes_in_words(nbytes: int | None) -> str:
    """Bytes as people read them."""
    if nbytes is None:
        return "-"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes} B"


def columns_that_fit(widths: Sequence[int], available: int) -> list[list[int]]:
    """Columns cut into tables that are narrow enough, each with the first column, which says what a row is of.

    Args:
        widths: of the columns.
        available: of the terminal.

    Returns:
        Indices of columns, table by table; a column that is too wide for any has a table to itself.
    """
    tables = [[0]]
    for i in range(1, len(widths)):
        if len(tables[-1]) > 1 and not _fits(widths, [*tables[-1], i], available):
            tables.append([0])
        tables[-1].append(i)
    return tables


def _plain_lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str] | None:
    """A table of cells of one line each as rich lays it out without a frame, in a twentieth of the time."""
    if any("\n" in cell for row in rows for cell in row):
        return None
    gap, lines = " " * _PIPED_GAP, list[str]()
    for row in rows:
        spaces = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        first = row[0] + spaces[0]
        lines.append(gap.join([first, *(space + cell for cell, space in zip(row[1:], spaces[1:], strict=True))]))
    return lines


def _fits(widths: Sequence[int], columns: Sequence[int], available: int) -> bool:
    return sum(widths[j] + _GAP for j in columns) - _GAP + _EDGES <= available


class Terminal:
    """What a command shows, and what it tells while it works (an ``app.listener.Listener``).

    Args:
        as_json: the result is one JSON object on stdout.
        quiet: no progress and no notes; warnings and errors still show.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        if not self._out.is_terminal:
            self._out = Console(highlight=False, width=_PIPED_WIDTH)
        self._progress = ProgressDisplay(self._err, enabled=not quiet)

    def note(self, message: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._err.print(Text(printable(message)))

    def warn(self, message: str) -> None:
        """Something that may not be what the user wants."""
        self._err.print(Text.assemble(("warning: ", "yellow"), printable(message)))

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """A task begins."""
        self._progress.begin(printable(task), total, unit, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """The innermost task advances."""
        self._progress.update(done, values)

    def end(self) -> None:
        """The innermost task ends."""
        self._progress.end()

    def close(self) -> None:
        """Remove what is left of progress."""
        self._progress.close()

    def result(self, content: Mapping[str, Any]) -> None:
        """The result as JSON."""
        self._out.print(Text(json.dumps(finite(content), allow_nan=False)), soft_wrap=True)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str | None = None,
        styles: Sequence[Mapping[int, str]] | None = None,
    ) -> None:
        """The result as a table; the first column left, numbers right; ``styles`` of cells by row and column.

        On a terminal that is too narrow the columns that do not fit follow in further tables.
        """
        frame = box.SIMPLE_HEAD if self._out.is_terminal else None
        if title:  # a table's own title is wrapped to the width of its columns
            self._out.print(Text(printable(title), style="bold"), soft_wrap=True)
        # As they will be written, so that they are as wide as they are taken for.
        cells = [[encodable(printable(cell), sys.stdout.encoding) for cell in row] for row in rows]
        columns = [encodable(column, sys.stdout.encoding) for column in columns]
        widths = [
            max(_LEAST_WIDTH, cell_len(column), *(cell_len(row[i]) for row in cells))
            for i, column in enumerate(columns)
        ]
        if not self._out.is_terminal and (lines := _plain_lines([columns, *cells], widths)):
            self._out.out("\n".join(lines), highlight=False)
            return
        tables = columns_that_fit(widths, self._out.width) if self._out.is_terminal else [list(range(len(columns)))]
        for shown in tables:
            table = Table(box=frame, pad_edge=False)
            # What fits is not wrapped; of what cannot fit no character is lost.
            fits = not self._out.is_terminal or _fits(widths, shown, self._out.width)
            for j in shown:
                justify = "left" if j == 0 else "right"
                table.add_column(columns[j], justify=justify, overflow="fold", no_wrap=fits, min_width=_LEAST_WIDTH)
            for i, row in enumerate(cells):
                style: Mapping[int, str] = styles[i] if styles else {}
                table.add_row(*(Text(row[j], style=style.get(j, "")) for j in shown))
            piped = max(_PIPED_WIDTH, sum(widths) + _GAP * len(widths) + _EDGES)
            self._out.print(table, width=None if self._out.is_terminal else piped, crop=self._out.is_terminal)

    def follow(self, columns: Sequence[str], frames: Iterable[Sequence[Sequence[str]]]) -> None:
        """Shows a table that changes: in its place on a terminal, elsewhere the rows that changed, as notes.

        Args:
            columns: of all frames.
            frames: the rows, each time anew; the first cell says what a row is of.
        """
        if not self._out.is_terminal:
            self._follow_lines(columns, frames)
            return
        with Live(console=self._out, transient=True, auto_refresh=False) as live:
            for rows in frames:
                cells = [[printable(cell) for cell in row] for row in rows]
                widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
                # The last columns go where there is no room: numbers that are cut tell nothing.
                shown = columns_that_fit(widths, self._out.width)[0]
                table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
                for j in shown:
                    table.add_column(columns[j], justify="left" if j == 0 else "right", no_wrap=True)
                for row in cells:
                    table.add_row(*(Text(row[j]) for j in shown))
                live.update(table, refresh=True)

    def _follow_lines(self, columns: Sequence[str], frames: Iterable[Sequence[Sequence[str]]]) -> None:
        before: dict[str, Sequence[str]] = {}
        for rows in frames:
            for row in rows:
                if before.get(row[0]) != row:
                    told = (f"{column} {cell}" for column, cell in zip(columns[1:], row[1:], strict=True) if cell)
                    self.note(f"{row[0]}: {', '.join(told)}")
                before[row[0]] = row

    def show(self, content: RenderableType) -> None:
        """A part of the result that a command has laid out itself; colours only on a terminal."""
        self._out.print(content)

    @property
    def picture_width(self) -> int:
        """Characters in a line for a picture; 0 where none can be shown, as in a pipe or without enough colours."""
        can = self._out.is_terminal and self._out.color_system in ("256", "truecolor") and not self.quiet
        return self._out.width if can and self._out.encoding.startswith("utf") else 0

    def line(self, text: str = "") -> None:
        """A line of the result."""
        self._out.print(Text(printable(text)), soft_wrap=True)

    def document(self, text: str) -> None:
        """The result as another program reads it: no line is wrapped, and lines end as they are."""
        parts = [printable(part) for part in text.split("\r\n")]
        self._out.out("\r\n".join(parts), highlight=False, end="")

    def error(self, error: DregError) -> None:
        """What happened, where, and what to type next."""
        first, *rest = printable(error.what).splitlines()
        self._err.print(Text.assemble(("error: ", "bold red"), first))
        for line in rest:
            self._err.print(Text(f"       {line}"))
        if error.where:
            self._err.print(Text(f"where: {printable(error.where)}"))
        if error.hint:
            self._err.print(Text.assemble(("next:  ", "green"), printable(error.hint)))
        if self.as_json:
            content = {"what": error.what, "where": error.where, "next": error.hint, "exit_code": error.exit_code}
            self.result({"error": content})
