"""Hints: every command that a message asks for is made by one function, and a shell and the program understand it."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from dregcli import commands
from dregcli.cli.lazy import CommandByName
from dregcli.cli.tree import COMMANDS
from dregcli.commands import command

PACKAGE = Path(__file__).parents[1] / "dregcli"
_NAMES = sorted({name.split()[0] for name in commands.OF_RUNS | commands.OF_DATA} | {"estimators", "runs", "data"})
_TYPED = re.compile(rf"\bdreg ({'|'.join(_NAMES)})\b(?! --help| [a-z-]+ --help)|\b(mkdir|tensorboard) -")
PROSE = ("bound by dreg eval", "Commands are shown as they were typed. dreg runs rerun trains")
"""Texts about a command, which ask for none."""

_HELP = ("help", "epilog", "metavar", "show_default", "description")


def hand_written(source: str, *, of_cli: bool = False) -> list[str]:
    """Texts of a module that hold a command which no function has quoted; not its docstrings, and not help."""
    tree = ast.parse(source)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            left_out |= {id(each.value) for each in node.body if isinstance(each, ast.Expr)}
        if isinstance(node, ast.keyword) and node.arg in _HELP:
            left_out |= {id(each) for each in ast.walk(node.value)}
    if of_cli:  # the examples under a command's help
        examples = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        left_out |= {id(each) for node in examples for each in ast.walk(node)}
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [text.value for text in texts if id(text) not in left_out and _TYPED.search(text.value)]


def test_no_command_is_written_by_hand() -> None:
    for path in PACKAGE.rglob("*.py"):
        found = hand_written(path.read_text(encoding="utf-8"), of_cli="cli" in path.parts)
        found = [text for text in found if not text.startswith(PROSE)]
        assert not found, f"{path}: use dregcli.commands.command: {found}"
    for wrong in ('hint = f"dreg train --resume {path}"', 'f(hint="see: dreg runs list, e.g. a")', 'x = "dreg eval"'):
        assert hand_written(wrong), wrong
    assert not hand_written('"""As dreg train does."""\nhint = "every option: dreg train --help"')


def test_the_commands_that_take_a_folder_are_those_that_are_listed() -> None:
    for option, listed in (("--runs-dir", commands.OF_RUNS), ("--data-dir", commands.OF_DATA)):
        options = {typed: CommandByName(typed, place).load().params for typed, place in COMMANDS.items()}
        assert {typed for typed, each in options.items() if any(option in found.opts for found in each)} == listed


ODD = ["plain", "a b", "it's", '"', "$HOME", "`x`", "a;b", "*", "\\", "é", "new\nline", "-dash", "a\tb", "~", "", "#"]


@pytest.mark.parametrize("word", ODD)
def test_every_word_comes_through_a_shell(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_given", commands._Given())
    line = command("train", "--name", word, runs_dir=Path("r") / f"{word}x", data_dir=Path("d") / f"{word}x")
    if line.isprintable() and "$'" not in line:
        assert shlex.split(line)[3] == word
    said = subprocess.run(
        ["bash", "-c", f"dreg() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, check=True
    ).stdout.decode()
    folders = ["--runs-dir", f"r/{word}x", "--data-dir", f"d/{word}x"]
    assert said.split("\0")[:-1] == ["train", "--name", word, *folders]
