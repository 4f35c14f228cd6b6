"""The catalogue of data sets. A new data set is one entry in ``DATASETS``."""

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
    """Return the catalogue's entry with that name.

    Raises:
        UsageError: the catalogue has no such entry; the message gives the nearest name.
    """
    entry = DATASETS.get(name)
    if entry is None:
        raise UsageError(unknown("data set", name, DATASETS), hint="take one of the known names")
    return entry


def imported_names(data_dir: Path) -> list[str]:
    """Return the names of the data sets that the user has imported into the data folder, sorted.

    Damaged files count if they may be dreg's. The folder may hold other files, which do not count.
    """
    ours = (Owner.DREG, Owner.MAYBE_DREG)
    return [
        name for name in file_names(data_dir) if name not in DATASETS and owner_of(cache_path(name, data_dir)) in ours
    ]


def file_owner(name: str, data_dir: Path) -> Owner | None:
    """Return who wrote the file of a data set with this name; None where there is no such file."""
    return owner_of(cache_path(name, data_dir)) if name in file_names(data_dir) else None


def known_datasets(data_dir: Path) -> list[str]:
    """Return every name that ``load_dataset`` accepts: the catalogue's names, then the imported ones."""
    return [*DATASETS, *imported_names(data_dir)]


def conventions_of(name: str, data_dir: Path) -> tuple[str, ...]:
    """Return the ways to split a data set; the first is the default.

    Args:
        name: one of ``known_datasets``.
        data_dir: the data folder. The data set cached there may be built from fewer files than are published, and
            then has other conventions.

    Raises:
        UsageError: no data set has that name.
        DataCorrupt: the cached file is truncated or altered.
        StoreFormatError: the cached file has another version of the format.
    """
    entry = _entry_of(name, data_dir)
    if isinstance(entry, Embedded):
        return (entry.convention,)
    # Mapped and not loaded: only the attributes of the file are needed.
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
        data_dir: the data folder; not used for an embedded data set.
        convention: name of the split, one of ``conventions_of``; by default the first.

    Returns:
        The data set, its checksum verified.

    Raises:
        UsageError: no data set has that name, or the data set has no such convention.
        DatasetMissing: the data set has not been downloaded yet; the hint is the command that downloads it.
        DataCorrupt: the cached file is truncated or altered, or its splits do not have the convention's sizes.
        StoreFormatError: the cached file has another version of the format.
    """
    entry = _entry_of(name, data_dir)
    if isinstance(entry, Downloadable):
        if convention is None:
            return read_cache(name, data_dir)
        # Checked before anything is read: an unknown convention can be refused without the data.
        known = {each: None for file_set in entry.file_sets for each in file_set.conventions}
        check_known(name, convention, tuple(known))
        return recut(entry, read_cache(name, data_dir), convention, data_dir)
    dataset = entry.load() if entry else read_cache(name, data_dir)
    if convention is not None:
        check_known(name, convention, (dataset.split_convention,))
    return dataset


def log_density_of(name: str) -> LogDensity | None:
    """Return the exact log p(x) of the distribution a data set was drawn from; None where it is unknown."""
    entry = DATASETS.get(name)
    return entry.log_density if isinstance(entry, Embedded) else None


def _entry_of(name: str, data_dir: Path) -> Entry | None:
    """Return the catalogue's entry, or None for an imported data set.

    Raises:
        UsageError: the name belongs to neither.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name in imported_names(data_dir):
        return None
    raise UsageError(unknown("data set", name, known_datasets(data_dir)), hint="take one of the known names")
