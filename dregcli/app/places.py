"""Where runs and data are kept when the user names no folder, and commands that say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dregcli.commands import USUAL_RUNS
from dregcli.data.folders import data_command, default_data_dir
from dregcli.wording import shell_command


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path(USUAL_RUNS)


def data_folder(given: Path | None) -> Path:
    """The data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless one was given."""
    return given or default_data_dir()


def training_command(name: str, data_dir: Path) -> str:
    """The command that trains on a data set, ready to be pasted into a shell."""
    return data_command("train", "--dataset", name, data_dir=data_dir)


def typed(environment: Mapping[str, Any]) -> str | None:
    """What was typed to make a run; None where that was not captured."""
    argv = environment.get("argv")
    return shell_command([str(word) for word in cast("list[object]", argv)]) if isinstance(argv, list) else None
