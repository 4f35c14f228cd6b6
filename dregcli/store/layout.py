"""The layout of a store: paths, allowed names, and the format's version."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from dregcli.commands import command
from dregcli.errors import StoreCorrupt, StoreFormatError, StoreWriteError, UsageError
from dregcli.filesystem import FileSystem, is_temporary, make_folders, write_aside, write_errors
from dregcli.store import documents

FORMAT_VERSION: Final = 2
"""The one format that dreg reads and writes. A store of another format is refused, with advice on how to read it."""

STORE_FILE: Final = "store.json"
SPEC_FILE: Final = "spec.json"
RUN_FILE: Final = "run.json"
ENVIRONMENT_FILE: Final = "environment.json"
LOG_FILE: Final = "log.txt"
METRICS_FILE: Final = "metrics.h5"
PARTS_FOLDER: Final = "parts"
CHECKPOINTS_FOLDER: Final = "checkpoints"
LEASES_FOLDER: Final = "leases"
CLAIMS_FOLDER: Final = ".claims"
ROLLED_BACK_FOLDER: Final = "rolled-back"
LABELS_FOLDER: Final = "labels"
CODE_FOLDER: Final = "model"
PLACE_FILE: Final = "place.json"
"""The file in ``CODE_FOLDER`` that says where the code of a model lies on this machine; it is never exported."""

_OWN_FOLDERS: Final = (
    PARTS_FOLDER,
    CHECKPOINTS_FOLDER,
    LEASES_FOLDER,
    ROLLED_BACK_FOLDER,
    LABELS_FOLDER,
    CODE_FOLDER,
)
_RUN_ENTRIES: Final = (SPEC_FILE, RUN_FILE, ENVIRONMENT_FILE, LOG_FILE, METRICS_FILE, *_OWN_FOLDERS)

_STORE_CONTENT: Final = documents.encode({"format": FORMAT_VERSION})

NAME_LENGTH: Final = 120
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)
_VERSION: Final = re.compile(r"v([0-9]{1,9})", re.ASCII)
_ENVIRONMENT: Final = re.compile(r"environment(?:-([0-9]{4,9}))?\.json", re.ASCII)
_CODE_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_DEEPEST_CODE: Final = 8
_REMOVED: Final = ".removed"
_STEP: Final = re.compile(r"step-([0-9]{8,18})", re.ASCII)


def check_name(name: str) -> str:
    """Return a run's name unchanged if it is valid.

    Raises:
        UsageError: the name is empty, too long, has other characters, or the store uses it itself.
    """
    hint = "use letters, digits, '.', '_' and '-', starting with a letter or a digit, e.g. --name digits-dreg"
    if not _NAME.fullmatch(name):
        what = f"'{name}' cannot be the name of a run."
    elif len(name) > NAME_LENGTH:
        what = f"The name of a run has at most {NAME_LENGTH} characters, but this one has {len(name)}."
    elif name == STORE_FILE or _VERSION.fullmatch(name):
        what = f"'{name}' cannot be the name of a run: the store uses such names itself."
    else:
        return name
    raise UsageError(what, where="name", hint=hint)


def is_name(name: str) -> bool:
    """Whether a folder's name can be the name of a run."""
    return bool(_NAME.fullmatch(name)) and len(name) <= NAME_LENGTH and not _VERSION.fullmatch(name)


def check_file_name(stem: str, suffix: str) -> None:
    """Raise ValueError if a result's file name could leave its folder or clash with the store's own names."""
    if not _NAME.fullmatch(stem) or len(stem) > NAME_LENGTH or not _SUFFIX.fullmatch(suffix):
        what = f"'{stem}{suffix}' cannot be the name of a run's file"
        raise ValueError(what)


def check_folder(folder: str) -> None:
    """Raise ValueError if a folder cannot hold results."""
    if not _NAME.fullmatch(folder) or folder in _RUN_ENTRIES:
        what = f"'{folder}' cannot be a folder for the results of a run"
        raise ValueError(what)


def is_code_name(name: str) -> bool:
    """Whether a source file can be captured under a name, with ``/`` between folders, on any system."""
    parts = name.split("/")
    return len(parts) <= _DEEPEST_CODE and all(_CODE_PART.fullmatch(part) for part in parts)


def is_place(name: str) -> bool:
    """Whether a file of a run, by its name with ``/`` between folders, holds a place on this machine.

    Some systems ignore the case of names.
    """
    return name.rpartition("/")[2].casefold() == PLACE_FILE


def is_document(name: str) -> bool:
    """Whether a file is a plain document, whose digest is in ``run.json``, judging by its name."""
    return name == SPEC_FILE or bool(_ENVIRONMENT.fullmatch(name))


def environment_file(generation: int) -> str:
    """Return the file with the captured environment of a generation; ``environment.json`` for the first one."""
    return ENVIRONMENT_FILE if generation == 1 else f"environment-{generation:04d}.json"


def generations(names: Iterable[str]) -> list[int]:
    """Return the generations of the environment files among some names, ascending."""
    return sorted(
        1 if name == ENVIRONMENT_FILE else int(found[1]) for name in names if (found := _ENVIRONMENT.fullmatch(name))
    )


def is_gone(run: Path) -> bool:
    """Whether the folder of a run is not there any more; a disk that does not answer is no reason to think so."""
    try:
        run.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def restore_command(run: Path) -> str:
    """Return the command that brings back a run that was removed while a process worked on it."""
    return command("runs", "rm", "--restore", f"{run.parent.name}/{run.name}", runs_dir=run.parent.parent)


def version_name(version: int) -> str:
    """Return the folder of a version: 1 is ``v001``."""
    return f"v{version:03d}"


def parse_version(name: str) -> int | None:
    """Return the version that a folder's name stands for, or None."""
    found = _VERSION.fullmatch(name)
    return int(found[1]) if found else None


def removed_marker(run: Path) -> Path:
    """Return the file that stays after a version is removed, so that its number is not used again."""
    return run.with_name(run.name + _REMOVED)


def next_version(home: Path) -> int:
    """Return the next version of a name: above all existing and removed versions."""
    return max((parse_version(name.removesuffix(_REMOVED)) or 0 for name in entries(home)), default=0) + 1


def step_name(step: int) -> str:
    """Return the folder of a checkpoint: step 1000 is ``step-00001000``."""
    return f"step-{step:08d}"


def parse_step(name: str) -> int | None:
    """Return the step that a checkpoint folder's name stands for, or None."""
    found = _STEP.fullmatch(name)
    return int(found[1]) if found else None


def entries(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without temporaries; for its errors see :func:`names_in`."""
    return [name for name in names_in(folder) if not is_temporary(name)]


def names_in(folder: Path) -> list[str]:
    """Return all names in a folder, sorted, including temporaries; empty where there is no folder.

    Raises:
        StoreCorrupt: the folder cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
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
    """Return the versions of a name that lie in its folder, ascending."""
    found = [(parse_version(name), name) for name in entries(folder)]
    return sorted(
        version for version, name in found if version and name == version_name(version) and is_run(folder / name)
    )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: a run that was just claimed is empty, any other has one of dreg's files."""
    try:
        if not folder.is_dir():
            return False
        names = entries(folder)
    except (OSError, StoreCorrupt):
        return True  # it may be a run: reading it gives the reason, and the other runs can still be listed
    return not names or any(name in _RUN_ENTRIES for name in names)


def check_store(root: Path) -> None:
    """Refuse a store of another format. A folder without ``store.json`` is an empty store.

    Raises:
        StoreFormatError: the store has another format.
        StoreCorrupt: ``store.json`` is altered.
    """
    path = root / STORE_FILE
    if not path.exists():
        return
    content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
    check_version(documents.decode(content, path).get("format"), FORMAT_VERSION, path, "format")
    if content != _STORE_CONTENT:
        raise documents.corrupt(path, "The file holds something other than the store's format")


def check_version(found: object, known: int, path: Path, word: str) -> None:
    """Refuse a version other than the one that this program reads and writes.

    Raises:
        StoreFormatError: the version is older or newer, or is not a version; the error names the file.
    """
    if found is True or not isinstance(found, int) or found < 1:
        what = f"dreg does not know the {word} of {path.name} ({found!r})."
        hint = "is it a folder of dreg's runs? Choose another with --runs-dir FOLDER"
    elif found < known:
        what = (
            f"{path.name} has {word} {found}, which dreg wrote before version 0.1.0; this dreg knows {word} {known}."
        )
        hint = "read it with the older dreg, from a clone at its tag; or choose another folder: --runs-dir FOLDER"
    elif found > known:
        what = f"{path.name} has {word} {found}, which a newer dreg wrote; this dreg knows {word} {known}."
        hint = "install a newer dreg (in your clone: git pull), or choose another folder: --runs-dir FOLDER"
    else:
        return
    raise StoreFormatError(what, where=str(path), hint=hint)


def check_encoding(document: dict[str, Any], kind: str, path: Path, *, known: int = 1) -> None:
    """Refuse a file whose ``encoding-type`` or ``encoding-version`` is not the known one.

    Raises:
        StoreCorrupt: the file has another type.
        StoreFormatError: the file has another version.
    """
    if document.get("encoding-type") != kind:
        raise documents.corrupt(path, f"The file does not have the type '{kind}'")
    version: Any = document.get("encoding-version")
    number = int(version) if isinstance(version, str) and version.isdecimal() and len(version) < 9 else version
    check_version(number, known, path, f"{kind} encoding-version")


def prepare_store(root: Path, fs: FileSystem) -> None:
    """Make ``root`` a store of this format: create the folder and ``store.json`` if they are missing.

    Raises:
        StoreFormatError: ``root`` is a store of another format.
        StoreWriteError: the disk refuses.
    """
    check_store(root)
    if not (root / STORE_FILE).exists():
        make_folders(fs, root)
        write_aside(fs, root / STORE_FILE, _STORE_CONTENT)


def make_home(fs: FileSystem, home: Path) -> None:
    """Create a folder of results in a run.

    Raises:
        StoreWriteError: the disk refuses, or the run was removed while a process worked on it: a new folder of its
            name would keep it from being restored.
    """
    run = home.parent
    if is_gone(run):
        what = "The run was removed or renamed in the meantime"
        hint = f"bring it back, then repeat the command: {restore_command(run)}"
        raise StoreWriteError(what, where=str(run), hint=hint)
    make_folders(fs, home)


def put_aside(fs: FileSystem, folder: Path, reason: str) -> Path:
    """Create a new folder ``rolled-back/0001-reason``, with a number that was never used before.

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
