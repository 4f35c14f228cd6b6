"""The data sets of this machine: which there are, whether they are whole, and their removal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dregcli.app.listener import Listener
from dregcli.data.cache import read_cache, verify_cache
from dregcli.data.catalogue import DATASETS, conventions_of, known_datasets
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, Embedded
from dregcli.data.files import writing
from dregcli.data.folders import cache_path, download_command
from dregcli.errors import DataCorrupt, DatasetMissing, DregError, StoreFormatError, UsageError
from dregcli.names import DataKind, Split, unknown


class DataStatus(StrEnum):
    """How a data set stands on this machine."""

    EMBEDDED = "embedded"
    """It comes with the program."""
    CACHED = "cached"
    """It was downloaded or imported."""
    MISSING = "not downloaded"
    """The catalogue knows where to get it."""
    DAMAGED = "damaged"
    """There is a file, and it cannot be used."""


@dataclass(frozen=True)
class DataRow:
    """What is known of a data set without reading its values.

    Attributes:
        name: as the user types it.
        status: how it stands.
        imported: whether it is the user's own.
        problem: why it is damaged.
        kind: what its values are; this and the following are None or empty of a damaged one, and of one that is not
            here they are what is published.
        height: rows of an image.
        width: columns of an image.
        splits: examples by split.
        conventions: the ways to split it, the default first.
        nbytes: of its file.
        checksum: as the file states it.
        path: of its file, where there is one.
        source: where its content came from.
    """

    name: str
    status: DataStatus
    imported: bool
    problem: str | None = None
    kind: DataKind | None = None
    height: int | None = None
    width: int | None = None
    splits: dict[Split, int] = field(default_factory=dict[Split, int])
    conventions: tuple[str, ...] = ()
    nbytes: int | None = None
    checksum: str | None = None
    path: Path | None = None
    source: str | None = None


def list_data(data_dir: Path) -> list[DataRow]:
    """Every data set of the catalogue, and every imported one; a damaged one does not keep the others from it."""
    return [_row(name, data_dir) for name in known_datasets(data_dir)]


def _row(name: str, data_dir: Path) -> DataRow:
    path = cache_path(name, data_dir)
    imported = name not in DATASETS
    entry = DATASETS.get(name)
    try:
        if isinstance(entry, Embedded):
            return _told(entry.load(), DataStatus.EMBEDDED, None, data_dir)
        # Mapped and not loaded: what the file states is believed here, and `verify` looks.
        return _told(read_cache(name, data_dir, resident_bytes=0), DataStatus.CACHED, path, data_dir)
    except DatasetMissing as error:
        if path.exists():
            return DataRow(name, DataStatus.DAMAGED, imported, problem=error.what, path=path)
        # An imported set is known by its file, which may have gone since.
        return _published(entry) if isinstance(entry, Downloadable) else DataRow(name, DataStatus.MISSING, imported)
    except (DataCorrupt, StoreFormatError) as error:
        return DataRow(name, DataStatus.DAMAGED, imported, problem=error.what, nbytes=_bytes(path), path=path)


def _published(entry: Downloadable) -> DataRow:
    """What the catalogue knows of a data set that is not here."""
    conventions = entry.published.conventions
    return DataRow(
        entry.name,
        DataStatus.MISSING,
        imported=False,
        kind=entry.kind,
        height=entry.height,
        width=entry.width,
        splits=dict(conventions[entry.published.convention].sizes),
        conventions=tuple(conventions),
    )


def _told(dataset: Dataset, status: DataStatus, path: Path | None, data_dir: Path) -> DataRow:
    return DataRow(
        dataset.name,
        status,
        dataset.name not in DATASETS,
        kind=dataset.kind,
        height=dataset.height,
        width=dataset.width,
        splits={split: len(dataset.splits[split]) for split in Split},
        conventions=_conventions(dataset.name, data_dir),
        nbytes=_bytes(path) if path else None,
        checksum=dataset.checksum,
        path=path,
        source=dataset.source,
    )


def _conventions(name: str, data_dir: Path) -> tuple[str, ...]:
    try:
        return conventions_of(name, data_dir)
    except DregError:
        return ()


def _bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@dataclass(frozen=True)
class Verified:
    """What reading every value of a data set found.

    Attributes:
        name: the data set.
        problem: what is wrong with it, or None.
        checksum: of what was read.
        path: its file; None of an embedded one.
    """

    name: str
    problem: str | None
    checksum: str | None
    path: Path | None


def verify_data(names: Sequence[str], data_dir: Path, listener: Listener) -> list[Verified]:
    """Read data sets whole, and hold them against what their files state.

    Args:
        names: data sets; none means all that are on this machine.
        data_dir: the data folder.
        listener: told of progress.

    Returns:
        What was found, damage included.

    Raises:
        UsageError: no data set has that name.
        DatasetMissing: a named one is not on this machine.
    """
    chosen = list(dict.fromkeys(names))
    if not chosen:
        chosen = [
            name
            for name in known_datasets(data_dir)
            if isinstance(DATASETS.get(name), Embedded) or cache_path(name, data_dir).exists()
        ]
    for name in chosen:
        check_known(name, data_dir)
        if not isinstance(DATASETS.get(name), Embedded) and not cache_path(name, data_dir).exists():
            raise _missing(name, data_dir)
    results: list[Verified] = []
    listener.begin("verify", len(chosen), "data sets")
    try:
        for i, name in enumerate(chosen, start=1):
            results.append(_verified(name, data_dir))
            listener.update(i)
    finally:
        listener.end()
    return results


def _verified(name: str, data_dir: Path) -> Verified:
    entry = DATASETS.get(name)
    path = None if isinstance(entry, Embedded) else cache_path(name, data_dir)
    try:
        dataset = entry.load() if isinstance(entry, Embedded) else verify_cache(name, data_dir)
    except (DataCorrupt, DatasetMissing, StoreFormatError) as error:
        return Verified(name, error.what, None, path)
    return Verified(name, None, dataset.checksum, path)


def check_known(name: str, data_dir: Path) -> None:
    """Refuse a name that no data set has.

    Raises:
        UsageError: with the nearest name.
    """
    known = known_datasets(data_dir)
    if name not in known:
        raise UsageError(unknown("data set", name, known), hint="dreg data list")


def _missing(name: str, data_dir: Path) -> DatasetMissing:
    return DatasetMissing(
        what=f"the data set '{name}' is not on this machine",
        where=str(cache_path(name, data_dir)),
        hint=download_command(name, data_dir),
    )


@dataclass(frozen=True)
class Removal:
    """A data set that is to be removed.

    Attributes:
        name: the data set.
        path: its file.
        nbytes: the room it takes.
        imported: whether it is the user's own, and cannot be downloaded again.
        source: where it came from, as far as its file says.
    """

    name: str
    path: Path
    nbytes: int
    imported: bool
    source: str | None


def plan_removal(names: Sequence[str], data_dir: Path) -> list[Removal]:
    """What removing data sets would take away. Nothing is touched.

    Raises:
        UsageError: no data set has that name, or it comes with the program.
        DatasetMissing: one is not on this machine.
    """
    found: list[Removal] = []
    for name in dict.fromkeys(names):
        check_known(name, data_dir)
        if isinstance(DATASETS.get(name), Embedded):
            raise UsageError(
                what=f"the data set '{name}' comes with the program: there is nothing to remove",
                hint="dreg data list shows what is in the data folder",
            )
        path = cache_path(name, data_dir)
        if not path.is_file():
            raise _missing(name, data_dir)
        row = _row(name, data_dir)
        found.append(Removal(name, path, _bytes(path) or 0, row.imported, row.source))
    return found


def remove_data(removals: Sequence[Removal]) -> None:
    """Remove the files.

    Raises:
        StoreWriteError: the file system refuses.
    """
    for removal in removals:
        with writing(removal.path):
            removal.path.unlink(missing_ok=True)
