"""What the catalogue knows of a data set: how to load it, or which files to get and how to split them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, Splits
from dregcli.data.dataset import Dataset
from dregcli.names import DataKind

Contents = Mapping[str, Any]
"""What the files of a data set hold, by their usual names: each as its own parser returns it."""


LogDensity = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""Exact log p(x) of rows (N, D), shape (N,), nats."""


class Parser(Protocol):
    """Reads the unpacked content of a file and raises DataCorrupt with the reason where it cannot."""

    def __call__(self, content: bytes, *, where: str) -> Any:  # noqa: ANN401 - an array, or several by name
        """What the file holds."""
        ...


class Digest(StrEnum):
    """A digest that publishers give of their files."""

    MD5 = "MD5"
    SHA256 = "SHA-256"
    GIT_BLOB = "git blob SHA-1"
    """What git calls the content: where a file's only publisher is a repository."""


@dataclass(frozen=True)
class Checksum:
    """A published checksum.

    Attributes:
        digest: which.
        value: in hexadecimal.
        packed: of the gzipped file; otherwise of the unpacked content, so that a re-compressed file is the same.
    """

    digest: Digest
    value: str
    packed: bool = False

    def of(self, content: bytes) -> str:
        """The digest of ``content``."""
        # MD5 and SHA-1 are what the publishers give; the flag lets them run where policy forbids them for security.
        if self.digest is Digest.MD5:
            return hashlib.md5(content, usedforsecurity=False).hexdigest()
        if self.digest is Digest.SHA256:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def matches(self, content: bytes, raw: bytes) -> bool:
        """Whether a file, unpacked and as it came, is the published one."""
        return self.of(raw if self.packed else content) == self.value


@dataclass(frozen=True)
class SourceFile:
    """A published file.

    Attributes:
        name: its usual name, unpacked (without .gz).
        limit: the most bytes it can have, unpacked.
        parse: reads the unpacked content.
        checksums: what its publisher gives, any one of which is enough; empty where nothing is published.
        gzipped: whether it is published as ``<name>.gz``.
        spellings: other names under which it is found in the wild.
        diagnose: whether ``parse`` may look at content of a wrong checksum, to tell what is wrong with it. For our
            own small readers; what unpacks and decodes must not see what nobody has vouched for.
    """

    name: str
    limit: int
    parse: Parser
    checksums: tuple[Checksum, ...] = ()
    gzipped: bool = False
    spellings: tuple[str, ...] = ()
    diagnose: bool = False

    @property
    def published_name(self) -> str:
        """Its name at its publisher's."""
        return f"{self.name}.gz" if self.gzipped else self.name

    def file_names(self) -> Iterator[str]:
        """Every name to look for, the most usual first."""
        for name in (self.name, *self.spellings):
            yield from (f"{name}.gz", name) if self.gzipped else (name, f"{name}.gz")

    @property
    def packed_limit(self) -> int:
        """The most bytes an honest file has: gzip adds at most 5 bytes to every 16 KiB it cannot compress."""
        return self.limit + self.limit // 1000 + 65536


@dataclass(frozen=True)
class Embedded:
    """A data set that comes with the installed packages.

    Attributes:
        name: as the user types it.
        kind: what its values are.
        height: rows of an image.
        width: columns of an image.
        convention: its one split.
        load: makes it.
        log_density: exact log p(x) of what it was drawn from, (N, height * width) to (N,) in nats, where it is known.
        cites: the works that a user of it cites, by their keys in ``references.bib``.
    """

    name: str
    kind: DataKind
    height: int
    width: int
    convention: str
    load: Callable[[], Dataset]
    log_density: LogDensity | None = None
    cites: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileSet:
    """Files that make a whole data set.

    Attributes:
        files: what is needed.
        split: from what they hold to the splits of the first convention, each of shape (N, height * width).
        conventions: the ways to cut it by name; what is kept is the first.
        converted: how ``split`` makes splits of the files, for people.
        altered: what was done to the images themselves, for people; told wherever the source is told.
        notes: what whoever trains on it should be told.
    """

    files: tuple[SourceFile, ...]
    split: Callable[[Contents], Splits]
    conventions: Mapping[str, Convention]
    converted: str
    altered: str = ""
    notes: tuple[str, ...] = ()

    @property
    def convention(self) -> str:
        """The first: what is kept."""
        return next(iter(self.conventions))

    def named(self, file_name: str) -> SourceFile | None:
        """The file that has this name, in any spelling."""
        return next((file for file in self.files if file_name in set(file.file_names())), None)


@dataclass(frozen=True)
class Downloadable:
    """A data set that is fetched once and kept in the cache.

    Attributes:
        name: as the user types it.
        kind: what its values are.
        height: rows of an image.
        width: columns of an image.
        levels: the value of a pixel of full intensity, where values are bytes.
        mirrors: folders on the web that hold the published files, in the order to try them.
        published: the files that the mirrors have.
        others: files that make a data set of this name too, where the user has only them.
        system_folders: where a package of the operating system puts the published files.
        cites: the works that a user of it cites, by their keys in ``references.bib``.
    """

    name: str
    kind: DataKind
    height: int
    width: int
    levels: int
    mirrors: tuple[str, ...]
    published: FileSet
    others: tuple[FileSet, ...] = ()
    system_folders: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()

    @property
    def file_sets(self) -> tuple[FileSet, ...]:
        """Every set of files that makes it, the published one first."""
        return (self.published, *self.others)

    def addresses(self) -> list[str]:
        """Where the published files are, at the first mirror."""
        return [f"{self.mirrors[0]}{file.published_name}" for file in self.published.files]


Entry = Embedded | Downloadable
