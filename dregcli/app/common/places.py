"""Default folders of runs and data, and commands that name these folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dregcli.commands import USUAL_RUNS
from dregcli.data.folders import NO_FOLDER, data_command, default_data_dir
from dregcli.errors import UsageError
from dregcli.wording import shell_command

__all__ = ["NO_FOLDER", "data_folder", "data_folder_if_any", "runs_folder", "training_command", "typed"]


def runs_folder(given: Path | None) -> Path:
    """Return the store's folder: ``runs`` in the current folder, unless the user gave one."""
    return given or Path(USUAL_RUNS)


def data_folder(given: Path | None) -> Path:
    """Return the data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless the user gave one.

    Raises:
        UsageError: the user has no home folder, so that there is no cache folder.
    """
    return given or default_data_dir()


def data_folder_if_any(given: Path | None) -> Path:
    """Return ``data_folder`` or, if there is none, a stand-in: only work that needs the folder is refused later."""
    try:
        return data_folder(given)
    except UsageError:
        return NO_FOLDER


def training_command(name: str, data_dir: Path, *, examples: int) -> str:
    """Return the command that trains on a data set, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder.
        examples: number of training examples; a batch cannot be larger.
    """
    from dregcli.specs.run import RunSpec

    fits = examples >= RunSpec.model_fields["batch_size"].default
    batch = [] if fits else ["--batch-size", str(examples)]
    return data_command("train", "--dataset", name, *batch, data_dir=data_dir)


def typed(environment: Mapping[str, Any]) -> str | None:
    """Return the command line that made a run, with likely secrets removed; None if it was not recorded."""
    from dregcli.redaction import redacted_words

    argv = environment.get("argv")
    if not isinstance(argv, list):
        return None
    return shell_command(redacted_words(str(word) for word in cast("list[object]", argv)))
