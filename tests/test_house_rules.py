"""Ruff and pyright, error codes, and that documents say what the program does."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dregcli import errors
from dregcli.cli.main import main
from dregcli.engine import ESTIMATORS, OBJECTIVES, pairs, promise

ROOT = Path(__file__).parents[1]


def _check(*command: str) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_check() -> None:
    _check("ruff", "check", ".")


def test_ruff_format() -> None:
    _check("ruff", "format", "--check", ".")


def test_pyright_strict() -> None:
    _check("pyright", "--pythonpath", sys.executable)


def _classes(root: type) -> list[type]:
    return [root, *(c for child in root.__subclasses__() for c in _classes(child))]


def test_every_error_class_has_its_own_exit_code() -> None:
    codes: dict[int, type] = {}
    for cls in _classes(errors.DregError):
        if cls is errors.SpecError:  # a usage error with its faults listed
            continue
        assert cls.exit_code not in codes, f"{cls} and {codes.get(cls.exit_code)}"
        codes[cls.exit_code] = cls
        assert cls.exit_code in (2, 3, 130, 143) or cls.exit_code >= 10


def test_readme_lists_every_exit_code() -> None:
    for cls in _classes(errors.DregError):
        assert re.search(rf"\| (\d+, )?{cls.exit_code}[ ,]", README), cls


README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("estimator", list(ESTIMATORS))
def test_readme_states_every_promise(objective: str, estimator: str) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{objective}` | `{estimator}` |")]
    one, many = (str(promise(objective, estimator, k)) for k in (1, 64))
    assert row.split("|")[3].strip() == one
    assert row.split("|")[4].strip() == many


def test_readme_commands_exist(capsys) -> None:
    """Every `dreg ...` line in a code block names a command and options that its help knows."""
    commands = re.findall(r"^\s*(?:\$ )?(?:.*&& )?(?:\.venv/bin/)?dreg ([a-z].*)$", README, flags=re.MULTILINE)
    assert len(commands) >= 5
    for text in commands:
        words = shlex.split(text, comments=True)
        capsys.readouterr()
        assert main([words[0], "--help"]) == 0
        shown = capsys.readouterr().out
        for word in words:
            if word.startswith("--"):
                assert word in shown, f"{word} is not an option of dreg {words[0]}"


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^(\.venv/bin/pip install .*pytest)$", README, flags=re.MULTILINE)
    assert command
    assert command.group(1) in (ROOT / ".ci/run").read_text()


def test_the_examples_in_python_run() -> None:
    """The README's block and the docstring of the public function, as written."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), scope)
    assert scope["c"].path.shape == (64, 32)
    assert doctest.testmod(pairs).attempted > 0
    assert doctest.testmod(pairs).failed == 0
