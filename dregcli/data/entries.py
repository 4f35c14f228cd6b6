"""The entries of the catalogue: how to load a data set, or which files to get and how to split them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, Splits
from dregcli.data.dataset import Dataset
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind

Contents = Mapping[str, Any]
"""The contents of a data set's files, by the files' usual names; each content is what its parser returns."""

LogDensity = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""Exact log p(x) of the rows of an array (N, D): shape (N,), in nats per example."""


class Parser(Protocol):
    """A function that reads the unpacked content of a file; it raises DataCorrupt with the reason where it cannot."""

    def __call__(self, content: bytes, *, where: str) -> Any:  # noqa: ANN401 - an array, or several by name
        """Return the content of the file."""
        ...


class Digest(StrEnum):
    """A kind of digest that publishers give for their files."""

    MD5 = "MD5"
    SHA256 = "SHA-256"
    GIT_BLOB = "git blob SHA-1"
    """Git's name for the content, for a file that is published only in a git repository."""


@dataclass(frozen=True)
class Checksum:
    """A published checksum.

    Attributes:
        digest: kind of digest.
        value: its value in hexadecimal.
        packed: true where the digest belongs to the gzipped file. Otherwise it belongs to the unpacked content, so
            that a file compressed again still matches.
    """

    digest: Digest
    value: str
    packed: bool = False

    def of(self, content: bytes) -> str:
        """Return the digest of ``content``."""
        # The publishers give MD5 and SHA-1; the flag allows them where a policy forbids them for security.
        if self.digest is Digest.MD5:
            return hashlib.md5(content, usedforsecurity=False).hexdigest()
        if self.digest is Digest.SHA256:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def matches(self, content: bytes, raw: bytes) -> bool:
        """Whether a file is the published one.

        Args:
            content: its unpacked content.
            raw: its bytes as they came.
        """
        return self.of(raw if self.packed else content) == self.value


@dataclass(frozen=True)
class SourceFile:
    """A published file.

    Attributes:
        name: its usual name, unpacked (without .gz).
        limit: the most bytes that the unpacked content can have.
        parse: reads the unpacked content.
        checksums: the published checksums; one match is enough; empty where none is published.
        gzipped: whether the file is published as ``<name>.gz``.
        spellings: other names that the file often has.
        diagnose: whether ``parse`` may read content with a wrong checksum, to report what is wrong with it. Only for
            our own small readers: decoders and unpackers must not see content that no checksum confirms.
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
        """The name under which the file is published."""
        return f"{self.name}.gz" if self.gzipped else self.name

    def file_names(self) -> Iterator[str]:
        """Yield every name to look for, the most usual first."""
        for name in (self.name, *self.spellings):
            yield from (f"{name}.gz", name) if self.gzipped else (name, f"{name}.gz")

    @property
    def packed_limit(self) -> int:
        """The most bytes that the packed file can have: gzip adds at most 5 bytes to every 16 KiB of random bytes."""
        return self.limit + self.limit // 1000 + 65536


@dataclass(frozen=True)
class Embedded:
    """A data set that is part of the installed packages.

    Attributes:
        name: name of the data set, as the user types it.
        kind: kind of the values.
        height: rows of an image.
        width: columns of an image.
        convention: the name of its only split.
        load: returns the data set.
        checksum: the checksum that the data set has; the values come with other packages, or are drawn.
        log_density: exact log p(x) of the distribution the data were drawn from, where it is known: (N, height *
            width) to (N,), in nats per example.
        cites: works to cite when using the data set, as keys of ``references.bib``.
    """

    name: str
    kind: DataKind
    height: int
    width: int
    convention: str
    load: Callable[[], Dataset]
    checksum: str
    log_density: LogDensity | None = None
    cites: tuple[str, ...] = ()

    def verified(self) -> Dataset:
        """Return the data set, after comparing its values with the checksum.

        Raises:
            DataCorrupt: the values are others.
        """
        dataset = self.load()
        if dataset.checksum != self.checksum:
            raise DataCorrupt(
                what=f"the data set '{self.name}' has the checksum {dataset.checksum[:16]}, not {self.checksum[:16]}",
                where=dataset.source,
                hint="install the packages that it comes with again",
            )
        return dataset


@dataclass(frozen=True)
class FileSet:
    """The files that together give a whole data set.

    Attributes:
        files: the files that are needed.
        split: turns the files' contents into the splits of the first convention, each of shape (N, height * width).
        conventions: the ways to split the data set, by name; the cache holds the first.
        converted: description of how ``split`` makes the splits from the files, as text for people.
        altered: description of changes to the images, as text for people; shown wherever the source is shown.
        notes: facts that a user who trains on the data set should know.
    """

    files: tuple[SourceFile, ...]
    split: Callable[[Contents], Splits]
    conventions: Mapping[str, Convention]
    converted: str
    altered: str = ""
    notes: tuple[str, ...] = ()

    @property
    def convention(self) -> str:
        """The name of the first convention, which the cache holds."""
        return next(iter(self.conventions))

    def named(self, file_name: str) -> SourceFile | None:
        """Return the file that has this name, in any spelling."""
        return next((file for file in self.files if file_name in set(file.file_names())), None)


@dataclass(frozen=True)
class Downloadable:
    """A data set that is downloaded once and kept in the cache.

    Attributes:
        name: name of the data set, as the user types it.
        kind: kind of the values.
        height: rows of an image.
        width: columns of an image.
        levels: the value that means intensity 1, where values are bytes.
        mirrors: folders on the web that hold the published files, in the order to try them.
        published: the files that the mirrors have.
        others: other sets of files that also give this data set, for a user who has only those files.
        system_folders: folders in which a package of the operating system puts the published files.
        cites: works to cite when using the data set, as keys of ``references.bib``.
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
        """Every set of files that gives the data set, the published one first."""
        return (self.published, *self.others)

    def addresses(self) -> list[str]:
        """Return the addresses of the published files at the first mirror."""
        return [f"{self.mirrors[0]}{file.published_name}" for file in self.published.files]


Entry = Embedded | Downloadable
