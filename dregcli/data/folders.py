"""Where data sets live on this machine."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from dregcli.errors import UsageError


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
        if platform == "win32":
            local = env.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "dreg"
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


def figure_path(name: str, data_dir: Path, split: str, convention: str | None = None) -> Path:
    """Where the picture of one split of ``name`` lies; without a convention it is of the first one."""
    suffix = f"-{convention}" if convention else ""
    return data_dir / "figures" / f"{name}{suffix}-{split}.png"


def downloads_dir(name: str, data_dir: Path) -> Path:
    """Where the archives of ``name`` lie between their download and the writing of the cache."""
    return data_dir / "downloads" / name


def data_dir_option(data_dir: Path) -> str:
    """What a hint's command needs so that it finds the same data folder when it is typed as shown.

    Args:
        data_dir: the data folder in use.

    Returns:
        Nothing where it is the default folder, else `` --data-dir FOLDER``, quoted for a shell.
    """
    try:
        is_default = data_dir == default_data_dir()
    except UsageError:
        # There is no default folder, so it must be named.
        is_default = False
    return "" if is_default else f" --data-dir {shlex.quote(str(data_dir))}"


def download_command(name: str, data_dir: Path, *, source: str | None = None) -> str:
    """The command that puts ``name`` into ``data_dir``, ready to be pasted into a shell.

    Args:
        name: the data set.
        data_dir: the data folder in use; named in the command only where it is not the default.
        source: what to give as ``--source``, already quoted for the shell.

    Returns:
        One line.
    """
    words = [f"dreg download {name}"]
    if source is not None:
        words.append(f"--source {source}")
    return " ".join(words) + data_dir_option(data_dir)
