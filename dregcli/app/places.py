"""Where runs and data are kept when the user names no folder, and commands that say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from dregcli.data.folders import data_dir_option, default_data_dir
from dregcli.wording import shell_command

_USUAL_ROOT: Final = "runs"


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path(_USUAL_ROOT)


def data_folder(given: Path | None) -> Path:
    """The data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless one was given."""
    return given or default_data_dir()


def training_command(name: str, data_dir: Path, *, examples: int) -> str:
    """The command that trains on a data set, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder.
        examples: how many there are to train on: a batch has no more.
    """
    from dregcli.specs.run import RunSpec

    fits = examples >= RunSpec.model_fields["batch_size"].default
    batch = "" if fits else f" --batch-size {examples}"
    return f"dreg train --dataset {name}{batch}{data_dir_option(data_dir)}"


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
    """What was typed to make a run; None where that was not captured."""
    argv = environment.get("argv")
    return shell_command([str(word) for word in cast("list[object]", argv)]) if isinstance(argv, list) else None
