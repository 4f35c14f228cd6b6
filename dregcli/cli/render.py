"""The only place that prints: results to stdout, everything else to stderr."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dregcli.cli.progress import ProgressDisplay, number
from dregcli.errors import DregError

_PIPED_WIDTH = 200
"""Where nobody has a screen to wrap to, no cell is ever cut."""


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value with NaN and infinities as None: JSON has no words for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("Sequence[Any]", value)]
    return value


def with_error(value: float | None, stderr: float | None) -> str:
    """A number with its standard error, or a dash."""
    if value is None:
        return "-"
    return number(value) if stderr is None else f"{number(value)} ± {number(stderr)}"


def difference(value: float, stderr: float | None) -> str:
    """A difference of bounds with its standard error: signed, and finer than the bounds, as paired errors are."""
    return f"{value:+.4f}" if stderr is None else f"{value:+.4f} ± {stderr:.4f}"


class ReaderLeft(Exception):
    """Who read our output is gone, as ``head`` is after its lines.

    Not a BrokenPipeError, which click would turn into exit code 1: that means that a check found something.
    """


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the program's boundary."""
        raise ReaderLeft


class Terminal:
    """What a command shows, and what it tells while it works (an ``app.listener.Listener``).

    Args:
        as_json: the result is one JSON object on stdout.
        quiet: no progress and no notes; warnings and errors still show.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = _Console(highlight=False)
        self._err = _Console(stderr=True, soft_wrap=True, highlight=False)
        if not self._out.is_terminal:
            self._out = _Console(highlight=False, width=_PIPED_WIDTH)
        self._progress = ProgressDisplay(self._err, enabled=not quiet)

    def note(self, message: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._err.print(Text(message))

    def warn(self, message: str) -> None:
        """Something that may not be what the user wants."""
        self._err.print(Text.assemble(("warning: ", "yellow"), message))

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """A task begins."""
        self._progress.begin(task, total, unit, done=done)

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
        """The result as a table; the first column left, numbers right; ``styles`` of cells by row and column."""
        frame = box.SIMPLE_HEAD if self._out.is_terminal else None
        if title:  # a table's own title is wrapped to the width of its columns
            self._out.print(Text(title, style="bold"), soft_wrap=True)
        table = Table(box=frame, pad_edge=False)
        for i, column in enumerate(columns):
            table.add_column(
                column, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i > 0, min_width=8
            )
        for i, row in enumerate(rows):
            style: Mapping[int, str] = styles[i] if styles else {}
            table.add_row(*(Text(cell, style=style.get(j, "")) for j, cell in enumerate(row)))
        self._out.print(table)

    def show(self, content: RenderableType) -> None:
        """A part of the result that a command has laid out itself; colours only on a terminal."""
        self._out.print(content)

    def line(self, text: str = "") -> None:
        """A line of the result."""
        self._out.print(Text(text), soft_wrap=True)

    def error(self, error: DregError) -> None:
        """What happened, where, and what to type next."""
        first, *rest = error.what.splitlines()
        self._err.print(Text.assemble(("error: ", "bold red"), first))
        for line in rest:
            self._err.print(Text(f"       {line}"))
        if error.where:
            self._err.print(Text(f"where: {error.where}"))
        if error.hint:
            self._err.print(Text.assemble(("next:  ", "green"), error.hint))
        if self.as_json:
            content = {"what": error.what, "where": error.where, "next": error.hint, "exit_code": error.exit_code}
            self.result({"error": content})
