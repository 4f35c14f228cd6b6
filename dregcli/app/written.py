"""Files that a user names for a result: replaced as a whole, and only where a file is what is replaced."""

from collections.abc import Mapping
from pathlib import Path

from dregcli.errors import Fault, StoreWriteError
from dregcli.store.filesystem import LOCAL, make_folders, write_aside


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
        hint = "name a FILE in a folder that you can write and that has room for it"
        raise StoreWriteError(error.what, where=error.where, hint=hint) from error
    return len(content)
