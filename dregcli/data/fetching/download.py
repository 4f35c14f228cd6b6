"""Puts a data set into the cache, from its mirrors or from a source that the user names."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import numpy as np

from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import as_text, write_cache
from dregcli.data.conventions import Splits
from dregcli.data.dataset import Dataset
from dregcli.data.entries import Downloadable, Embedded, Entry
from dregcli.data.fetching.kept import forget_downloads, read_kept
from dregcli.data.fetching.mirrors import fetch_all
from dregcli.data.fetching.sources import Gathered, by_hand, read_local, read_system
from dregcli.data.fetching.transfer import DownloadProgress, OnProgress, Patience
from dregcli.data.folders import cache_path, download_command
from dregcli.data.owner import Owner, owner_of
from dregcli.data.splitting import check_sizes
from dregcli.errors import DataCorrupt, DatasetMissing, UsageError
from dregcli.names import Split

__all__ = ["DownloadProgress", "DownloadResult", "OnProgress", "Outcome", "Patience", "download_entry"]


class Outcome(StrEnum):
    """The action that a download took."""

    EMBEDDED = "embedded"
    """Nothing: the data set is part of the program."""
    CACHED = "cached"
    """Nothing: the cache already holds the whole data set."""
    STORED = "stored"
    """The data set was fetched, verified and written to the cache."""


@dataclass(frozen=True)
class DownloadResult:
    """The result of a download.

    Attributes:
        outcome: the action that the download took.
        dataset: the data set, with its splits, source and checksum.
        path: the cache file, or None for an embedded data set.
    """

    outcome: Outcome
    dataset: Dataset
    path: Path | None

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts that a user who trains on the data set should know: its conversion, and missing checksums."""
        found: object = self.dataset.provenance.get("notes")
        return tuple(str(note) for note in cast("list[object]", found)) if isinstance(found, list) else ()


def _unwatched(_: DownloadProgress) -> None:
    pass


def download_entry(
    entry: Entry,
    data_dir: Path,
    *,
    source: str | None = None,
    offline: bool = False,
    on_progress: OnProgress = _unwatched,
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
) -> DownloadResult:
    """Fetch a data set, verify it and keep it in the cache.

    Without a source, an undamaged cached copy stays as it is, and a damaged one is replaced. The files come from a
    package of the operating system, from an earlier call, or from the mirrors, in that order. With a source, its
    files are always read, and they replace the cached data set.

    Args:
        entry: the data set; it need not be in the catalogue.
        data_dir: the data folder.
        source: used instead of the mirrors: a folder, one of the files, or an http(s) address of a folder or file.
        offline: never use the network.
        on_progress: called as bytes arrive.
        patience: limits on a slow or failing mirror.

    Returns:
        What was done, and the data set.

    Raises:
        UsageError: the data folder has a file with this name that dreg did not write; or the source does not exist,
            has an unknown kind, or is an address although the call is offline; or the data set has no files.
        DatasetMissing: the call is offline, and this machine has no files of the data set.
        DownloadFailed: no source gave a file; the hint says which files to fetch and how to import them.
        DataCorrupt: a file of the named source is truncated or altered.
        StoreFormatError: the cached file has another version of the format.
        StoreWriteError: the data folder cannot be written.
    """
    if isinstance(entry, Embedded):
        if source is not None:
            raise UsageError(
                what=f"the data set '{entry.name}' is part of the program, and is not read from a source",
                where=source,
                hint=f"leave --source out: {download_command(entry.name, data_dir)}",
            )
        return DownloadResult(Outcome.EMBEDDED, entry.load(), None)
    path = cache_path(entry.name, data_dir)
    if owner_of(path) is Owner.OTHER:
        raise UsageError(
            what=f"dreg did not write '{path.name}' in the data folder, and does not replace it",
            where=str(path),
            hint="move that file away and repeat the command, or choose another data folder with --data-dir FOLDER",
        )
    downloaded = False
    if source is None:
        try:
            return DownloadResult(Outcome.CACHED, read_cache(entry.name, data_dir), path)
        except (DatasetMissing, DataCorrupt) as error:
            reason = error
        gathered = read_system(entry, data_dir)
        if gathered is None and offline:
            gathered, downloaded = read_kept(entry, data_dir), True
        if gathered is None and offline:
            raise _nothing_here(entry, data_dir, reason) from reason
        bases = entry.mirrors
    else:
        bases = _bases(entry, source, data_dir)
        if bases and offline:
            raise UsageError(
                what="a web address cannot be read offline",
                where=source,
                hint="leave out --offline (or DREG_OFFLINE), or: "
                + download_command(entry.name, data_dir, source="FOLDER"),
            )
        gathered = None if bases else read_local(entry, source, data_dir)
    if gathered is None:
        gathered = fetch_all(entry, bases, data_dir, reuse=source is None, on_progress=on_progress, patience=patience)
        downloaded = True
    else:
        for name, file in gathered.files.items():
            on_progress(DownloadProgress(name, file.packed_bytes, file.packed_bytes))
    try:
        dataset = built(entry, gathered)
        write_cache(dataset, data_dir)
    except DataCorrupt as error:
        if not downloaded:
            raise
        # Each file passed its own check, but together they are wrong: a mirror may give better files next time.
        forget_downloads(entry, data_dir)
        other = download_command(entry.name, data_dir, source="FOLDER")
        advice = f"the downloaded files were removed; repeat: {download_command(entry.name, data_dir)}\nor: {other}"
        raise DataCorrupt(what=error.what, where=error.where, hint=error.hint or advice) from error
    forget_downloads(entry, data_dir)
    return DownloadResult(Outcome.STORED, dataset, path)


def _nothing_here(entry: Downloadable, data_dir: Path, reason: DatasetMissing | DataCorrupt) -> DatasetMissing:
    return DatasetMissing(
        what=f"{reason.what}, and it cannot be fetched offline",
        where=reason.where,
        hint=f"repeat without --offline (or DREG_OFFLINE), or {by_hand(entry, data_dir)}",
    )


def _bases(entry: Downloadable, source: str, data_dir: Path) -> tuple[str, ...]:
    """Return the web folder that ``source`` names, or nothing where ``source`` is a path on this machine."""
    scheme, is_url, _ = source.partition("://")
    if not is_url:
        return ()
    if scheme.lower() not in {"http", "https"}:
        raise UsageError(
            what=f"a source cannot be '{scheme}://'",
            where=source,
            hint=f"give an http:// or https:// address, or: {download_command(entry.name, data_dir, source='PATH')}",
        )
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise UsageError(
            what=f"this is not a web address: {error}",
            where=source,
            hint=download_command(entry.name, data_dir, source="https://HOST/FOLDER/"),
        ) from error
    folder, _, last = parts.path.rpartition("/")
    return (parts._replace(path=folder).geturl() if entry.published.named(last) else source,)


def built(entry: Downloadable, gathered: Gathered) -> Dataset:
    """Build a data set from its files and check its sizes.

    Raises:
        DataCorrupt: the data set does not have the sizes of its convention.
    """
    file_set, files = gathered.file_set, gathered.files
    splits = file_set.split({name: file.verified.content for name, file in files.items()})
    where = ", ".join(file.origin for file in files.values())
    check_sizes(splits, file_set.conventions[file_set.convention], where=where)
    unpublished = [name for name, file in files.items() if file.verified.checksum is None]
    notes = list(file_set.notes)
    if unpublished:
        notes.append(f"no checksum is published for {' and '.join(unpublished)}: structure and sizes were checked")
    return Dataset.build(
        name=entry.name,
        kind=entry.kind,
        height=entry.height,
        width=entry.width,
        levels=entry.levels if _are_bytes(splits) else 1,
        splits=splits,
        split_convention=file_set.convention,
        source=as_text(f"{where} ({file_set.altered})" if file_set.altered else where),
        provenance={
            "files": [
                {
                    "name": name,
                    "origin": as_text(file.origin),
                    "bytes": file.packed_bytes,
                    "sha256_unpacked": file.verified.sha256,
                    "published_checksum": file.verified.checksum,
                }
                for name, file in files.items()
            ],
            "converted": "; ".join(each for each in (file_set.altered, file_set.converted) if each),
            "notes": notes,
        },
    )


def _are_bytes(splits: Splits) -> bool:
    return all(splits[split].dtype == np.uint8 for split in Split)
