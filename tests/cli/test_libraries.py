"""Warnings of libraries stay away from the user, and the program's own warnings do not."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, sys, warnings
from dregcli.cli import main
from dregcli.cli.render import Terminal

def one_command(arguments):
    warnings.warn("of python")
    logging.getLogger("torch.utils.cpp_extension").warning("of logging")
    logging.getLogger("torch").error("an error of logging")
    print("torch", os.environ.get("TORCH_CPP_LOG_LEVEL"), file=sys.stderr)
    Terminal().warn("our own")
    return 0

main.main = one_command
main.entry()
"""


@pytest.mark.parametrize(
    ("options", "variables"), [((), {}), (("-W", "default"), {}), ((), {"PYTHONWARNINGS": "once"})]
)
def test_only_the_programs_own_warnings_are_shown(options, variables) -> None:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONWARNINGS", "TORCH_CPP_LOG_LEVEL")
    }
    program = [sys.executable, *options, "-c", PROGRAM]
    shown = subprocess.run(program, env=kept | variables, capture_output=True, text=True, check=True).stderr
    wanted = bool(options or variables)
    assert ("UserWarning: of python" in shown, "\nof logging" in f"\n{shown}") == (wanted, wanted)
    assert f"torch {None if wanted else 'ERROR'}" in shown
    assert "warning: our own" in shown
    assert "an error of logging" in shown
