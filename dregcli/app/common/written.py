"""Write results to files that the user names: a file is replaced as a whole, and only files are replaced."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dregcli.errors import Fault, StoreWriteError
from dregcli.filesystem import LOCAL, check_can_write, make_folders, write_aside

_HINT: Final = "name a FILE in a folder that you can write and that has room for it"


def target_faults(files: Mapping[str, Path]) -> list[Fault]:
    """Return the reasons why files cannot be written, as far as they can be known before the result exists.

    Args:
        files: the files, each under the option that names it.
    """
    faults: list[Fault] = []
    options: dict[Path, str] = {}
    for option, path in files.items():
        target = path.resolve()
        if why := _why_not(target):
            faults.append(Fault(option, f"{path} {why}"))
        elif target in options:
            faults.append(Fault(option, f"{path} is also the file of {options[target]}: name another."))
        options.setdefault(target, option)
    return faults


def _why_not(target: Path) -> str:
    """Return why no file with this name can be written, as far as the folders show; empty if one can be."""
    try:
        if target.is_dir():
            return "is a folder: name a file in it."
        if target.exists() and not target.is_file():
            return "is not a regular file: name another."
        above = next(folder for folder in target.parents if folder.exists())
    except OSError as error:
        return f"cannot be the name of a file ({error.strerror or error}): choose another."
    return "" if above.is_dir() else f"is below {above}, which is not a folder: name another."


def check_targets(files: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Refuse files and folders that cannot be made, before the result exists.

    Raises:
        StoreWriteError: a file or folder cannot be made.
    """
    for path in files:
        check_can_write(LOCAL, path.resolve().parent, hint=_HINT)
    for path in folders:
        check_can_write(LOCAL, path, hint="name a FOLDER that you can write and that has room for it")


def folder_faults(option: str, path: Path) -> list[Fault]:
    """Return the reason why no file can be written into a folder. A missing folder is no fault: it will be made."""
    return [Fault(option, f"{path} is not a folder: name another.")] if path.exists() and not path.is_dir() else []


def write_named(path: Path, content: bytes) -> int:
    """Write a temporary file and rename it, in place of an existing file; missing folders are made.

    A link stays a link: the file that it points to is replaced.

    Returns:
        The size of the file in bytes.

    Raises:
        StoreWriteError: the file cannot be written; an existing file is unchanged.
    """
    target = path.resolve()
    try:
        make_folders(LOCAL, target.parent)
        write_aside(LOCAL, target, content)
    except StoreWriteError as error:
        raise StoreWriteError(error.what, where=error.where, hint=_HINT) from error
    return len(content)
