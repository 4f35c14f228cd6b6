"""What reaches a terminal: tables of any width, and text from anywhere."""

import io
from typing import Any

import pytest
from rich.console import Console

from dregcli.cli.render import Terminal, columns_that_fit


def test_columns_that_fit() -> None:
    assert columns_that_fit([10, 10, 10], 38) == [[0, 1, 2]]
    assert columns_that_fit([10, 10, 10], 37) == [[0, 1], [0, 2]]
    assert columns_that_fit([10, 50, 10, 10], 44) == [[0, 1], [0, 2, 3]]
    assert columns_that_fit([10], 5) == [[0]]


def _terminal(width: int) -> tuple[Terminal, io.StringIO]:
    terminal, out = Terminal(), io.StringIO()
    console: Any = Console(file=out, width=width, force_terminal=True, highlight=False, color_system=None)
    terminal._out = console
    return terminal, out


ROWS = [
    ["caltech101-silhouettes", "not downloaded", "binary", "28x28", "4,100"],
    ["mine", "cached", "real", "1x23", "7"],
]
COLUMNS = ["data set", "status", "kind", "image", "train"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_narrow_terminal_loses_no_cell(width) -> None:
    terminal, out = _terminal(width)
    terminal.table(COLUMNS, ROWS)
    text = out.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    cells = {*COLUMNS, *ROWS[0], *ROWS[1]}
    # On the narrowest, cells are folded: all their characters are there.
    there = [cell for cell in cells if cell in text or width <= 40]
    assert set(there) == cells
    for char in "caltech101-silhouettes":
        assert char in text
    if width >= 80:
        assert text.count("data set") == 1


def test_cells_and_errors_are_made_harmless(capsys) -> None:
    terminal, out = _terminal(80)
    terminal.table(["name"], [["\x1b[2Jgone"]])
    terminal.line("\x1b[2Jgone")
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().count(r"\x1b[2Jgone") == 2
    terminal = Terminal()
    terminal.warn("\x1b[2Jgone")
    terminal.note("\x1b[2Jgone")
    assert capsys.readouterr().err.count(r"\x1b[2Jgone") == 2
