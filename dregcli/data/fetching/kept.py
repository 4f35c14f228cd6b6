"""Whole files that stay in the downloads folder until the cache is written, and a record of where they came from.

Beside ``<file>``, ``<file>.json`` holds the address that the file came from and the digest of its bytes.
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
    """Record where a file came from, just before the file itself is put there.

    Args:
        path: the path that the file will have.
        address: the address it was fetched from.
        sha256: digest of the file as it came. It is needed because a crash may leave this record beside another file.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    with written_aside(LOCAL, _beside(path), hint=WRITE_ELSEWHERE) as (out, _):
        out.write(json.dumps({"address": address, "sha256": sha256}).encode())


def read_kept_file(file: SourceFile, folder: Path) -> Fetched | None:
    """Return a file that an earlier call left, if it is whole: by its checksum, or by the record of that call."""
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
    """Return the published files as earlier calls left them, if all of them are there."""
    folder = downloads_dir(entry.name, data_dir)
    fetched: dict[str, Fetched] = {}
    for file in entry.published.files:
        kept = read_kept_file(file, folder)
        if kept is None:
            return None
        fetched[file.name] = kept
    return Gathered(entry.published, fetched)


def forget_downloads(entry: Downloadable, data_dir: Path) -> None:
    """Remove the downloaded files of ``entry``: they are in the cache now, or they are wrong.

    A part that a running process writes stays: it belongs to another download that is still in progress.
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
    """Return where a kept file came from, if the record beside it is about exactly this content."""
    try:
        content = json.loads(_beside(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    found = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    address = found.get("address")
    return address if isinstance(address, str) and found.get("sha256") == sha256 else None
