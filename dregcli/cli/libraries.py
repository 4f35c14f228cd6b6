"""The warnings of libraries, which say nothing that a user of this program can act on: they are not shown."""

import logging
import os
import sys
import warnings


def quiet_libraries() -> None:
    """Show no warning of a library in this process: from Python's warnings, from logging, or from torch's C++ code.

    The program's own warnings do not pass through any of these. Somebody who looks for a fault sees all of them with
    ``PYTHONWARNINGS=default dreg ...`` or ``python -W default -m dregcli ...``. Call this before torch is imported,
    which reads its variable only then.
    """
    if sys.warnoptions:  # -W or PYTHONWARNINGS: the user has decided
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
