"""A cached data set cut by another convention of the field."""

from pathlib import Path

from dregcli.data.conventions import Convention, Splits
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, FileSet
from dregcli.data.folders import data_command, download_command
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import Split, nearest


def check_sizes(splits: Splits, convention: Convention, *, where: str) -> None:
    """Hold the splits against the numbers of examples that a convention has.

    Raises:
        DataCorrupt: a split has another size.
    """
    for split in Split:
        count, wanted = len(splits[split]), convention.sizes[split]
        if count != wanted:
            raise DataCorrupt(what=f"the {split} split has {count:,} examples, not {wanted:,}", where=where)


def file_set_of(entry: Downloadable, dataset: Dataset, data_dir: Path) -> FileSet:
    """The files that a cached data set was made of, by how it is split.

    Args:
        entry: its entry.
        dataset: as it is cached.
        data_dir: the data folder it is cached in, for the hint.

    Raises:
        DataCorrupt: it is split as none of them is.
    """
    for file_set in entry.file_sets:
        if dataset.split_convention == file_set.convention:
            return file_set
    remove = data_command("data", "rm", entry.name, data_dir=data_dir)
    raise DataCorrupt(
        what=f"the cached data set '{entry.name}' is split as '{dataset.split_convention}', "
        "which is none of its conventions",
        where=entry.name,
        hint=f"remove it: {remove}\nand fetch it again: {download_command(entry.name, data_dir)}",
    )


def check_known(name: str, convention: str, known: tuple[str, ...]) -> None:
    """Whether a data set has a convention.

    Raises:
        UsageError: it has not; the message says which it has.
    """
    if convention not in known:
        near = nearest(convention, known)
        meant = f" Did you mean '{near}'?" if near else ""
        raise UsageError(
            what=f"{name} is not split as '{convention}'.{meant} It has: {', '.join(known)}.",
            hint="take one of these, or none for the first",
        )


def recut(entry: Downloadable, dataset: Dataset, convention: str, data_dir: Path) -> Dataset:
    """The data set split as ``convention`` has it.

    Args:
        entry: its entry.
        dataset: as it is cached.
        convention: one of its own.
        data_dir: as for ``file_set_of``.

    Raises:
        UsageError: it has no such convention.
        DataCorrupt: the splits come out in other sizes than the convention has.
    """
    file_set = file_set_of(entry, dataset, data_dir)
    check_known(dataset.name, convention, tuple(file_set.conventions))
    if convention == dataset.split_convention:
        return dataset
    wanted = file_set.conventions[convention]
    splits = wanted.cut(dataset.splits)
    check_sizes(splits, wanted, where=f"{dataset.name}, split as {convention}")
    return Dataset.build(
        name=dataset.name,
        kind=dataset.kind,
        height=dataset.height,
        width=dataset.width,
        levels=dataset.levels,
        channels=dataset.channels,
        splits=splits,
        split_convention=convention,
        source=dataset.source,
        provenance=dataset.provenance,
    )
