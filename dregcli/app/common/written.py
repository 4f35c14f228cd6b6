"""Files that a user names for a result: replaced as a whole, and only where a file is what is replaced."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dregcli.errors import Fault, StoreWriteError
from dregcli.filesystem import LOCAL, check_can_write, make_folders, write_aside

_HINT: Final = "name a FILE in a folder that you can write and that has room for it"


def target_faults(files: Mapping[str, Path]) -> list[Fault]:
    """Why some of these cannot be written, as far as that is known before there is anything to write.

    Args:
        files: by the option that names each.
    """
    faults: list[Fault] = []
    options: dict[Path, str] = {}
    for option, path in files.items():
        target = path.resolve()
        if why := _why_not(target):
            faults.append(Fault(option, f"{path} {why}"))
        elif target in options:
            faults.append(Fault(option, f"{path} is that of {options[target]}, too: name another."))
        options.setdefault(target, option)
    return faults


def _why_not(target: Path) -> str:
    """Why no file can have this name, as far as looking tells; empty where it can."""
    try:
        if target.is_dir():
            return "is a folder: name a file in it."
        if target.exists() and not target.is_file():
            return "is no plain file: name another."
        above = next(folder for folder in target.parents if folder.exists())
    except OSError as error:
        return f"cannot be a file's name ({error.strerror or error}): choose another."
    return "" if above.is_dir() else f"is below {above}, which is no folder: name another."


def check_targets(files: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Refuse files and folders that cannot be made, before there is anything to write into them.

    Raises:
        StoreWriteError: the disk refuses.
    """
    for path in files:
        check_can_write(LOCAL, path.resolve().parent, hint=_HINT)
    for path in folders:
        check_can_write(LOCAL, path, hint="name a FOLDER that you can write and that has room for it")


def folder_faults(option: str, path: Path) -> list[Fault]:
    """Why nothing can be written into a folder, which is made where it is missing."""
    return [Fault(option, f"{path} is no folder: name another.")] if path.exists() and not path.is_dir() else []


def write_named(path: Path, content: bytes) -> int:
    """Write a file aside and give it its name, in place of a file that has it; folders above are made.

    A link stays one: what it leads to is replaced.

    Returns:
        Its size in bytes.

    Raises:
        StoreWriteError: the disk refuses; what was there is untouched.
    """
    target = path.resolve()
    try:
        make_folders(LOCAL, target.parent)
        write_aside(LOCAL, target, content)
    except StoreWriteError as error:
        raise StoreWriteError(error.what, where=error.where, hint=_HINT) from error
    return len(content)
