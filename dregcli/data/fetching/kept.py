"""Whole files that lie in the downloads folder until the cache is written, and what is known of where they came from.

Beside ``<file>`` a ``<file>.json`` has the address and the digest of what came from there.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from dregcli.data.entries import Downloadable, SourceFile
from dregcli.data.fetching.parts import remove_dead
from dregcli.data.fetching.sources import Fetched, Gathered, check_file, read_bounded
from dregcli.data.folders import WRITE_ELSEWHERE, downloads_dir
from dregcli.errors import DataCorrupt, DownloadFailed
from dregcli.filesystem import LOCAL, remove_dead_asides, written_aside


def vouch(path: Path, address: str, sha256: str) -> None:
    """Say of a file that is about to be kept where it came from.

    Args:
        path: where it will lie.
        address: what it was fetched from.
        sha256: of the file as it came. A crash before it lies there leaves words about a file that is not this one.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    with written_aside(LOCAL, _beside(path), hint=WRITE_ELSEWHERE) as (out, _):
        out.write(json.dumps({"address": address, "sha256": sha256}).encode())


def read_kept_file(file: SourceFile, folder: Path) -> Fetched | None:
    """A file that an earlier call left, if it is whole: by its checksum, or else as that call itself fetched it."""
    path = folder / file.published_name
    try:
        raw = read_bounded(file, path)
        address = _address(path, hashlib.sha256(raw).hexdigest())
        if address is None and not file.checksums:
            return None
        return Fetched(check_file(file, raw, where=str(path)), address or str(path), len(raw))
    except (DataCorrupt, DownloadFailed):
        return None


def read_kept(entry: Downloadable, data_dir: Path) -> Gathered | None:
    """The published files as earlier calls left them, if they are all there."""
    folder = downloads_dir(entry.name, data_dir)
    fetched: dict[str, Fetched] = {}
    for file in entry.published.files:
        kept = read_kept_file(file, folder)
        if kept is None:
            return None
        fetched[file.name] = kept
    return Gathered(entry.published, fetched)


def forget_downloads(entry: Downloadable, data_dir: Path) -> None:
    """Remove the archives of ``entry``: the cache holds what is needed of them, or they turned out to be wrong.

    A part that a living process writes stays: it belongs to another download that is still under way.
    """
    folder = downloads_dir(entry.name, data_dir)
    remove_dead(folder)
    with suppress(OSError):
        for file in entry.published.files:
            path = folder / file.published_name
            remove_dead_asides(LOCAL, _beside(path))
            for each in (path, _beside(path)):
                with suppress(FileNotFoundError):
                    LOCAL.remove(each)
        LOCAL.rmdir(folder)
        LOCAL.rmdir(folder.parent)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _address(path: Path, sha256: str) -> str | None:
    """Where a kept file came from, if what is said beside it is said of this very content."""
    try:
        content = json.loads(_beside(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    found = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    address = found.get("address")
    return address if isinstance(address, str) and found.get("sha256") == sha256 else None
