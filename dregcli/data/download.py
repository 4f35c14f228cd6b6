"""Put a data set into the cache, from its mirrors or from a source the user names."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from dregcli.data.cache import read_cache, write_cache
from dregcli.data.catalogue import find_entry
from dregcli.data.dataset import SPLIT_CONVENTION, Dataset
from dregcli.data.entries import Downloadable, Embedded, Entry
from dregcli.data.folders import cache_path
from dregcli.data.mirrors import DownloadProgress, OnProgress, fetch_all, forget_downloads
from dregcli.data.sources import Fetched, read_local
from dregcli.errors import DataCorrupt, DatasetMissing, UsageError

_TIMEOUT_SECONDS: Final = 30.0


class Outcome(StrEnum):
    """What a download did."""

    EMBEDDED = "embedded"
    """Nothing: the data set comes with the program."""
    CACHED = "cached"
    """Nothing: the cache holds it, and it is whole."""
    STORED = "stored"
    """Fetched, verified and written to the cache."""


@dataclass(frozen=True)
class DownloadResult:
    """What a download came to.

    Attributes:
        outcome: what was done.
        dataset: the data set, with its splits, source and checksum.
        path: the cache file, or None for an embedded data set.
    """

    outcome: Outcome
    dataset: Dataset
    path: Path | None


def _unwatched(_: DownloadProgress) -> None:
    pass


def download(
    name: str, data_dir: Path, *, source: str | None = None, on_progress: OnProgress = _unwatched
) -> DownloadResult:
    """Fetch a data set, verify it and keep it in the cache.

    Without a source, a whole cached copy is left alone and a damaged one replaced. With a source, its files are
    always read, and take the place of what is cached.

    Args:
        name: as in the catalogue.
        data_dir: the data folder.
        source: a folder, one of the files, or an http(s) address of a folder or file, instead of the mirrors.
        on_progress: called as bytes arrive.

    Returns:
        What was done, and the data set.

    Raises:
        UsageError: no data set has that name, or the source does not exist or is of an unknown kind.
        DownloadFailed: no source gave a file; the hint says which files to fetch and how to import them.
        DataCorrupt: a file of the named source is truncated or altered.
        StoreFormatError: the cached file is of another version of the format.
        StoreWriteError: the data folder cannot be written.
    """
    return download_entry(find_entry(name), data_dir, source=source, on_progress=on_progress)


def download_entry(
    entry: Entry,
    data_dir: Path,
    *,
    source: str | None = None,
    on_progress: OnProgress = _unwatched,
    timeout: float = _TIMEOUT_SECONDS,
) -> DownloadResult:
    """As ``download``, for an entry that need not be in the catalogue.

    Args:
        entry: the data set.
        data_dir: the data folder.
        source: as for ``download``.
        on_progress: as for ``download``.
        timeout: seconds without an answer or a byte, after which a mirror is given up.
    """
    if isinstance(entry, Embedded):
        return DownloadResult(Outcome.EMBEDDED, entry.load(), None)
    if source is None:
        try:
            return DownloadResult(Outcome.CACHED, read_cache(entry.name, data_dir), cache_path(entry.name, data_dir))
        except (DatasetMissing, DataCorrupt):
            bases = entry.mirrors
    else:
        bases = _bases(entry, source)
    if bases:
        files = fetch_all(entry, bases, data_dir, reuse=source is None, on_progress=on_progress, timeout=timeout)
    else:
        files = read_local(entry, source or "")
        for name, file in files.items():
            on_progress(DownloadProgress(name, file.packed_bytes, file.packed_bytes))
    dataset = _built(entry, files)
    path = write_cache(dataset, data_dir)
    forget_downloads(entry, data_dir)
    return DownloadResult(Outcome.STORED, dataset, path)


def _bases(entry: Downloadable, source: str) -> tuple[str, ...]:
    """The web folder that ``source`` names, or nothing where it is a path of this machine."""
    scheme, is_url, _ = source.partition("://")
    if not is_url:
        return ()
    if scheme.lower() not in {"http", "https"}:
        raise UsageError(
            what=f"a source cannot be '{scheme}://'",
            where=source,
            hint=f"dreg download {entry.name} --source PATH, or an http:// or https:// address",
        )
    folder, _, last = source.rpartition("/")
    is_file = any(last in set(file.file_names()) for file in entry.files)
    return (folder if is_file else source,)


def _built(entry: Downloadable, files: dict[str, Fetched]) -> Dataset:
    """The data set that the files make."""
    origins = ", ".join(file.origin for file in files.values())
    return Dataset.build(
        name=entry.name,
        height=entry.height,
        width=entry.width,
        levels=entry.levels,
        splits=entry.split({name: file.array for name, file in files.items()}),
        split_convention=SPLIT_CONVENTION,
        # A path may hold bytes that are no text; what is kept must be.
        source=os.fsencode(origins).decode("utf-8", "replace"),
    )
