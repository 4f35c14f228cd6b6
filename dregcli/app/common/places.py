"""Where runs and data are kept when the user names no folder, and commands that say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dregcli.commands import USUAL_RUNS
from dregcli.data.folders import NO_FOLDER, data_command, default_data_dir
from dregcli.errors import UsageError
from dregcli.wording import shell_command

__all__ = ["NO_FOLDER", "data_folder", "data_folder_if_any", "runs_folder", "training_command", "typed"]


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path(USUAL_RUNS)


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


def training_command(name: str, data_dir: Path, *, examples: int) -> str:
    """The command that trains on a data set, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder.
        examples: how many there are to train on: a batch has no more.
    """
    from dregcli.specs.run import RunSpec

    fits = examples >= RunSpec.model_fields["batch_size"].default
    batch = [] if fits else ["--batch-size", str(examples)]
    return data_command("train", "--dataset", name, *batch, data_dir=data_dir)


def typed(environment: Mapping[str, Any]) -> str | None:
    """What was typed to make a run, without what looks like a secret; None where that was not captured."""
    from dregcli.redaction import redacted_words

    argv = environment.get("argv")
    if not isinstance(argv, list):
        return None
    return shell_command(redacted_words(str(word) for word in cast("list[object]", argv)))
