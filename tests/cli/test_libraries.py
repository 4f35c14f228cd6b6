"""What the program prepares for torch: no warnings of libraries, and threads that share cores with others."""

import os
import subprocess
import sys

import pytest

from dregcli.app.common.process import WAITING, share_cores

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


@pytest.mark.parametrize("variable", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"])
def test_what_the_user_decided_about_waiting_threads_stays_alone(variable) -> None:
    environment = {variable: "1"}
    share_cores(environment)
    decided = variable != "OMP_NUM_THREADS"
    assert environment == ({variable: "1"} if decided else {variable: "1", **WAITING})


def test_only_the_program_decides_it_before_torch_is_there_and_not_who_imports_the_library() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_WAIT_POLICY")}
    code = (
        "import os, sys, dregcli, dregcli.cli.main as main\n"
        f"names = {[*WAITING]}\n"
        "assert not any(name in os.environ for name in names)\n"
        "main.main = lambda _: print('torch' in sys.modules, *(os.environ[name] for name in names)) or 0\n"
        "main.entry()"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", *WAITING.values()]
