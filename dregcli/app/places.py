"""Where runs and data are kept when the user names no folder, and commands that say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from dregcli.data.folders import NO_FOLDER, data_dir_option, default_data_dir
from dregcli.errors import UsageError
from dregcli.redaction import redacted_words
from dregcli.wording import shell_command

__all__ = [
    "NO_FOLDER",
    "data_folder",
    "data_folder_if_any",
    "run_command",
    "runs_folder",
    "training_command",
    "typed",
]

_USUAL_ROOT: Final = "runs"


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path(_USUAL_ROOT)


def data_folder(given: Path | None) -> Path:
    """The data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless one was given.

    Raises:
        UsageError: there is no home folder that it could be in.
    """
    return given or default_data_dir()


def data_folder_if_any(given: Path | None) -> Path:
    """As ``data_folder``, for what may need none: where there is none, what does need one is refused later."""
    try:
        return data_folder(given)
    except UsageError:
        return NO_FOLDER


def training_command(name: str, data_dir: Path) -> str:
    """The command that trains on a data set, ready to be pasted into a shell."""
    return f"dreg train --dataset {name}{data_dir_option(data_dir)}"


def run_command(command: str, reference: str, root: Path) -> str:
    """A command on a run, ready to be pasted into a shell.

    Args:
        command: such as ``runs rerun``.
        reference: the run.
        root: the store's folder.
    """
    elsewhere = [] if str(root) == _USUAL_ROOT else ["--runs-dir", str(root)]
    return shell_command(["dreg", *command.split(), reference, *elsewhere])


def typed(environment: Mapping[str, Any]) -> str | None:
    """What was typed to make a run, without what looks like a secret; None where that was not captured."""
    argv = environment.get("argv")
    if not isinstance(argv, list):
        return None
    return shell_command(redacted_words(str(word) for word in cast("list[object]", argv)))
