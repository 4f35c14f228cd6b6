"""The data sets of this machine: which there are, and whether they are whole; ``data_remove`` removes them."""

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
        channels: values of a pixel.
        splits: examples by split.
        conventions: the ways to split it, the default first.
        nbytes: of its file.
        checksum: as the file states it.
        path: of its file, where there is one.
        source: where its content came from.
        removal: the command that removes the file of a damaged one, where dreg would.
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
        """The shape of an image; () where it is not known."""
        return image_shape(self.height, self.width, self.channels) if self.height and self.width else ()


def list_data(data_dir: Path) -> list[DataRow]:
    """Every data set of the catalogue, and every imported one; a damaged one does not keep the others from it."""
    return [data_row(name, data_dir) for name in known_datasets(data_dir)]


def data_row(name: str, data_dir: Path) -> DataRow:
    """What is known of one of ``known_datasets``."""
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
            removal = _removal(name, data_dir)
            return DataRow(name, DataStatus.DAMAGED, imported, problem=error.what, path=path, removal=removal)
        # An imported set is known by its file, which may have gone since.
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
    """The command that removes data sets, ready to be pasted into a shell."""
    options = [*(["--force"] if force else []), *(["--yes"] if yes else [])]
    return data_command("data", "rm", *names, *options, data_dir=data_dir)


def _removal(name: str, data_dir: Path) -> str | None:
    """The command that removes the file of a data set; None where the file is not one of dreg's, or is not there."""
    owner = file_owner(name, data_dir)
    if owner in (None, Owner.OTHER):
        return None
    return removal_command([name], data_dir, force=name not in DATASETS and owner is not Owner.DREG)


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
    """Bytes of a file, where it can be asked."""
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
        removal: the command that removes a damaged file, where dreg would.
    """

    name: str
    problem: str | None
    checksum: str | None
    path: Path | None
    removal: str | None = None


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
        dataset = entry.load() if isinstance(entry, Embedded) else verify_cache(name, data_dir)
    except (DataCorrupt, DatasetMissing, StoreFormatError) as error:
        return Verified(name, error.what, None, path, _removal(name, data_dir))
    return Verified(name, None, dataset.checksum, path)


def check_known(name: str, data_dir: Path) -> None:
    """Refuse a name that no data set has.

    Raises:
        UsageError: with the nearest name.
    """
    known = known_datasets(data_dir)
    if name not in known:
        raise UsageError(unknown("data set", name, known), hint=data_command("data", "list", data_dir=data_dir))


def missing(name: str, data_dir: Path) -> DatasetMissing:
    """The error for a data set that is not on this machine."""
    return DatasetMissing(
        what=f"the data set '{name}' is not on this machine",
        where=place_of(name, data_dir),
        hint=download_command(name, data_dir),
    )
