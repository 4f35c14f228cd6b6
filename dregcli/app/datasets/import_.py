"""Import a user's own file as a data set."""

from dataclasses import replace
from pathlib import Path

from dregcli.app.common.listener import Listener
from dregcli.app.planning.first_examples import first_examples, write_picture
from dregcli.data.catalogue import DATASETS, file_owner, imported_names
from dregcli.data.folders import WRITE_ELSEWHERE, figure_path
from dregcli.data.importing.columns import ColumnWords
from dregcli.data.importing.request import ImportWords, read_request
from dregcli.data.importing.run import Imported, import_data
from dregcli.data.owner import Owner
from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, check_can_write
from dregcli.names import Split

__all__ = ["ColumnWords", "ImportWords", "Imported", "import_dataset"]


def import_dataset(words: ImportWords, data_dir: Path, listener: Listener) -> Imported:
    """Import a file or a folder of images; see ``dregcli.data.importing``.

    Args:
        words: the options that the user gave.
        data_dir: the data folder.
        listener: receives progress messages.

    Returns:
        The data set, what was done, and the path of a picture of the first training examples.

    Raises:
        UsageError: the source, the name or an option is not valid.
        DataCorrupt: the source is damaged, hostile or not a data set.
        StoreWriteError: the data folder cannot be written.
    """
    request = read_request(words, taken=_taken(words.name, data_dir, replace=words.replace))
    # Checked first: reading a large source takes minutes.
    check_can_write(LOCAL, data_dir, hint=WRITE_ELSEWHERE)
    return _with_picture(import_data(request, data_dir, listener), data_dir)


def _with_picture(imported: Imported, data_dir: Path) -> Imported:
    """Add a picture to an import, in the folder of ``dreg data show``, where ``dreg data rm`` finds it."""
    path = figure_path(imported.dataset.name, data_dir, Split.TRAIN)
    try:
        write_picture(path, first_examples(imported.dataset, Split.TRAIN))
    except StoreWriteError as error:
        # The data set itself is whole.
        warning = f"the picture of the first examples was not written: {error.what} ({path})"
        return replace(imported, warnings=(*imported.warnings, warning))
    return replace(imported, figure=path)


def _taken(name: str, data_dir: Path, *, replace: bool) -> dict[str, str]:
    """Return the names that cannot be used, in lower case, each with the reason."""
    # Lower case, because on some file systems names that differ only in case are the same file.
    taken = {known.lower(): f"'{known}' is a data set of the catalogue" for known in DATASETS}
    for known in imported_names(data_dir):
        if known != name:
            taken.setdefault(known.lower(), f"'{name}' differs from the data set '{known}' only in case")
        # A damaged one is never replaced: the import itself says so, and what to do.
        elif not replace and file_owner(known, data_dir) is Owner.DREG:
            taken[known.lower()] = f"'{known}' exists already: choose another name, or give --replace"
    return taken
