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


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run one command in this process, through the boundary that turns errors into exit codes."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


SMALL = (
    *("--k", 4, "--steps", 20, "--batch-size", 16, "--hidden", "16,8", "--latent-dim", 4),
    *("--log-every", 5, "--eval-every", 500),
)
"""A run of a fraction of a second on the digits."""
