"""What the catalogue knows of a data set: how to load it, or which files to get and how to split them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.data.dataset import Dataset
from dregcli.names import Split


class Parser(Protocol):
    """Reads the unpacked content of a file and raises DataCorrupt with the reason where it cannot."""

    def __call__(self, content: bytes, *, where: str) -> NDArray[np.uint8]:
        """The array the file holds."""
        ...


@dataclass(frozen=True)
class SourceFile:
    """A published file.

    Attributes:
        name: its usual name, unpacked (without .gz).
        spellings: other names under which it is found in the wild.
        size: bytes, unpacked.
        md5: of the unpacked content, so that a re-compressed archive is the same file.
        parse: reads the unpacked content.
    """

    name: str
    spellings: tuple[str, ...]
    size: int
    md5: str
    parse: Parser

    def file_names(self) -> Iterator[str]:
        """Every name to look for, the most usual first."""
        for name in (self.name, *self.spellings):
            yield f"{name}.gz"
            yield name

    @property
    def packed_limit(self) -> int:
        """The most bytes an honest file has: gzip adds at most 5 bytes to every 16 KiB it cannot compress."""
        return self.size + self.size // 1000 + 65536


@dataclass(frozen=True)
class Embedded:
    """A data set that comes with the installed packages.

    Attributes:
        name: as the user types it.
        load: makes it.
    """

    name: str
    load: Callable[[], Dataset]


@dataclass(frozen=True)
class Downloadable:
    """A data set that is fetched once and kept in the cache.

    Attributes:
        name: as the user types it.
        height: rows of an image.
        width: columns of an image.
        levels: the value of a pixel of full intensity.
        mirrors: folders on the web that hold ``<file name>.gz``, in the order to try them.
        files: what is needed.
        split: from the arrays by file name to the splits, each of shape (N, height * width).
    """

    name: str
    height: int
    width: int
    levels: int
    mirrors: tuple[str, ...]
    files: tuple[SourceFile, ...]
    split: Callable[[Mapping[str, NDArray[np.uint8]]], Mapping[Split, NDArray[np.uint8]]]


Entry = Embedded | Downloadable
