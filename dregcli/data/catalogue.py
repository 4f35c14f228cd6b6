"""The data sets there are. A new one is one entry in ``DATASETS``."""

from pathlib import Path
from typing import Final

from dregcli.data.cache import read_cache
from dregcli.data.dataset import Dataset
from dregcli.data.digits import DIGITS
from dregcli.data.entries import Embedded, Entry
from dregcli.data.mnist import MNIST
from dregcli.errors import UsageError
from dregcli.names import unknown

DATASETS: Final[dict[str, Entry]] = {"digits": DIGITS, "mnist": MNIST}


def find_entry(name: str) -> Entry:
    """The catalogue's entry of that name.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    entry = DATASETS.get(name)
    if entry is None:
        raise UsageError(unknown("data set", name, DATASETS), hint="take one of the known names")
    return entry


def load_dataset(name: str, data_dir: Path) -> Dataset:
    """Load a data set, embedded or from the cache.

    Args:
        name: as in ``DATASETS``.
        data_dir: the data folder; not touched for an embedded data set.

    Returns:
        The data set, its checksum verified.

    Raises:
        UsageError: no data set has that name.
        DatasetMissing: it has not been downloaded yet; the hint is the command that does it.
        DataCorrupt: the cached file is truncated or altered.
        StoreFormatError: the cached file is of another version of the format.
    """
    entry = find_entry(name)
    return entry.load() if isinstance(entry, Embedded) else read_cache(name, data_dir)
