"""List names on disk for shell completion. No file is read, and no error is raised."""

from pathlib import Path

from dregcli.data.folders import file_names
from dregcli.errors import DregError
from dregcli.store.layout import version_name
from dregcli.store.references import names


def run_versions(root: Path) -> dict[str, list[str]]:
    """Return the names of the runs in a store, each with its versions, such as ``v001``."""
    try:
        return {name: [version_name(version) for version in versions] for name, versions in names(root).items()}
    except (DregError, OSError):
        return {}


def dataset_names(data_dir: Path) -> list[str]:
    """Return the names of the data sets whose files are in a data folder."""
    return file_names(data_dir)
