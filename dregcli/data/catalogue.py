"""The data sets there are. A new one is one entry in ``DATASETS``."""

from pathlib import Path
from typing import Final

from dregcli.data.cache import read_cache
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, Embedded, Entry, LogDensity
from dregcli.data.folders import cache_path, file_names
from dregcli.data.owner import Owner, owner_of
from dregcli.data.sets.binarized_mnist import BINARIZED_MNIST
from dregcli.data.sets.caltech101 import CALTECH101_SILHOUETTES
from dregcli.data.sets.digits import DIGITS
from dregcli.data.sets.fashion_mnist import FASHION_MNIST
from dregcli.data.sets.linear_gaussian import LINEAR_GAUSSIAN
from dregcli.data.sets.mnist import MNIST
from dregcli.data.sets.omniglot import OMNIGLOT
from dregcli.data.sets.omniglot_lake import OMNIGLOT_LAKE
from dregcli.data.splitting import check_known, file_set_of, recut
from dregcli.errors import DatasetMissing, UsageError
from dregcli.names import unknown

DATASETS: Final[dict[str, Entry]] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "binarized-mnist": BINARIZED_MNIST,
    "fashion-mnist": FASHION_MNIST,
    "omniglot": OMNIGLOT,
    "omniglot-lake": OMNIGLOT_LAKE,
    "caltech101-silhouettes": CALTECH101_SILHOUETTES,
    "linear-gaussian": LINEAR_GAUSSIAN,
}


def find_entry(name: str) -> Entry:
    """The catalogue's entry of that name.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    entry = DATASETS.get(name)
    if entry is None:
        raise UsageError(unknown("data set", name, DATASETS), hint="take one of the known names")
    return entry


def imported_names(data_dir: Path) -> list[str]:
    """The data sets that the user has imported into the data folder, in order.

    Only files that say, or once said, that they are dreg's: the folder may hold others.
    """
    ours = (Owner.DREG, Owner.WAS_DREG)
    return [
        name for name in file_names(data_dir) if name not in DATASETS and owner_of(cache_path(name, data_dir)) in ours
    ]


def file_owner(name: str, data_dir: Path) -> Owner | None:
    """Whose the file is that a data set of this name would have; None where there is none, or can be none."""
    return owner_of(cache_path(name, data_dir)) if name in file_names(data_dir) else None


def known_datasets(data_dir: Path) -> list[str]:
    """Every name that ``load_dataset`` takes: the catalogue's, then the imported ones."""
    return [*DATASETS, *imported_names(data_dir)]


def conventions_of(name: str, data_dir: Path) -> tuple[str, ...]:
    """The ways to split a data set, of which the first is the default.

    Args:
        name: one of ``known_datasets``.
        data_dir: the data folder. What is cached there may be of fewer files than are published, and so be split
            otherwise.

    Raises:
        UsageError: no data set has that name.
        DataCorrupt: the cached file is truncated or altered.
        StoreFormatError: the cached file is of another version of the format.
    """
    entry = _entry_of(name, data_dir)
    if isinstance(entry, Embedded):
        return (entry.convention,)
    # Mapped and not loaded: only what the file says of itself is asked for.
    if entry is None:
        return (read_cache(name, data_dir, resident_bytes=0).split_convention,)
    if entry.others:
        try:
            return tuple(file_set_of(entry, read_cache(name, data_dir, resident_bytes=0), data_dir).conventions)
        except DatasetMissing:
            pass
    return tuple(entry.published.conventions)


def load_dataset(name: str, data_dir: Path, convention: str | None = None) -> Dataset:
    """Load a data set: embedded, from the cache, or imported by the user.

    Args:
        name: one of ``known_datasets``.
        data_dir: the data folder; not touched for an embedded data set.
        convention: how to split it, one of ``conventions_of``; the first where not given.

    Returns:
        The data set, its checksum verified.

    Raises:
        UsageError: no data set has that name, or it has no such convention.
        DatasetMissing: it has not been downloaded yet; the hint is the command that does it.
        DataCorrupt: the cached file is truncated or altered, or comes out in other sizes than the convention has.
        StoreFormatError: the cached file is of another version of the format.
    """
    entry = _entry_of(name, data_dir)
    if isinstance(entry, Downloadable):
        if convention is None:
            return read_cache(name, data_dir)
        # Before anything is read: a name that none of its files can have needs no data to be refused.
        known = {each: None for file_set in entry.file_sets for each in file_set.conventions}
        check_known(name, convention, tuple(known))
        return recut(entry, read_cache(name, data_dir), convention, data_dir)
    dataset = entry.load() if entry else read_cache(name, data_dir)
    if convention is not None:
        check_known(name, convention, (dataset.split_convention,))
    return dataset


def log_density_of(name: str) -> LogDensity | None:
    """Exact log p(x) of what a data set was drawn from; None where nobody knows it."""
    entry = DATASETS.get(name)
    return entry.log_density if isinstance(entry, Embedded) else None


def _entry_of(name: str, data_dir: Path) -> Entry | None:
    """The catalogue's entry, or None for an imported data set.

    Raises:
        UsageError: it is neither.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name in imported_names(data_dir):
        return None
    raise UsageError(unknown("data set", name, known_datasets(data_dir)), hint="take one of the known names")
