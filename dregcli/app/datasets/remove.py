"""Removal of data sets from the data folder: only of files that dreg made."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dregcli.app.datasets.status import check_known, data_row, file_size, missing, removal_command
from dregcli.data.catalogue import DATASETS, file_owner, imported_names
from dregcli.data.entries import Embedded
from dregcli.data.folders import WRITE_ELSEWHERE, cache_path, data_command
from dregcli.data.owner import Owner
from dregcli.errors import UsageError
from dregcli.filesystem import LOCAL, write_errors
from dregcli.names import Split


@dataclass(frozen=True)
class Removal:
    """A data set that is to be removed.

    Attributes:
        name: the data set.
        path: its file.
        nbytes: the room it takes.
        imported: whether it is the user's own, and cannot be downloaded again.
        source: where it came from, as far as its file says.
        figures: pictures of it that ``dreg data show`` left in the data folder; only of the user's own data.
        unreadable: whether nobody can tell any more what its file was.
    """

    name: str
    path: Path
    nbytes: int
    imported: bool
    source: str | None
    figures: tuple[Path, ...] = ()
    unreadable: bool = False


def plan_removal(names: Sequence[str], data_dir: Path, *, force: bool = False) -> list[Removal]:
    """What removing data sets would take away. Nothing is touched.

    Args:
        names: data sets.
        data_dir: the data folder.
        force: whether a file that cannot be read, and so may not be dreg's, is removed too.

    Raises:
        UsageError: no data set has that name, it comes with the program, its file is not one of dreg's, or cannot be
            read and ``force`` is not given.
        DatasetMissing: one is not on this machine.
    """
    return [_removal(name, data_dir, force=force) for name in dict.fromkeys(names)]


def _removal(name: str, data_dir: Path, *, force: bool) -> Removal:
    path = cache_path(name, data_dir)
    imported = name not in DATASETS
    owner = file_owner(name, data_dir)
    if isinstance(DATASETS.get(name), Embedded):
        raise UsageError(
            what=f"the data set '{name}' comes with the program: there is nothing to remove",
            hint=f"see what is in the data folder: {data_command('data', 'list', data_dir=data_dir)}",
        )
    if owner is None:
        check_known(name, data_dir)
        raise missing(name, data_dir)
    if owner is Owner.OTHER:
        raise UsageError(
            what=f"'{path.name}' is not a file of dreg: nothing was removed",
            where=str(path),
            hint="if it is in the way, move or remove it yourself",
        )
    unreadable = imported and owner is not Owner.DREG
    if unreadable and not force:
        raise UsageError(
            what=f"'{path.name}' cannot be read, so that nobody can tell whether it is a data set of dreg: "
            "nothing was removed",
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
    """The pictures of a data set of the user's."""
    splits = "|".join(Split)

    def pattern(name: str) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(name)}(-seed-[0-9]+|-given)?-({splits})\.png")

    # 'a-given-test.png' is of the data set 'a', split as given, or of the data set 'a-given'.
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
        StoreWriteError: the file system refuses.
    """
    for removal in removals:
        for path in (removal.path, *removal.figures):
            with write_errors(path, hint=WRITE_ELSEWHERE), contextlib.suppress(FileNotFoundError):
                LOCAL.remove(path)
