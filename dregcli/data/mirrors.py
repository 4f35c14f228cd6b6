"""The files of a data set over the network: one mirror after the other, written aside, verified, renamed."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from dregcli.data.entries import Downloadable, SourceFile
from dregcli.data.files import written_aside
from dregcli.data.folders import download_command, downloads_dir
from dregcli.data.sources import Fetched, check_file, read_bounded
from dregcli.errors import DataCorrupt, DownloadFailed

_CHUNK: Final = 1 << 18


@dataclass(frozen=True)
class DownloadProgress:
    """How far a file is.

    Attributes:
        file: its usual name.
        done: bytes so far.
        total: bytes in all, or None where the server does not say.
    """

    file: str
    done: int
    total: int | None


OnProgress = Callable[[DownloadProgress], None]


class _NotThere(Exception):
    """The server answers, and has no file at this address; another spelling may be right."""


class _MirrorFailed(Exception):
    """The mirror cannot give the file: not reachable, or its answer was cut short."""


def fetch_all(
    entry: Downloadable,
    bases: tuple[str, ...],
    data_dir: Path,
    *,
    reuse: bool,
    on_progress: OnProgress,
    timeout: float,
) -> dict[str, Fetched]:
    """Get every file of ``entry`` from the first mirror that gives it whole.

    Each verified file stays in the downloads folder until ``forget_downloads``, so a later call need not
    fetch it again when another file failed.

    Args:
        entry: the data set.
        bases: addresses of folders, in the order to try them.
        data_dir: the data folder.
        reuse: take files that an earlier call left.
        on_progress: called as bytes arrive.
        timeout: seconds without an answer or a byte, after which a mirror is given up.

    Returns:
        The files by their usual names.

    Raises:
        DownloadFailed: no mirror gave a file; the message has each one's reason and the way round.
        StoreWriteError: the downloads folder cannot be written.
    """
    folder = downloads_dir(entry.name, data_dir)
    fetched: dict[str, Fetched] = {}
    for file in entry.files:
        kept = _kept(file, folder) if reuse else None
        fetched[file.name] = kept or _fetch(entry, file, bases, data_dir, on_progress, timeout)
    return fetched


def forget_downloads(entry: Downloadable, data_dir: Path) -> None:
    """Remove the archives of ``entry``: the cache holds what is needed of them.

    Only whole files go. A part belongs to another download that is still under way.
    """
    folder = downloads_dir(entry.name, data_dir)
    with suppress(OSError):
        for file in entry.files:
            (folder / f"{file.name}.gz").unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def _kept(file: SourceFile, folder: Path) -> Fetched | None:
    """A file that an earlier download left, if it is whole."""
    path = folder / f"{file.name}.gz"
    try:
        raw = read_bounded(file, path)
        return Fetched(check_file(file, raw, where=str(path)), str(path), len(raw))
    except (DataCorrupt, DownloadFailed):
        return None


def _fetch(
    entry: Downloadable,
    file: SourceFile,
    bases: tuple[str, ...],
    data_dir: Path,
    on_progress: OnProgress,
    timeout: float,
) -> Fetched:
    """One file, from the first mirror and under the first name that gives it whole."""
    reasons: dict[str, str] = {}
    for base in bases:
        for name in file.file_names():
            url = f"{base.rstrip('/')}/{name}"
            try:
                return _fetch_one(file, url, downloads_dir(entry.name, data_dir), on_progress, timeout)
            except _NotThere as error:
                # Only the usual name's reason is worth telling.
                reasons.setdefault(base, f"{url}: {error}")
            except (_MirrorFailed, DataCorrupt) as error:
                reasons[base] = f"{url}: {error.what if isinstance(error, DataCorrupt) else error}"
                break
    wanted = "\n".join(f"  {entry.mirrors[0]}{wanted.name}.gz" for wanted in entry.files)
    command = download_command(entry.name, data_dir, source="FOLDER")
    raise DownloadFailed(
        what="\n".join([f"no source gave {file.name}, which '{entry.name}' needs:", *reasons.values()]),
        where=", ".join(bases),
        hint=f"try again later, or fetch these files into a folder by other means:\n{wanted}\n"
        f"and import them: {command}",
    )


def _fetch_one(file: SourceFile, url: str, folder: Path, on_progress: OnProgress, timeout: float) -> Fetched:
    """One file from one address. Only verified content gets the file's name."""
    with _answer(url, timeout) as answer, written_aside(folder / f"{file.name}.gz") as (out, part):
        said = answer.headers.get("Content-Length", "")
        total = int(said) if said.isdecimal() else None
        on_progress(DownloadProgress(file.name, 0, total))
        done = 0
        while chunk := _receive(answer):
            done += len(chunk)
            if done > file.packed_limit:
                raise DataCorrupt(what=f"the answer is larger than {file.name} can be")
            out.write(chunk)
            on_progress(DownloadProgress(file.name, done, total))
        if total is not None and done != total:
            short = f"the answer ended after {done:,} of {total:,} bytes"
            raise _MirrorFailed(short)
        out.flush()
        # Read back from the disk, so that what is verified is what was written.
        array = check_file(file, read_bounded(file, part), where=url)
    return Fetched(array, url, done)


@contextmanager
def _answer(url: str, timeout: float) -> Generator[Any]:
    """An open answer to a request for ``url``, which is http or https."""
    try:
        answer: IO[bytes] = urlopen(Request(url, headers={"User-Agent": "dreg"}), timeout=timeout)
    except HTTPError as error:
        error.close()
        told = f"HTTP {error.code} {error.reason}"
        # S3 says 403 for a file that is not there.
        if error.code in {403, 404, 410}:
            raise _NotThere(told) from error
        raise _MirrorFailed(told) from error
    except URLError as error:
        raise _MirrorFailed(_told(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _MirrorFailed(_told(error)) from error
    with answer:
        yield answer


def _receive(answer: IO[bytes]) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _MirrorFailed(_told(error)) from error


def _told(reason: object) -> str:
    """What a network failure says of itself, without its error number."""
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
