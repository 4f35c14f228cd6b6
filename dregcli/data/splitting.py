"""Splits a cached data set by another convention."""

from pathlib import Path

from dregcli.data.conventions import Convention, Splits
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, FileSet
from dregcli.data.folders import data_command, download_command
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import Split, nearest


def check_sizes(splits: Splits, convention: Convention, *, where: str) -> None:
    """Check that the splits have the sizes of a convention.

    Raises:
        DataCorrupt: a split has another size.
    """
    for split in Split:
        count, wanted = len(splits[split]), convention.sizes[split]
        if count != wanted:
            raise DataCorrupt(what=f"the {split} split has {count:,} examples, not {wanted:,}", where=where)


def file_set_of(entry: Downloadable, dataset: Dataset, data_dir: Path) -> FileSet:
    """Return the set of files that a cached data set was built from, found by its split.

    Args:
        entry: the entry of the data set.
        dataset: the data set as it is cached.
        data_dir: the data folder that holds it, for the hint.

    Raises:
        DataCorrupt: no set of files has the split of the cached data set.
    """
    for file_set in entry.file_sets:
        if dataset.split_convention == file_set.convention:
            return file_set
    remove = data_command("data", "rm", entry.name, data_dir=data_dir)
    raise DataCorrupt(
        what=f"the cached data set '{entry.name}' is split as '{dataset.split_convention}', "
        "which is not one of its conventions",
        where=entry.name,
        hint=f"remove it: {remove}\nand fetch it again: {download_command(entry.name, data_dir)}",
    )


def check_known(name: str, convention: str, known: tuple[str, ...]) -> None:
    """Check that a data set has a convention.

    Raises:
        UsageError: the data set does not have the convention; the message lists the conventions it has.
    """
    if convention not in known:
        near = nearest(convention, known)
        meant = f" Did you mean '{near}'?" if near else ""
        raise UsageError(
            what=f"{name} has no split '{convention}'.{meant} It has: {', '.join(known)}.",
            hint="use one of these, or leave the split out to use the first",
        )


def recut(entry: Downloadable, dataset: Dataset, convention: str, data_dir: Path) -> Dataset:
    """Return the data set split by ``convention``.

    Args:
        entry: the entry of the data set.
        dataset: the data set as it is cached.
        convention: one of the conventions of the data set.
        data_dir: the data folder that holds it, for the hint.

    Raises:
        UsageError: the data set has no such convention.
        DataCorrupt: the new splits do not have the convention's sizes.
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
