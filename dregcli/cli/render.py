"""The only place that prints: results to stdout, everything else to stderr."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from dregcli.cli.layout import Line, lay_out, lines_of, listed_lines
from dregcli.cli.progress import ProgressDisplay
from dregcli.errors import DregError
from dregcli.wording import encodable, printable

_PIPED_WIDTH = 200
"""Width of piped paragraphs in characters. Piped tables are as wide as they need."""


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


class Terminal:
    """Shows the results of a command, and its progress, notes and warnings (an ``app.common.listener.Listener``).

    Use it as a context around the work of the command: at the end of the block, also after an error, it removes the
    progress that is still shown. It can show results afterwards.

    Args:
        as_json: whether the result is one JSON object on stdout.
        quiet: whether to hide progress and notes; warnings and errors are still shown.
        width: width of tables in characters; None for the terminal's, and for no limit in a pipe.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, width: int | None = None) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        if not self._out.is_terminal:
            self._out = Console(highlight=False, width=_PIPED_WIDTH)
        self._progress = ProgressDisplay(self._err, enabled=not quiet)
        self._width = width

    @property
    def _room(self) -> int | None:
        """Width for tables in characters; None if there is no limit."""
        return self._width or (self._out.width if self._out.is_terminal else None)

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

    def beside(self, label: str) -> "Beside":
        """Return a listener for one of several pieces of work that go on at once; its progress shows its label."""
        return Beside(self, self._progress.beside(printable(label)))

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
        names: int = 1,
    ) -> None:
        """Print the result as a table, with the first column on the left and numbers on the right.

        Piped output has all columns, as wide as they need. On a terminal, a table that is too wide is divided; see
        ``dregcli.cli.layout``. So the columns that matter most must come first.

        Args:
            columns: titles of the columns.
            rows: the cells of each row; an empty row is a blank line.
            title: line above the table.
            styles: for each row, the styles of its cells by column.
            names: number of columns, from the first one, that name the rows.
        """
        if title:
            self._out.print(Text(printable(title), style="bold"), soft_wrap=True)
        # Converted before measuring, so that the widths are those of the written text.
        encoding = sys.stdout.encoding
        cells = [[encodable(printable(cell), encoding) for cell in row] or [""] * len(columns) for row in rows]
        columns = [encodable(column, encoding) for column in columns]
        layout = lay_out(columns, cells, self._room, names=names)
        for number, block in enumerate(layout.blocks):
            blank: list[Line] = [[]] if number else []
            self._lines([*blank, *lines_of(block, columns, cells, styles)])
        if layout.listed and self._room:
            self._lines([[(line, "")] for line in ("", *listed_lines(layout, columns, cells, self._room))])

    def _lines(self, lines: Sequence[Line]) -> None:
        """Print lines that are laid out already."""
        if not self._out.is_terminal:
            self._out.out("\n".join("".join(text for text, _ in line) for line in lines), highlight=False)
            return
        for line in lines:
            self._out.print(Text.assemble(*line), soft_wrap=True)

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
                # If there is no room, the last columns are left out, and named: every frame must stay small.
                shown = lay_out(columns, cells, self._out.width).blocks[0]
                lines = [Text.assemble(*line) for line in lines_of(shown, columns, cells)]
                if left_out := [name for i, name in enumerate(columns) if i not in shown.columns]:
                    lines.append(Text(f"not shown for lack of room: {', '.join(left_out)}", style="dim"))
                live.update(Text("\n").join(lines), refresh=True)

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

    def heading(self, text: str) -> None:
        """Print the heading of a section of the result, underlined."""
        shown = encodable(printable(text), sys.stdout.encoding)
        width = min(cell_len(shown), self._room or _PIPED_WIDTH)
        self._out.print(Text(f"{shown}\n{'=' * width}", style="bold"), soft_wrap=True)

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


class Beside:
    """Shows the progress of one of several pieces of work; see ``Terminal.beside``.

    Args:
        terminal: shows the messages.
        progress: shows the tasks.
    """

    def __init__(self, terminal: Terminal, progress: ProgressDisplay) -> None:
        self._progress = progress
        self.note, self.warn, self.expect = terminal.note, terminal.warn, terminal.expect

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a task."""
        self._progress.begin(printable(task), total, unit, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Advance the innermost task."""
        self._progress.update(done, values)

    def end(self) -> None:
        """End the innermost task."""
        self._progress.end()
