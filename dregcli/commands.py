"""Commands that a message asks the user to type, ready to be pasted into a shell. Standard library only.

Every hint that holds a command has it from :func:`command`, which quotes its words and repeats ``--runs-dir`` and
``--data-dir`` as they were given, where that command takes them.
"""

import os
import sys
from pathlib import Path
from typing import Final

from dregcli.wording import shell_command

USUAL_RUNS: Final = "runs"
"""The store's folder where none is named."""

OF_RUNS: Final = frozenset(
    {"train", "finetune-encoder", "bias-check", "variance", "eval", "sample", "report"}
    | {f"runs {name}" for name in ("list", "show", "diff", "tag", "note", "verify", "rm", "gc", "export", "import")}
    | {"runs rerun", "runs doctor"}
)
"""The commands that take ``--runs-dir``."""

OF_DATA: Final = frozenset(
    {"train", "finetune-encoder", "bias-check", "variance", "eval", "sample", "download"}
    | {"data list", "data show", "data import", "data verify", "data rm", "runs rerun", "runs verify"}
)
"""The commands that take ``--data-dir``."""


class _Given:
    """The folders that this process was given, by option or by environment variable."""

    runs_dir: Path | None = None
    data_dir: Path | None = None


_given = _Given()


def forget_folders() -> None:
    """A command line is done with: what it gave is of no other."""
    _given.runs_dir = _given.data_dir = None


def remember_runs_dir(folder: Path | None) -> None:
    """What the command line says of ``--runs-dir``."""
    _given.runs_dir = folder


def remember_data_dir(folder: Path | None) -> None:
    """What the command line says of ``--data-dir``; the variable's folder is found again without it."""
    _given.data_dir = folder if folder is None or str(folder) != os.environ.get("DREG_DATA_DIR") else None


def command(*words: str | Path, runs_dir: Path | None = None, data_dir: Path | None = None) -> str:
    """A command of this program, ready to be pasted into a shell.

    Args:
        words: such as ``"runs", "rerun", "xyz/v001"``, without the program's name. A path that begins with a dash
            gets ``./``, so that it is no option.
        runs_dir: the store that it needs; as given to this process where it is None.
        data_dir: the data folder that it needs, where that is not the usual one; the same.
    """
    argv = [_word(word) for word in words]
    name = " ".join(argv[:2]) if argv[0] in ("runs", "data") else argv[0]
    if "--help" not in argv:
        runs_dir, data_dir = runs_dir or _given.runs_dir, data_dir or _given.data_dir
        if name in OF_RUNS and runs_dir is not None and not _is_usual(runs_dir):
            argv += ["--runs-dir", str(runs_dir)]
        if name in OF_DATA and data_dir is not None:
            argv += ["--data-dir", str(data_dir)]
    return shell_command(["dreg", *argv], _encoding())


def quoted(*words: str | Path) -> str:
    """Words of a command that is not the program's own, or a path, as a shell takes them."""
    return shell_command([_word(word) for word in words], _encoding())


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _word(word: str | Path) -> str:
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def _is_usual(runs_dir: Path) -> bool:
    """Whether the folder is found without being named: a variable may name another."""
    return str(runs_dir) == USUAL_RUNS and (_given.runs_dir is None or "DREG_RUNS_DIR" not in os.environ)
