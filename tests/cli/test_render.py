"""What reaches a terminal: tables of any width, and text from anywhere."""

import io
from typing import Any

import pytest
from rich.console import Console

from dregcli.cli.layout import is_text
from dregcli.cli.render import Terminal


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


def shown(width: int, columns: list[str], rows: list[list[str]]) -> str:
    terminal, out = _terminal(width)
    terminal.table(columns, rows)
    return out.getvalue()


@pytest.mark.parametrize("width", [12, 20, 40, 60, 80, 120])
def test_a_narrow_terminal_loses_no_cell_and_repeats_no_table(width) -> None:
    text = shown(width, COLUMNS, ROWS)
    assert max(map(len, text.splitlines())) <= width
    squeezed = "".join(text.split())
    for cell in {*COLUMNS, *ROWS[0], *ROWS[1]}:
        whole = cell in text or "".join(cell.split()) in squeezed
        # In the narrowest, the lines of several wrapped cells alternate: all characters are there.
        assert whole or (width <= 40 and all(char in text for char in cell)), cell
    assert sum(line.startswith("data set") for line in text.splitlines()) <= 2
    if width >= 60:
        assert text.count("data set") == 1


def test_first_the_columns_that_fit_then_the_others_below() -> None:
    columns, rows = ["name", "aaaa", "bbbb", "cccc"], [["x", "1", "2", "3"], ["y", "4", "5", "6"]]
    assert shown(22, columns, rows).splitlines() == [
        "name  aaaa  bbbb  cccc",
        "x        1     2     3",
        "y        4     5     6",
    ]
    assert shown(21, columns, rows).splitlines() == [
        "name  aaaa  bbbb",
        "x        1     2",
        "y        4     5",
        "",
        "name  cccc",
        "x        3",
        "y        6",
    ]
    assert shown(15, columns, rows).splitlines() == [
        "name  aaaa",
        "x        1",
        "y        4",
        "",
        "x: bbbb 2,",
        "  cccc 3",
        "y: bbbb 5,",
        "  cccc 6",
    ]


def test_texts_are_wrapped_beside_numbers_that_are_whole() -> None:
    row = ["iwae/dreg minus iwae/reparam", "-20.34 ± 0.48", "undecided: about 1,234 seeds to decide", "-"]
    assert shown(68, ["difference", "nats", "verdict", "p"], [row]).splitlines() == [
        "difference                             nats  verdict               p",
        "iwae/dreg minus iwae/reparam  -20.34 ± 0.48  undecided: about      -",
        "                                             1,234 seeds to",
        "                                             decide",
    ]


def test_headings_are_wrapped_before_columns_move() -> None:
    assert shown(20, ["run", "shared seeds", "steps/s"], [["a", "5", "1.0"]]).splitlines() == [
        "run  shared  steps/s",
        "      seeds",
        "a         5      1.0",
    ]


def test_a_pipe_has_every_column_as_wide_as_it_needs_or_a_given_width(capsys) -> None:
    long = "x" * 300
    Terminal().table(["name", "value", "note"], [[long, "1", "several words"]])
    assert capsys.readouterr().out.splitlines()[1] == f"{long}      1  several words"
    Terminal(width=40).table(["name", "value", "note"], [["a b c d e f g h" * 3, "1", "several words"]])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (["-20.34 ± 0.48", "-"], False),
        (["[-0.1000, +0.1000]", "-"], False),
        (["400/400", "-/400"], False),
        (["5 min ago", "4,100"], False),
        (["28x28", "1.5e-07"], False),
        (["0.0133(1)", "12 %"], False),
        (["at the floor", "0.3"], False),
        (["a/v001", "mnist"], True),
        (["1/K", "v^2"], True),
        (["9f3cab12", "-"], True),
        (["3 stopped before the end: a and b and c", "none"], True),
        (["-", ""], False),
    ],
)
def test_texts_stand_at_the_left_and_numbers_at_the_right(cells, text) -> None:
    assert is_text(cells) is text


def test_a_changing_table_names_the_columns_that_it_has_no_room_for() -> None:
    columns = ["run", "status", "left", "steps/s"]
    frames = [[["a/v001", "running", "5 s", "10.0"]], [["a/v001", "completed", "", "10.0"]]]
    for width, missing in ((60, False), (24, True)):
        terminal, out = _terminal(width)
        terminal.follow(columns, frames)
        assert ("not shown for lack" in out.getvalue()) is missing
        assert "completed" in out.getvalue()


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
