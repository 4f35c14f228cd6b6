"""The command line as a user has it: exit code, stdout and stderr."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from dregcli.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


class Usual(str):
    """A word of an option that a test usually gives; the same option gives way to a later one of the test's own."""


def usual(*words: object) -> tuple[str, ...]:
    """Return options that give way to those that a test adds: a repeated option would be a study."""
    return tuple(Usual(word) for word in words)


def typed(*arguments: object) -> list[str]:
    """Return the words of a command line, without the usual options that the command gives otherwise."""
    words = [each if isinstance(each, Usual) else str(each) for each in arguments]
    own = {word for word in words if not isinstance(word, Usual) and word.startswith("--")}
    kept: list[str] = []
    left_out = False
    for word in words:
        if word.startswith("--"):
            left_out = isinstance(word, Usual) and word in own
        if not (left_out and isinstance(word, Usual)):
            kept.append(str(word))
    return kept


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run one command in this process, through the boundary that turns errors into exit codes."""
    capsys.readouterr()
    code = main(typed(*arguments))
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


SMALL = usual(
    *("--k", 4, "--steps", 20, "--batch-size", 16, "--hidden", "16,8", "--latent-dim", 4),
    *("--log-every", 5, "--eval-every", 500),
)
"""A run of a fraction of a second on the digits."""
