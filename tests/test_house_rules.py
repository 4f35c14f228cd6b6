"""Ruff and pyright, error codes, examples in docstrings, and what CI runs."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

from dregcli import errors
from dregcli.engine import pairs
from dregcli.engine.own import loss

ROOT = Path(__file__).parents[1]


def _check(*command: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_check() -> None:
    _check("ruff", "check", ".")


def test_ruff_format() -> None:
    _check("ruff", "format", "--check", ".")


def test_pyright_strict() -> None:
    # With more room for new objects, JavaScript searches them for garbage less often: a tenth of the time.
    _check("pyright", "--pythonpath", sys.executable, NODE_OPTIONS="--max-semi-space-size=128")


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


README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^(\.venv/bin/pip install .*pytest)$", README, flags=re.MULTILINE)
    assert command
    assert command.group(1) in (ROOT / ".ci/run").read_text()


def test_the_examples_of_docstrings_run() -> None:
    """The docstrings of the public functions, as written."""
    for module in (pairs, loss):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0
