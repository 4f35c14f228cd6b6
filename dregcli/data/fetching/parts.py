"""The part of a file that has come so far: kept when a download breaks off, and written by one process at a time.

A part lies in the downloads folder as ``<file>.<address>.<number>.part``, with a JSON file beside it that says from
which answer its bytes came. ``<address>`` is a digest, so that bytes from two mirrors are never mixed. A process that
writes a part holds an operating system's lock on it, which ends with the process however it ends. So the part of a
dead process is taken over, and two running processes write parts with different numbers.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from dregcli.data.folders import WRITE_ELSEWHERE
from dregcli.errors import StoreWriteError
from dregcli.filesystem import LOCAL, is_at, make_folders, remove_dead_asides, try_lock, write_errors, written_aside

_SLOTS: Final = 8
_TRIES: Final = 100
_PART_NAME: Final = re.compile(r".+\.[0-9a-f]{8}\.(\d+|own-[0-9a-f]{16})\.part")
_SYNC_EVERY: Final = 16 << 20


@dataclass(frozen=True)
class Origin:
    """The answer that the bytes came from.

    Attributes:
        address: the address that was requested.
        etag: the server's tag for this version of the content.
        last_modified: time of the content's last change, as the server says.
        total: bytes of the whole file.
    """

    address: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """The value to send as If-Range: a strong tag, or else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class Part:
    """A part that this process holds. Made by ``claimed``."""

    def __init__(self, path: Path, handle: IO[bytes], address: str) -> None:
        self.path = path
        self._handle = handle
        self._unsynced = 0
        self._gone = False
        self.origin = _read_origin(_beside(path), address)
        self.size = os.fstat(handle.fileno()).st_size
        if self.origin is None and self.size:
            self.clear()

    def clear(self) -> None:
        """Remove the bytes that have come."""
        with write_errors(self.path, hint=WRITE_ELSEWHERE):
            # The record goes first, so that a crash between the two leaves no bytes that look good.
            _removed(_beside(self.path))
            self._handle.truncate(0)
            self._handle.seek(0)
        self.origin, self.size = None, 0

    def begin(self, origin: Origin) -> None:
        """Start again with the bytes of another answer."""
        self.clear()
        self.origin = origin
        with written_aside(LOCAL, _beside(self.path), hint=WRITE_ELSEWHERE) as (out, _):
            out.write(json.dumps(asdict(origin)).encode())

    def append(self, chunk: bytes) -> None:
        """Add bytes that have come."""
        with write_errors(self.path, hint=WRITE_ELSEWHERE):
            self._handle.write(chunk)
            self._handle.flush()
            self.size += len(chunk)
            self._unsynced += len(chunk)
            if self._unsynced >= _SYNC_EVERY:
                LOCAL.sync(self.path)
                self._unsynced = 0

    def read_back(self) -> bytes:
        """Return all bytes, read from the file, so that the check sees what was really written."""
        with write_errors(self.path, hint=WRITE_ELSEWHERE):
            self._handle.flush()
            self._handle.seek(0)
            content = self._handle.read()
            self._handle.seek(0, os.SEEK_END)
        return content

    def keep_as(self, path: Path) -> None:
        """Give the complete file its real name."""
        with write_errors(path, hint=WRITE_ELSEWHERE):
            self._handle.flush()
            LOCAL.sync(self.path)
            # Before the lock is released, because another process might otherwise write to the complete file.
            LOCAL.rename(self.path, path)
            _removed(_beside(self.path))
        self._gone = True

    def leave(self) -> None:
        """Release the part so that a later call can continue it; an empty part is removed."""
        with suppress(OSError):
            if not self._gone and not self._handle.closed:
                if self.size and self.origin:
                    self._handle.flush()
                    LOCAL.sync(self.path)
                else:
                    _removed(_beside(self.path), self.path)
        with suppress(OSError):
            self._handle.close()


@contextmanager
def claimed(folder: Path, file_name: str, address: str) -> Generator[Part]:
    """Claim a part of ``file_name`` for the bytes of ``address``: one that a dead process left, or a new one.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    key = hashlib.sha256(address.encode()).hexdigest()[:8]
    for number in range(_SLOTS + 1):
        # Where locks do not work (some network disks have none), a unique name keeps processes apart.
        slot = str(number) if number < _SLOTS else f"own-{secrets.token_hex(8)}"
        path = folder / f"{file_name}.{key}.{slot}.part"
        with write_errors(path, hint=WRITE_ELSEWHERE):
            handle = _opened(path, must_lock=number < _SLOTS)
        if handle is not None:
            break
    else:
        raise StoreWriteError(
            what="another process keeps removing the folder of downloads", where=str(folder), hint="try again"
        )
    part = Part(path, handle, address)
    try:
        yield part
    finally:
        part.leave()


def remove_dead(folder: Path) -> None:
    """Remove the parts in ``folder`` that no running process writes."""
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if _PART_NAME.fullmatch(path.name)]:
            handle = _opened(path, must_lock=True)
            if handle is not None:
                with handle:
                    # Also removes the temporary files that a dead process left there.
                    remove_dead_asides(LOCAL, _beside(path))
                    _removed(_beside(path), path)


def _opened(path: Path, *, must_lock: bool) -> IO[bytes] | None:
    """Open and lock the file; return None where another process holds it."""
    for _ in range(_TRIES):
        make_folders(LOCAL, path.parent, hint=WRITE_ELSEWHERE)
        # Another process may just have removed the empty folder.
        with suppress(FileNotFoundError):
            handle = LOCAL.open(path, "a+b")
            if not try_lock(handle) and must_lock:
                handle.close()
                return None
            if is_at(handle, path):
                return handle
            # Another process renamed or removed the file between our opening and our lock.
            handle.close()
    return None


def _removed(*paths: Path) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            LOCAL.remove(path)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_origin(path: Path, address: str) -> Origin | None:
    """Return the origin of the bytes, if it is recorded and their address is ``address``."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    found = cast("dict[str, Any]", content)
    texts = (found.get("etag"), found.get("last_modified"))
    total = found.get("total")
    if found.get("address") != address or not all(each is None or isinstance(each, str) for each in texts):
        return None
    if total is not None and (type(total) is not int or total < 0):
        return None
    return Origin(address, texts[0], texts[1], total)
