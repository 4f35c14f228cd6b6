"""Fetches the files of a data set over the network, from one mirror after the other."""

from pathlib import Path

from dregcli.data.entries import Downloadable, SourceFile
from dregcli.data.fetching.kept import read_kept_file
from dregcli.data.fetching.sources import Fetched, Gathered, by_hand
from dregcli.data.fetching.transfer import OnProgress, Patience, fetch_file
from dregcli.data.fetching.web import MirrorFailed, NotThere, address
from dregcli.data.folders import downloads_dir
from dregcli.errors import DataCorrupt, DownloadFailed


def fetch_all(
    entry: Downloadable,
    bases: tuple[str, ...],
    data_dir: Path,
    *,
    reuse: bool,
    on_progress: OnProgress,
    patience: Patience,
) -> Gathered:
    """Get every published file of ``entry`` from the first mirror that gives the whole file.

    Each verified file stays in the downloads folder until ``forget_downloads``, so a later call need not fetch it
    again when another file failed. Where a download breaks off, the bytes that came stay too.

    Args:
        entry: the data set.
        bases: addresses of folders, in the order to try them.
        data_dir: the data folder.
        reuse: use whole files that an earlier call left.
        on_progress: called as bytes arrive.
        patience: limits on a slow or failing mirror.

    Returns:
        The files.

    Raises:
        DownloadFailed: no mirror gave a file; the message has each mirror's reason and says what to do instead.
        StoreWriteError: the downloads folder cannot be written.
    """
    folder = downloads_dir(entry.name, data_dir)
    fetched: dict[str, Fetched] = {}
    for file in entry.published.files:
        kept = read_kept_file(file, folder) if reuse else None
        fetched[file.name] = kept or _fetch(entry, file, bases, data_dir, on_progress, patience)
    return Gathered(entry.published, fetched)


def _fetch(
    entry: Downloadable,
    file: SourceFile,
    bases: tuple[str, ...],
    data_dir: Path,
    on_progress: OnProgress,
    patience: Patience,
) -> Fetched:
    """Fetch one file, from the first mirror and under the first name that give the whole file."""
    folder = downloads_dir(entry.name, data_dir)
    reasons: dict[str, str] = {}
    for base in bases:
        urls = [address(base, name) for name in file.file_names()]
        if base not in entry.mirrors and len(entry.published.files) == 1:
            # A user's own address of a data set's only file may have any name.
            urls.append(base)
        for url in urls:
            try:
                return fetch_file(file, url, folder, on_progress=on_progress, patience=patience)
            except NotThere as error:
                # Only the reason for the usual name is worth showing.
                reasons.setdefault(base, f"{url}: {error}")
            except (MirrorFailed, DataCorrupt) as error:
                reasons[base] = f"{url}: {error.what if isinstance(error, DataCorrupt) else error}"
                break
    raise DownloadFailed(
        what="\n".join([f"no source gave {file.name}, which '{entry.name}' needs:", *reasons.values()]),
        where=", ".join(bases),
        hint=f"try again later (the bytes that came are kept), or {by_hand(entry, data_dir)}",
    )
