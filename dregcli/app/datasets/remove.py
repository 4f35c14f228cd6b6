"""Remove data sets from the data folder, but only files that dreg made."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.app.datasets.status import check_known, data_row, file_size, missing, removal_command
from dregcli.data.catalogue import DATASETS, file_owner, imported_names
from dregcli.data.entries import Embedded
from dregcli.data.folders import cache_path, data_command
from dregcli.data.owner import Owner
from dregcli.errors import UsageError
from dregcli.filesystem import LOCAL, write_errors
from dregcli.names import Split

_REMOVE: Final = "get permission to change the folder of this file, and run the command again"


@dataclass(frozen=True)
class Removal:
    """A data set that will be removed.

    Attributes:
        name: the data set.
        path: its file.
        nbytes: size of the file in bytes.
        imported: whether it is the user's own data set, which cannot be downloaded again.
        source: where its content came from, if its file says so.
        figures: its pictures by ``dreg data show`` in the data folder; only for the user's own data.
        unreadable: whether the file cannot be read, so that its content is unknown.
    """

    name: str
    path: Path
    nbytes: int
    imported: bool
    source: str | None
    figures: tuple[Path, ...] = ()
    unreadable: bool = False


def plan_removal(names: Sequence[str], data_dir: Path, *, force: bool = False) -> list[Removal]:
    """Return what would be removed, without removing anything.

    Args:
        names: data sets.
        data_dir: the data folder.
        force: whether to remove also a file that cannot be read, and so may not belong to dreg.

    Raises:
        UsageError: no data set has that name; or it comes with the program; or its file does not belong to dreg; or
            its file cannot be read and ``force`` is not given.
        DatasetMissing: a data set is not on this machine.
    """
    return [_removal(name, data_dir, force=force) for name in dict.fromkeys(names)]


def _removal(name: str, data_dir: Path, *, force: bool) -> Removal:
    path = cache_path(name, data_dir)
    imported = name not in DATASETS
    owner = file_owner(name, data_dir)
    if isinstance(DATASETS.get(name), Embedded):
        raise UsageError(
            what=f"the data set '{name}' is part of the program: there is no file to remove",
            hint=f"see what is in the data folder: {data_command('data', 'list', data_dir=data_dir)}",
        )
    if owner is None:
        check_known(name, data_dir)
        raise missing(name, data_dir)
    if owner is Owner.OTHER:
        raise UsageError(
            what=f"'{path.name}' is not a file of dreg: nothing was removed",
            where=str(path),
            hint="if you do not need the file, move or remove it yourself",
        )
    unreadable = imported and owner is not Owner.DREG
    if unreadable and not force:
        raise UsageError(
            what=f"'{path.name}' cannot be read, so it may not be a data set of dreg: nothing was removed",
            where=str(path),
            hint=removal_command([name], data_dir, force=True),
        )
    return Removal(
        name,
        path,
        file_size(path) or 0,
        imported,
        None if unreadable else data_row(name, data_dir).source,
        _figures(name, data_dir) if imported else (),
        unreadable,
    )


def _figures(name: str, data_dir: Path) -> tuple[Path, ...]:
    """Return the pictures of one of the user's own data sets."""
    splits = "|".join(Split)

    def pattern(name: str) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(name)}(-seed-[0-9]+|-given)?-({splits})\.png")

    # 'a-given-test.png' belongs to the data set 'a', split as given, or to the data set 'a-given'.
    others = [pattern(other) for other in imported_names(data_dir) if other != name and other.startswith(f"{name}-")]
    try:
        found = sorted((data_dir / "figures").iterdir())
    except OSError:
        return ()
    return tuple(
        path
        for path in found
        if pattern(name).fullmatch(path.name)
        and not any(other.fullmatch(path.name) for other in others)
        and path.is_file()
    )


def remove_data(removals: Sequence[Removal]) -> None:
    """Remove the files.

    Raises:
        StoreWriteError: a file cannot be removed.
    """
    for removal in removals:
        for path in (removal.path, *removal.figures):
            with write_errors(path, hint=_REMOVE), contextlib.suppress(FileNotFoundError):
                LOCAL.remove(path)
