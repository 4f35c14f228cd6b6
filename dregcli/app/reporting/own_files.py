"""Files that the program wrote into a folder of the user, so that it can replace them, and only them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, make_folders, write_aside

LIST: Final = ".dreg-figures.json"
"""Name of the list in the folder: the SHA-256 of every file that the program wrote."""

_FILES: Final = "files written by dreg"


class OwnFiles:
    """The files in a folder that the program wrote and nobody has changed since."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's list; a folder without one has no own files.

        Raises:
            StoreWriteError: a file with the list's name is no such list, so that it cannot be replaced.
        """
        self._folder = folder
        self._digests: dict[str, list[str]] = _read(folder / LIST)

    def write(self, figures: Mapping[str, Mapping[str, bytes]]) -> dict[str, list[Path]]:
        """Write files, in place of own files with the same names.

        If a file with the name of a new one is not an own file, all new files of that stem have a number: ``stem-2``,
        ``stem-3`` ...

        Args:
            figures: content of each file, by stem and suffix.

        Returns:
            The files of each stem, in the order of their suffixes.

        Raises:
            StoreWriteError: the disk refuses a file.
        """
        found: dict[str, list[Path]] = {}
        contents: dict[Path, bytes] = {}
        for stem, by_suffix in figures.items():
            found[stem] = self._free(stem, [*by_suffix])
            contents |= dict(zip(found[stem], by_suffix.values(), strict=True))
        make_folders(LOCAL, self._folder)
        # The new digests are in the list before the files are in the folder, so that a call that is stopped between
        # the two leaves no file that the next call would not replace.
        new = {path.name: _digest(content) for path, content in contents.items()}
        self._keep({name: [*self._digests.get(name, []), digest] for name, digest in new.items()})
        for path, content in contents.items():
            write_aside(LOCAL, path, content)
        self._keep({name: [digest] for name, digest in new.items()})
        return found

    def _free(self, stem: str, suffixes: list[str]) -> list[Path]:
        number = 1
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            paths = [self._folder / f"{name}{suffix}" for suffix in suffixes]
            if all(self._is_own(path) or not os.path.lexists(path) for path in paths):
                return paths
            number += 1

    def _is_own(self, path: Path) -> bool:
        known = self._digests.get(path.name)
        try:
            return bool(known) and not path.is_symlink() and _digest(path.read_bytes()) in (known or ())
        except OSError:
            return False

    def _keep(self, digests: Mapping[str, list[str]]) -> None:
        self._digests |= digests
        write_aside(LOCAL, self._folder / LIST, json.dumps({_FILES: self._digests}, indent=1).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> dict[str, list[str]]:
    try:
        found: Any = json.loads(path.read_bytes())
        return {str(name): [str(each) for each in digests] for name, digests in found[_FILES].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = "This file is not a list of figures by dreg, so that it cannot be replaced."
        raise StoreWriteError(what, where=str(path), hint="remove the file, or name another folder") from error
