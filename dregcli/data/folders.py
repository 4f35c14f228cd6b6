"""Where data sets live on this machine."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import UsageError

WRITE_ELSEWHERE: Final = "choose another folder with --data-dir FOLDER or DREG_DATA_DIR"
"""What to do where the data folder cannot be written."""

NO_FOLDER: Final = Path(os.devnull) / "FOLDER"
"""Stands for the data folder where nobody has named one and there is no home folder: nothing can be in it. Data sets
that come with the program need none."""


def default_data_dir(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """The data folder: ``DREG_DATA_DIR``, else ``dreg`` in the platform's cache folder.

    Args:
        env: the environment variables.
        platform: as ``sys.platform`` spells it.

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
    """The one file that holds the cached data set ``name``."""
    return data_dir / f"{name}.h5"


def file_names(data_dir: Path) -> list[str]:
    """What the files of the data folder could be called as data sets, in order."""
    try:
        found = sorted(path.stem for path in data_dir.glob("*.h5"))
    except OSError:
        return []
    # A name whose bytes are no text cannot be typed, printed or kept.
    return [name for name in found if name.isprintable() and not name.startswith(".")]


def named(data_dir: Path) -> Path:
    """The data folder, if there is one.

    Raises:
        UsageError: there is none, since nobody has named one and there is no home folder.
    """
    return default_data_dir() if data_dir == NO_FOLDER else data_dir


def place_of(name: str, data_dir: Path) -> str:
    """Where the cached data set ``name`` is looked for, in words."""
    if data_dir == NO_FOLDER:
        return "nowhere: no data folder is named, and there is no home folder that one could be in"
    return str(cache_path(name, data_dir))


def figure_path(name: str, data_dir: Path, split: str, convention: str | None = None) -> Path:
    """Where the picture of one split of ``name`` lies; without a convention it is of the first one."""
    suffix = f"-{convention}" if convention else ""
    return data_dir / "figures" / f"{name}{suffix}-{split}.png"


def downloads_dir(name: str, data_dir: Path) -> Path:
    """Where the archives of ``name`` lie between their download and the writing of the cache."""
    return data_dir / "downloads" / name


def data_command(*words: str | Path, data_dir: Path) -> str:
    """A command that finds the same data folder when it is pasted into a shell.

    Args:
        words: as of :func:`dregcli.commands.command`.
        data_dir: the data folder in use; named in the command only where it is not the default.
    """
    if data_dir == NO_FOLDER:
        return command(*words, data_dir=Path(NO_FOLDER.name))
    try:
        is_default = data_dir == default_data_dir()
    except UsageError:
        # There is no default folder, so it must be named.
        is_default = False
    return command(*words, data_dir=None if is_default else data_dir)


def download_command(name: str, data_dir: Path, *, source: str | None = None) -> str:
    """The command that puts ``name`` into ``data_dir``, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder in use; named in the command only where it is not the default.
        source: what to give as ``--source``.

    Returns:
        One line.
    """
    return data_command("download", name, *(["--source", source] if source is not None else []), data_dir=data_dir)
