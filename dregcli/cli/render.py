"""The only place that prints: results to stdout, everything else to stderr."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

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
"""Smallest width of piped output in characters: without a screen, no cell is wrapped or cut."""

_PIPED_GAP = 2
"""Characters between columns in piped output."""

_GAP, _EDGES = 3, 2
"""Characters between columns, and outside them, in the frame of a table on a terminal."""

_LEAST_WIDTH = 8
"""Smallest width of a column in characters, so that tables with few columns are not cramped."""


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("Sequence[Any]", value)]
    return value


def bytes_in_words(nbytes: int | None) -> str:
    """Format a number of bytes for people."""
    if nbytes is None:
        return "-"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes} B"


def columns_that_fit(widths: Sequence[int], available: int) -> list[list[int]]:
    """Divide columns among tables that are narrow enough, each with the first column, which names the rows.

    Args:
        widths: widths of the columns in characters.
        available: width of the terminal in characters.

    Returns:
        The indices of the columns of each table. A column that is too wide for any table gets its own table.
    """
    tables = [[0]]
    for i in range(1, len(widths)):
        if len(tables[-1]) > 1 and not _fits(widths, [*tables[-1], i], available):
            tables.append([0])
        tables[-1].append(i)
    return tables


def _plain_lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str] | None:
    """Lay out a table without a frame as rich does, in a twentieth of the time; None if a cell has several lines."""
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
    """Shows the results of a command, and its progress, notes and warnings (an ``app.common.listener.Listener``).

    Use it as a context around the work of the command: at the end of the block, also after an error, it removes the
    progress that is still shown. It can show results afterwards.

    Args:
        as_json: whether the result is one JSON object on stdout.
        quiet: whether to hide progress and notes; warnings and errors are still shown.
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
        """Show useful information."""
        if not self.quiet:
            self._err.print(Text(printable(message)))

    def warn(self, message: str) -> None:
        """Warn about something that the user may not want."""
        self._err.print(Text.assemble(("warning: ", "yellow"), printable(message)))

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a task."""
        self._progress.begin(printable(task), total, unit, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Advance the innermost task."""
        self._progress.update(done, values)

    def expect(self, seconds: float) -> None:
        """Show how long all the work is expected to take still."""
        self._progress.expect(seconds)

    def end(self) -> None:
        """End the innermost task."""
        self._progress.end()

    def __enter__(self) -> Self:
        """Begin the work of the command."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove all progress that is still shown."""
        self._progress.close()

    def result(self, content: Mapping[str, Any]) -> None:
        """Print the result as JSON."""
        self._out.print(Text(json.dumps(finite(content), allow_nan=False)), soft_wrap=True)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str | None = None,
        styles: Sequence[Mapping[int, str]] | None = None,
    ) -> None:
        """Print the result as a table, with the first column on the left and numbers on the right.

        On a terminal that is too narrow, the columns that do not fit follow in further tables.

        Args:
            columns: titles of the columns.
            rows: the cells of each row.
            title: line above the table.
            styles: for each row, the styles of its cells by column.
        """
        frame = box.SIMPLE_HEAD if self._out.is_terminal else None
        if title:  # a table's own title is wrapped to the width of its columns
            self._out.print(Text(printable(title), style="bold"), soft_wrap=True)
        # Converted before measuring, so that the widths are those of the written text.
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
            # A table that fits is not wrapped. A table that cannot fit is folded, and no character is lost.
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
        """Show a table that changes: updated in place on a terminal; elsewhere, the changed rows as notes.

        Args:
            columns: titles of the columns, the same for all frames.
            frames: all rows of each frame; the first cell names the row.
        """
        if not self._out.is_terminal:
            self._follow_lines(columns, frames)
            return
        with Live(console=self._out, transient=True, auto_refresh=False) as live:
            for rows in frames:
                cells = [[printable(cell) for cell in row] for row in rows]
                widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
                # If there is no room, the last columns are left out: cut numbers would be useless.
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
                    texts = (f"{column} {cell}" for column, cell in zip(columns[1:], row[1:], strict=True) if cell)
                    self.note(f"{row[0]}: {', '.join(texts)}")
                before[row[0]] = row

    def show(self, content: RenderableType) -> None:
        """Print a part of the result that the command has laid out itself; colours appear only on a terminal."""
        self._out.print(content)

    @property
    def picture_width(self) -> int:
        """Width for pictures in characters; 0 if none can be shown, as in a pipe or with too few colours."""
        can = self._out.is_terminal and self._out.color_system in ("256", "truecolor") and not self.quiet
        return self._out.width if can and self._out.encoding.startswith("utf") else 0

    def line(self, text: str = "") -> None:
        """Print a line of the result."""
        self._out.print(Text(printable(text)), soft_wrap=True)

    def document(self, text: str) -> None:
        """Print a result for another program: lines are not wrapped, and line ends are not changed."""
        parts = [printable(part) for part in text.split("\r\n")]
        self._out.out("\r\n".join(parts), highlight=False, end="")

    def error(self, error: DregError) -> None:
        """Show an error: what happened, where, and what to type next."""
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
