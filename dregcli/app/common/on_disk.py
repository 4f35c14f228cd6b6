"""What is on disk, by name alone: for a shell that completes words. Nothing is read, and nothing fails."""

from pathlib import Path

from dregcli.data.folders import file_names
from dregcli.errors import DregError
from dregcli.store.layout import version_name
from dregcli.store.references import names


def run_versions(root: Path) -> dict[str, list[str]]:
    """The names of the runs of a store, each with its versions, such as ``v001``."""
    try:
        return {name: [version_name(version) for version in versions] for name, versions in names(root).items()}
    except (DregError, OSError):
        return {}


def dataset_names(data_dir: Path) -> list[str]:
    """What the files of a data folder are called as data sets."""
    return file_names(data_dir)
