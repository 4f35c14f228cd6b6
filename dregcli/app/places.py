"""Where runs and data are kept when the user names no folder."""

from pathlib import Path

from dregcli.data.folders import default_data_dir


def runs_folder(given: Path | None) -> Path:
    """The store's folder: ``runs`` here, unless one was given."""
    return given or Path("runs")


def data_folder(given: Path | None) -> Path:
    """The data folder: ``DREG_DATA_DIR`` or the platform's cache folder, unless one was given."""
    return given or default_data_dir()
