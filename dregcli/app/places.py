"""Where runs and data are kept when the user names no folder."""

from pathlib import Path

from dregcli.data.folders import data_dir_option, default_data_dir


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path("runs")


def data_folder(given: Path | None) -> Path:
    """The data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless one was given."""
    return given or default_data_dir()


def training_command(name: str, data_dir: Path) -> str:
    """The command that trains on a data set, ready to be pasted into a shell."""
    return f"dreg train --dataset {name}{data_dir_option(data_dir)}"
