"""List the data sets of this machine, and check that they are whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.data.cache import read_cache, verify_cache
from dregcli.data.catalogue import DATASETS, conventions_of, file_owner, known_datasets
from dregcli.data.dataset import Dataset, image_shape
from dregcli.data.entries import Downloadable, Embedded
from dregcli.data.folders import cache_path, data_command, download_command, place_of
from dregcli.data.owner import Owner
from dregcli.errors import DataCorrupt, DatasetMissing, DregError, StoreFormatError, UsageError
from dregcli.names import DataKind, Split, unknown


class DataStatus(StrEnum):
    """State of a data set on this machine."""

    EMBEDDED = "embedded"
    """The data set comes with the program."""
    CACHED = "cached"
    """The data set was downloaded or imported."""
    MISSING = "not downloaded"
    """The data set is in the catalogue and can be downloaded."""
    DAMAGED = "damaged"
    """The data set has a file, but the file cannot be used."""


@dataclass(frozen=True)
class DataRow:
    """Facts about a data set that are known without reading its values.

    A damaged data set has only a problem, and a path, a size and a removal where they are known. For a data set that
    is not on this machine, the fields from ``kind`` to ``conventions`` are the published values.

    Attributes:
        name: the name as the user types it.
        status: state of the data set on this machine.
        imported: whether it is the user's own data set.
        problem: why it is damaged.
        kind: kind of its values.
        height: rows of an image.
        width: columns of an image.
        channels: values of a pixel.
        splits: number of examples of each split.
        conventions: the ways to split it, the default first.
        nbytes: size of its file in bytes.
        checksum: the checksum that its file states.
        path: path of its file, if it has one.
        source: where its content came from.
        removal: the command that removes a damaged file, if dreg would remove it; None for a file that the system
            does not let dreg read, because it may be whole.
    """

    name: str
    status: DataStatus
    imported: bool
    problem: str | None = None
    kind: DataKind | None = None
    height: int | None = None
    width: int | None = None
    channels: int = 1
    splits: dict[Split, int] = field(default_factory=dict[Split, int])
    conventions: tuple[str, ...] = ()
    nbytes: int | None = None
    checksum: str | None = None
    path: Path | None = None
    source: str | None = None
    removal: str | None = None

    @property
    def image(self) -> tuple[int, ...]:
        """The shape of an image; () if it is not known."""
        return image_shape(self.height, self.width, self.channels) if self.height and self.width else ()


def list_data(data_dir: Path) -> list[DataRow]:
    """Return a row for every data set of the catalogue and every imported one; damaged data sets are listed, too."""
    return [data_row(name, data_dir) for name in known_datasets(data_dir)]


def data_row(name: str, data_dir: Path) -> DataRow:
    """Return the row of one of ``known_datasets``."""
    path = cache_path(name, data_dir)
    imported = name not in DATASETS
    entry = DATASETS.get(name)
    try:
        if isinstance(entry, Embedded):
            return _row(entry.load(), DataStatus.EMBEDDED, None, data_dir)
        # Mapped, not loaded: this function trusts what the file states, and `verify` checks it.
        return _row(read_cache(name, data_dir, resident_bytes=0), DataStatus.CACHED, path, data_dir)
    except DatasetMissing as error:
        if path.exists():
            return DataRow(name, DataStatus.DAMAGED, imported, problem=error.what, path=path)
        # An imported data set is known only by its file, which may have been removed just now.
        return _published(entry) if isinstance(entry, Downloadable) else DataRow(name, DataStatus.MISSING, imported)
    except (DataCorrupt, StoreFormatError) as error:
        return DataRow(
            name,
            DataStatus.DAMAGED,
            imported,
            problem=error.what,
            nbytes=file_size(path),
            path=path,
            removal=_removal(name, data_dir),
        )


def removal_command(names: Sequence[str], data_dir: Path, *, force: bool = False, yes: bool = False) -> str:
    """Return the command that removes data sets, ready to be pasted into a shell."""
    options = [*(["--force"] if force else []), *(["--yes"] if yes else [])]
    return data_command("data", "rm", *names, *options, data_dir=data_dir)


def _removal(name: str, data_dir: Path) -> str | None:
    """Return the command that removes the file of a data set; None if there is no file or dreg did not make it."""
    owner = file_owner(name, data_dir)
    if owner in (None, Owner.OTHER):
        return None
    return removal_command([name], data_dir, force=name not in DATASETS and owner is not Owner.DREG)


def _published(entry: Downloadable) -> DataRow:
    """Return the catalogue's facts about a data set that is not on this machine."""
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


def _row(dataset: Dataset, status: DataStatus, path: Path | None, data_dir: Path) -> DataRow:
    return DataRow(
        dataset.name,
        status,
        dataset.name not in DATASETS,
        kind=dataset.kind,
        height=dataset.height,
        width=dataset.width,
        channels=dataset.channels,
        splits={split: len(dataset.splits[split]) for split in Split},
        conventions=_conventions(dataset.name, data_dir),
        nbytes=file_size(path) if path else None,
        checksum=dataset.checksum,
        path=path,
        source=dataset.source,
    )


def _conventions(name: str, data_dir: Path) -> tuple[str, ...]:
    try:
        return conventions_of(name, data_dir)
    except DregError:
        return ()


def file_size(path: Path) -> int | None:
    """Return the size of a file in bytes; None if the system does not say."""
    try:
        return path.stat().st_size
    except OSError:
        return None


@dataclass(frozen=True)
class Verified:
    """The result of a check that read every value of a data set.

    Attributes:
        name: the data set.
        problem: what is wrong with the data set, or None.
        checksum: checksum of the values that were read.
        path: its file; None for an embedded data set.
        removal: the command that removes a damaged file, if dreg would remove it.
    """

    name: str
    problem: str | None
    checksum: str | None
    path: Path | None
    removal: str | None = None


def verify_data(names: Sequence[str], data_dir: Path, listener: Listener) -> list[Verified]:
    """Read all values of data sets, and compare them with what their files state, or the program knows.

    Args:
        names: data sets; an empty sequence means all that are on this machine.
        data_dir: the data folder.
        listener: receives progress messages.

    Returns:
        One result for each data set, also for damaged ones.

    Raises:
        UsageError: no data set has that name.
        DatasetMissing: a named data set is not on this machine.
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
            raise missing(name, data_dir)
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
        dataset = entry.verified() if isinstance(entry, Embedded) else verify_cache(name, data_dir)
    except DatasetMissing as error:
        return Verified(name, error.what, None, path)
    except (DataCorrupt, StoreFormatError) as error:
        return Verified(name, error.what, None, path, _removal(name, data_dir))
    return Verified(name, None, dataset.checksum, path)


def check_known(name: str, data_dir: Path) -> None:
    """Refuse a name that no data set has.

    Raises:
        UsageError: no data set has that name; the error shows the nearest one.
    """
    known = known_datasets(data_dir)
    if name not in known:
        raise UsageError(unknown("data set", name, known), hint=data_command("data", "list", data_dir=data_dir))


def missing(name: str, data_dir: Path) -> DatasetMissing:
    """Return the error for a data set that is not on this machine."""
    return DatasetMissing(
        what=f"the data set '{name}' is not on this machine",
        where=place_of(name, data_dir),
        hint=download_command(name, data_dir),
    )
