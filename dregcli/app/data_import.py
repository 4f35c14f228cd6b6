"""Import a user's own file as a data set."""

from pathlib import Path

from dregcli.app.listener import Listener
from dregcli.data.catalogue import DATASETS, imported_names
from dregcli.data.importing.request import read_request, source_path
from dregcli.data.importing.run import Imported, import_data
from dregcli.names import DataKind

__all__ = ["Imported", "import_dataset"]


def import_dataset(
    source: Path,
    name: str,
    data_dir: Path,
    *,
    keys: list[str],
    kind: DataKind | None,
    levels: int,
    shape: str | None,
    resize: str | None,
    transpose: bool,
    invert: bool,
    valid: str | None,
    test: str | None,
    split_seed: int | None,
    replace: bool,
    listener: Listener,
) -> Imported:
    """Import a file or a folder of images; see ``dregcli.data.importing``.

    Args:
        source: the file or folder.
        name: what the data set is to be called.
        data_dir: the data folder.
        keys: which arrays of the file: one key, or ``SPLIT=KEY`` each.
        kind: what the values are; None to find out.
        levels: the value of full intensity of whole numbers.
        shape: ``HxW`` of an example that is stored as one row.
        resize: ``HxW`` to which images are brought.
        transpose: whether the examples lie along the last axis.
        invert: whether black and white change places.
        valid: a count or fraction of examples for validation.
        test: the same for testing.
        split_seed: draws them.
        replace: whether an imported data set of that name gives way.
        listener: told of progress.

    Returns:
        The data set and what was done.

    Raises:
        UsageError: the source, the name or an option cannot be.
        DataCorrupt: the source is damaged, hostile or no data set.
        StoreWriteError: the data folder cannot be written.
    """
    request = read_request(
        source_path(source),
        name,
        taken=_taken(name, data_dir, replace=replace),
        keys=keys,
        kind=kind,
        levels=levels,
        shape=shape,
        resize=resize,
        transpose=transpose,
        invert=invert,
        valid=valid,
        test=test,
        seed=split_seed,
        replace=replace,
    )
    return import_data(request, data_dir, listener)


def _taken(name: str, data_dir: Path, *, replace: bool) -> dict[str, str]:
    """Names that cannot be had, in lower case, with the reason."""
    # In lower case, because there are file systems on which names that differ only in case are one file.
    taken = {known.lower(): f"'{known}' is a data set of the catalogue" for known in DATASETS}
    for known in imported_names(data_dir):
        if known != name:
            taken.setdefault(known.lower(), f"'{name}' differs from the data set '{known}' only in case")
        elif not replace:
            taken[known.lower()] = f"'{known}' is taken: take another name, or give --replace"
    return taken
