"""Prepare a process that does nothing else than the program's work. It must happen before torch is imported."""

import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from typing import Final

WAITING: Final = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""How long a thread of torch spins at a barrier before it sleeps, for GNU's OpenMP (torch on Linux) and for LLVM's
(torch on macOS). GNU's usual 300,000 turns are some milliseconds. If several processes share the cores, the thread
that is waited for often has no core while the others spin, so that together they do a fraction of the work."""

_CHOICES: Final = ("OMP_WAIT_POLICY", *WAITING)
"""Variables with which a user decides this: each of them changes what the others mean."""


def prepare_environment() -> None:
    """Silence libraries, and let torch's threads share cores with other processes; see the two functions."""
    quiet_libraries()
    share_cores(os.environ)


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait for each other sleep soon, unless the user has decided how they wait.

    Args:
        environment: the variables of the process, which OpenMP reads when torch is imported.
    """
    if not any(name in environment for name in _CHOICES):
        environment.update(WAITING)


def quiet_libraries() -> None:
    """Show no warning of a library in this process: from Python's warnings, from logging, or from torch's C++ code.

    The program's own warnings do not pass through any of these. Somebody who looks for a fault sees all of them with
    ``PYTHONWARNINGS=default dreg ...`` or ``python -W default -m dregcli ...``.
    """
    if sys.warnoptions:  # -W or PYTHONWARNINGS: the user has decided
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
