"""Where things lie in a store, what may be called what, and the format's version."""

import re
from pathlib import Path
from typing import Any, Final

from dregcli.errors import StoreCorrupt, StoreFormatError, UsageError
from dregcli.store import documents
from dregcli.store.filesystem import FileSystem, is_temporary, make_folders, write_aside, write_errors

FORMAT_VERSION: Final = 1

STORE_FILE: Final = "store.json"
SPEC_FILE: Final = "spec.json"
RUN_FILE: Final = "run.json"
ENVIRONMENT_FILE: Final = "environment.json"
LOG_FILE: Final = "log.txt"
METRICS_FILE: Final = "metrics.h5"
PARTS_FOLDER: Final = "parts"
CHECKPOINTS_FOLDER: Final = "checkpoints"
LEASES_FOLDER: Final = "leases"
ROLLED_BACK_FOLDER: Final = "rolled-back"

_OWN_FOLDERS: Final = (PARTS_FOLDER, CHECKPOINTS_FOLDER, LEASES_FOLDER, ROLLED_BACK_FOLDER)
_RUN_ENTRIES: Final = (SPEC_FILE, RUN_FILE, ENVIRONMENT_FILE, LOG_FILE, METRICS_FILE, *_OWN_FOLDERS)

NAME_LENGTH: Final = 120
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)
_VERSION: Final = re.compile(r"v([0-9]{1,9})", re.ASCII)
_STEP: Final = re.compile(r"step-([0-9]{8,18})", re.ASCII)


def check_name(name: str) -> str:
    """Returns a run's name unchanged when it can be one.

    Raises:
        UsageError: empty, too long, with other characters, or a name the store uses itself.
    """
    hint = "use letters, digits, '.', '_' and '-', starting with a letter or a digit, e.g. --name digits-dreg"
    if not _NAME.fullmatch(name):
        what = f"'{name}' cannot be the name of a run."
    elif len(name) > NAME_LENGTH:
        what = f"The name of a run has at most {NAME_LENGTH} characters, this one {len(name)}."
    elif name == STORE_FILE or _VERSION.fullmatch(name):
        what = f"'{name}' cannot be the name of a run: the store uses such names itself."
    else:
        return name
    raise UsageError(what, where="name", hint=hint)


def is_name(name: str) -> bool:
    """Whether a folder's name can be that of a run."""
    return bool(_NAME.fullmatch(name)) and len(name) <= NAME_LENGTH and not _VERSION.fullmatch(name)


def check_file_name(stem: str, suffix: str) -> None:
    """Raises ValueError when a result's file name could leave its folder or clash with the store's own."""
    if not _NAME.fullmatch(stem) or len(stem) > NAME_LENGTH or not _SUFFIX.fullmatch(suffix):
        what = f"'{stem}{suffix}' cannot be the name of a file of a run"
        raise ValueError(what)


def check_folder(folder: str) -> None:
    """Raises ValueError when a folder is not one for results."""
    if not _NAME.fullmatch(folder) or folder in _RUN_ENTRIES:
        what = f"'{folder}' cannot be a folder for the results of a run"
        raise ValueError(what)


def version_name(version: int) -> str:
    """The folder of a version: 1 is ``v001``."""
    return f"v{version:03d}"


def parse_version(name: str) -> int | None:
    """The version a folder's name stands for, or None."""
    found = _VERSION.fullmatch(name)
    return int(found[1]) if found else None


def step_name(step: int) -> str:
    """The folder of a checkpoint: step 1000 is ``step-00001000``."""
    return f"step-{step:08d}"


def parse_step(name: str) -> int | None:
    """The step a checkpoint folder's name stands for, or None."""
    found = _STEP.fullmatch(name)
    return int(found[1]) if found else None


def entries(folder: Path) -> list[str]:
    """The names in a folder, sorted, without temporaries; empty where there is no folder.

    Raises:
        StoreCorrupt: the folder cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir() if not is_temporary(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"The folder cannot be read: {error.strerror or error}"
        raise StoreCorrupt(
            what,
            where=str(folder),
            hint="make it readable for this user, or choose another with --runs-dir FOLDER",
        ) from error


def versions(folder: Path) -> list[int]:
    """The versions of a name that lie in its folder, ascending."""
    found = [(parse_version(name), name) for name in entries(folder)]
    return sorted(
        version for version, name in found if version and name == version_name(version) and is_run(folder / name)
    )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: one just claimed is empty, any other holds something of ours."""
    if not folder.is_dir():
        return False
    names = entries(folder)
    return not names or any(name in _RUN_ENTRIES for name in names)


def check_store(root: Path) -> None:
    """Refuses a store this program cannot read. A folder without ``store.json`` is an empty store.

    Raises:
        StoreFormatError: of another format.
        StoreCorrupt: ``store.json`` is not what it should be.
    """
    path = root / STORE_FILE
    if path.exists():
        check_version(documents.read(path).get("format"), FORMAT_VERSION, path, "format")


def check_version(found: object, known: int, path: Path, word: str) -> None:
    """Refuses a version other than the known one.

    Raises:
        StoreFormatError: newer, or not a version, naming the file.
    """
    if isinstance(found, int) and not isinstance(found, bool):
        if found == known:
            return
        if found > known:
            what = f"This store has {word} {found}; this dreg knows {word} {known}."
            raise StoreFormatError(
                what,
                where=str(path),
                hint="install a newer dreg: pip install --upgrade dreg, or choose another folder with --runs-dir",
            )
    what = f"The {word} of this store is not one that dreg knows ({found!r})."
    raise StoreFormatError(
        what,
        where=str(path),
        hint="is it a folder of dreg's runs? Choose another with --runs-dir FOLDER",
    )


def check_encoding(document: dict[str, Any], kind: str, path: Path) -> None:
    """Refuses a file whose ``encoding-type`` or ``encoding-version`` this program does not know.

    Raises:
        StoreCorrupt: of another type.
        StoreFormatError: of another version.
    """
    if document.get("encoding-type") != kind:
        raise documents.corrupt(path, f"The file is not of type '{kind}'")
    version: Any = document.get("encoding-version")
    number = int(version) if isinstance(version, str) and version.isdecimal() and len(version) < 9 else version
    check_version(number, 1, path, f"{kind} encoding-version")


def prepare_store(root: Path, fs: FileSystem) -> None:
    """Makes ``root`` a store of this format, creating the folder and ``store.json`` where absent.

    Raises:
        StoreFormatError: it is a store of another format.
        StoreWriteError: the disk refuses.
    """
    check_store(root)
    if not (root / STORE_FILE).exists():
        make_folders(fs, root)
        write_aside(fs, root / STORE_FILE, documents.encode({"format": FORMAT_VERSION}))


def put_aside(fs: FileSystem, folder: Path, reason: str) -> Path:
    """Creates a new folder ``rolled-back/0001-reason``, the number never used before.

    Raises:
        StoreWriteError: the disk refuses.
    """
    home = folder / ROLLED_BACK_FOLDER
    make_folders(fs, home)
    taken = [int(number) for name in entries(home) if (number := name.partition("-")[0]).isdecimal()]
    path = home / f"{max(taken, default=0) + 1:04d}-{reason}"
    with write_errors(path):
        fs.mkdir(path)
        fs.sync(home)
    return path
