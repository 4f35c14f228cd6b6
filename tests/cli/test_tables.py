"""Tables of a large, mixed store at every width: nothing is lost, nothing is cut, and no table is printed twice."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dregcli import cli
from dregcli.cli.render import Terminal
from tests.support.cli import run
from tests.support.mixed_store import make_mixed_store

COMMANDS = {
    "report": ("report", "--time-to", "-25"),
    "runs list": ("runs", "list"),
    "runs diff": ("runs", "diff", "digits-iwae-dreg-k16/v003", "mnist-iwae-stl-k64/v001"),
    "runs doctor": ("runs", "doctor"),
    "data list": ("data", "list"),
    "estimators": ("estimators", "--objective", "iwae"),
}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def mixed(once, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mixed store, which no test changes."""
    root: Path = once("a mixed store", make_mixed_store)
    monkeypatch.setenv("DREG_RUNS_DIR", str(root))
    return root


@dataclass(frozen=True)
class Printed:
    """A table as a command gave it to the terminal, and the lines that came out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int
    lines: Sequence[str]

    @property
    def body(self) -> Sequence[str]:
        return self.lines[1:] if self.title else self.lines

    def faults(self, width: int | None) -> list[str]:
        """What is wrong with the lines; empty if nothing is."""
        rows = [row for row in self.rows if row]
        text = "\n".join(self.body)
        given = Counter(char for cells in (self.columns, *rows) for cell in cells for char in cell if char != "-")
        shown = Counter(text.replace("-", ""))
        found = [f"lost: {''.join(lost.elements())!r}"] if (lost := given - shown - Counter(" \n")) else []
        # A label may be shortened with a mark before it comes to the table.
        if any(mark in text and not any(mark in cell for row in rows for cell in row) for mark in ("…", "...")):
            found.append("cut, even if with a mark")
        if width is not None and any(len(line) > width for line in self.body):
            found.append(f"wider than {width}")
        if self.title and sum(line.startswith(self.title) for line in self.lines) != 1:
            found.append("the title is not there once")
        # Everything that is not a name of a row appears once.
        others = Counter(char for row in rows for cell in row[self.names :] for char in cell if char.isdigit())
        names = Counter(char for row in rows for cell in row[: self.names] for char in cell if char.isdigit())
        heads = Counter(char for name in self.columns for char in name if char.isdigit())
        listed = Counter({char: count * len(rows) for char, count in heads.items()})
        if Counter(filter(str.isdigit, text)) - others - names - names - heads - listed:
            found.append("printed twice")
        words, cells = Counter(text.split()), [cell for row in rows for cell in row]
        for name in (each for each in self.columns[self.names :] if each.isalpha()):
            same = sum(name in column.split() for column in self.columns)
            if words[name] > same * (1 + len(rows)) + sum(cell.split().count(name) for cell in cells):
                found.append(f"the column {name} is printed twice")
        return found


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: Sequence[str]
) -> list[Printed]:
    """Run a command and return its tables."""
    found: list[Printed] = []
    usual = Terminal.table

    def table(self: Terminal, columns: Any, rows: Any, **more: Any) -> None:
        capsys.readouterr()
        usual(self, columns, rows, **more)
        lines = _STYLE.sub("", capsys.readouterr().out).splitlines()
        found.append(Printed(more.get("title") or "", columns, rows, more.get("names", 1), lines))

    with monkeypatch.context() as patched:
        patched.setattr(Terminal, "table", table)
        assert run(capsys, *words).code == 0
    return found


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("width", [60, 80, 120, 200, None])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_table_loses_a_column_cuts_a_cell_or_is_printed_twice(capsys, monkeypatch, command, width) -> None:
    if width is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
    tables = printed(capsys, monkeypatch, COMMANDS[command])
    assert tables
    assert {table.title: table.faults(width) for table in tables if table.faults(width)} == {}
    if width is None:
        for table in tables:
            for line, row in zip(table.body[1:], table.rows, strict=True):
                rest = line
                for cell in filter(None, row):  # every cell in its line, whole and in order
                    before, there, rest = rest.partition(cell)
                    assert (before.strip(), there) == ("", cell)
    if width == 200 and command != "runs diff":
        assert all("" not in table.body for table in tables if [] not in table.rows), "one block is enough"


@pytest.mark.parametrize("width", [60, 80])
def test_no_table_of_a_report_fills_a_screen_of_a_narrow_terminal(capsys, monkeypatch, mixed: Path, width) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    study = [f"digits-iwae-dreg-k16/v{version:03d}" for version in range(3, 8)]
    words = ("report", *study, "digits-iwae-stl-k16", "digits-iwae-reparam-k16")
    assert max(len(table.lines) for table in printed(capsys, monkeypatch, words)) <= 18


def test_the_wrong_twins_are_caught() -> None:
    columns, rows = ["run", "bound", "verdict"], [["a/v001", "-20.5", "iwae/dreg is higher"], ["b/v002", "-1.0", "-"]]
    good = [
        "run       bound  verdict",
        "a/v001    -20.5  iwae/dreg is higher",
        "b/v002     -1.0  -",
    ]
    wrong = {
        "lost": ["run     verdict", "a/v001  iwae/dreg is higher", "b/v002  -"],
        "cut": [*good[:1], "a/v001    -20.5  iwae/dreg i…", *good[2:]],
        "cut in silence": [*good[:1], "a/v001    -20.5  iwae/dreg i", *good[2:]],
        "twice": [*good, "", *good],
        "wide": [*good, " " * 60 + "x"],
    }
    assert Printed("", columns, rows, 1, good).faults(60) == []
    for name, lines in wrong.items():
        assert Printed("", columns, rows, 1, lines).faults(60), name


def test_only_the_help_lays_out_tables_by_itself() -> None:
    """Every other table goes through ``Terminal.table``, so that what holds for one holds for all.

    The bar of progress is no table, but rich lays out its parts as columns of one.
    """
    files = Path(cli.__file__).parent.rglob("*.py")
    own = {path.name for path in files if "rich.table" in path.read_text(encoding="utf-8")}
    assert own <= {"overview.py", "progress.py"}


@pytest.mark.usefixtures("mixed")
def test_each_section_has_its_heading_and_its_own_tables(capsys) -> None:
    lines = run(capsys, "report").out.splitlines()
    heads = [lines[i - 1] for i, line in enumerate(lines) if line and set(line) == {"="}]
    assert [head.partition(":")[0] for head in heads[:2]] == ["digits", "mnist"]
    assert any(head.startswith("mnist, structured: 2 runs in 2 groups") for head in heads)
    tables = [line for line in lines if line.startswith("groups by their ")]
    assert len(tables) == len(heads)
    first = lines.index(heads[0])
    assert lines[first + 2].startswith(
        "digits (dreg split, dynamic binarisation), K=16, batch 32, lr 0.001, 400 steps"
    )
    digits = "\n".join(lines[: lines.index(heads[1])])
    assert re.search(r"^iwae/stl.* minus iwae/dreg", digits, re.MULTILINE)
    assert "mnist" not in digits
    assert "dreg-cv:alpha=0.00032" in digits
