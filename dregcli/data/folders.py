"""The folders that hold data sets on this machine."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import UsageError

WRITE_ELSEWHERE: Final = "choose another folder with --data-dir FOLDER or DREG_DATA_DIR"
"""Advice where the data folder cannot be written."""

NO_FOLDER: Final = Path(os.devnull) / "FOLDER"
"""Placeholder for the data folder where none is named and there is no home folder: nothing can be in it. Data sets
that are part of the program need no folder."""


def default_data_dir(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return the data folder: ``DREG_DATA_DIR``, or else ``dreg`` in the platform's cache folder.

    Args:
        env: the environment variables.
        platform: the platform, as in ``sys.platform``.

    Returns:
        The folder, which need not exist yet.

    Raises:
        UsageError: no variable names a folder and the user has no home folder.
    """
    try:
        chosen = env.get("DREG_DATA_DIR")
        if chosen:
            return Path(chosen).expanduser()
        if platform == "darwin":
            return Path.home() / "Library" / "Caches" / "dreg"
        cache = env.get("XDG_CACHE_HOME", "")
        # The XDG specification says that a relative path is invalid and must be ignored.
        return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "dreg"
    except RuntimeError as error:
        raise UsageError(
            what=f"there is no default data folder: {error}",
            hint="name one with --data-dir FOLDER or DREG_DATA_DIR",
        ) from error


def cache_path(name: str, data_dir: Path) -> Path:
    """Return the path of the file that holds the cached data set ``name``."""
    return data_dir / f"{name}.h5"


def file_names(data_dir: Path) -> list[str]:
    """Return the names of data sets that the files of the data folder stand for, sorted."""
    try:
        found = sorted(path.stem for path in data_dir.glob("*.h5"))
    except OSError:
        return []
    # A name with bytes that are not text cannot be typed, printed or stored.
    return [name for name in found if name.isprintable() and not name.startswith(".")]


def named(data_dir: Path) -> Path:
    """Return the data folder, if there is one.

    Raises:
        UsageError: no data folder is named and there is no home folder.
    """
    return default_data_dir() if data_dir == NO_FOLDER else data_dir


def place_of(name: str, data_dir: Path) -> str:
    """Return the place of the cached data set ``name``, in words."""
    if data_dir == NO_FOLDER:
        return "nowhere: no data folder is named, and there is no home folder for a default one"
    return str(cache_path(name, data_dir))


def figure_path(name: str, data_dir: Path, split: str, convention: str | None = None) -> Path:
    """Return the path of the picture of one split of ``name``; without a convention, of the first convention."""
    suffix = f"-{convention}" if convention else ""
    return data_dir / "figures" / f"{name}{suffix}-{split}.png"


def downloads_dir(name: str, data_dir: Path) -> Path:
    """Return the folder of the downloaded files of ``name``, which are kept until the cache is written."""
    return data_dir / "downloads" / name


def data_command(*words: str | Path, data_dir: Path) -> str:
    """Return a command that uses the same data folder when it is pasted into a shell.

    Args:
        words: see :func:`dregcli.commands.command`.
        data_dir: the data folder in use; it appears in the command only where it is not the default.
    """
    if data_dir == NO_FOLDER:
        return command(*words, data_dir=Path(NO_FOLDER.name))
    try:
        is_default = data_dir == default_data_dir()
    except UsageError:
        # There is no default folder, so the command must name one.
        is_default = False
    return command(*words, data_dir=None if is_default else data_dir)


def download_command(name: str, data_dir: Path, *, source: str | None = None) -> str:
    """Return the command that puts ``name`` into ``data_dir``, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder in use; it appears in the command only where it is not the default.
        source: the value of ``--source``, if any.

    Returns:
        One line.
    """
    return data_command("download", name, *(["--source", source] if source is not None else []), data_dir=data_dir)
