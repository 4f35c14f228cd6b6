"""Commands that a message asks the user to type, ready to be pasted into a shell. Standard library only.

Every hint that holds a command gets this command from :func:`command`. The function quotes the words. It also repeats
``--runs-dir`` and ``--data-dir`` as the user gave them, if the command takes these options.
"""

import os
import sys
from pathlib import Path
from typing import Final

from dregcli.wording import shell_command

USUAL_RUNS: Final = "runs"
"""The folder of the store when the user names none."""

OF_RUNS: Final = frozenset(
    {"train", "finetune-encoder", "bias-check", "variance", "advise", "eval", "sample", "report"}
    | {f"runs {name}" for name in ("list", "show", "diff", "tag", "note", "verify", "rm", "gc", "export", "import")}
    | {"runs rerun", "runs doctor", "paper list", "paper run", "paper export"}
)
"""The commands that take ``--runs-dir``."""

OF_DATA: Final = frozenset(
    {"train", "check-model", "finetune-encoder", "bias-check", "variance", "advise", "eval", "sample", "download"}
    | {"data list", "data show", "data import", "data verify", "data rm", "runs rerun", "runs verify"}
    | {"runs export", "paper list", "paper run", "paper export"}
)
"""The commands that take ``--data-dir``."""


class _Given:
    """The folders that the user gave to this process, by option or by environment variable."""

    runs_dir: Path | None = None
    data_dir: Path | None = None


_given = _Given()


def forget_folders() -> None:
    """Forget the folders of a finished command line: they do not apply to the next one."""
    _given.runs_dir = _given.data_dir = None


def remember_runs_dir(folder: Path | None) -> None:
    """Keep the value of ``--runs-dir`` from the command line."""
    _given.runs_dir = folder


def remember_data_dir(folder: Path | None) -> None:
    """Keep the value of ``--data-dir`` from the command line.

    A folder that comes from the environment variable is not kept, because it is found again without the option.
    """
    _given.data_dir = folder if folder is None or str(folder) != os.environ.get("DREG_DATA_DIR") else None


def remembered_folders() -> tuple[Path | None, Path | None]:
    """Return the values of ``--runs-dir`` and ``--data-dir`` of this command line; None for what was not given."""
    return _given.runs_dir, _given.data_dir


def command(*words: str | Path, runs_dir: Path | None = None, data_dir: Path | None = None) -> str:
    """Return a command of this program, ready to be pasted into a shell.

    Args:
        words: words of the command without the program's name, such as ``"runs", "rerun", "xyz/v001"``. A path that
            begins with a dash gets ``./`` in front, so that it is not read as an option.
        runs_dir: the store that the command needs; None means the one that this process was given.
        data_dir: the data folder that the command needs, if it is not the usual one; None means the one that this
            process was given.
    """
    argv = [_word(word) for word in words]
    name = " ".join(argv[:2]) if argv[0] in ("runs", "data", "paper") else argv[0]
    if "--help" not in argv:
        runs_dir, data_dir = runs_dir or _given.runs_dir, data_dir or _given.data_dir
        if name in OF_RUNS and runs_dir is not None and not _is_usual(runs_dir):
            argv += ["--runs-dir", str(runs_dir)]
        if name in OF_DATA and data_dir is not None:
            argv += ["--data-dir", str(data_dir)]
    return shell_command(["dreg", *argv], _encoding())


def quoted(*words: str | Path) -> str:
    """Quote a path, or the words of another program's command, for a shell."""
    return shell_command([_word(word) for word in words], _encoding())


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _word(word: str | Path) -> str:
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def _is_usual(runs_dir: Path) -> bool:
    """Whether the program finds this folder without an option; an environment variable may name another one."""
    return str(runs_dir) == USUAL_RUNS and (_given.runs_dir is None or "DREG_RUNS_DIR" not in os.environ)
