"""Who writes a run, whether that process still lives, and how one process alone takes over from a dead one.

A lease names a process: host, boot of that host, process id and the process's start time, since ids are reused.
On the same host death is known at once. Of another host only the heartbeat's age tells, so a writer there that
sleeps longer than five minutes reads as dead, and a dead one reads as running for up to five minutes.

The first lease comes with the run's folder, whose mkdir is exclusive. Each later one is a folder ``leases/0002``
that is built aside with its holder inside and renamed into place: a rename onto a folder that holds something
fails, so one process wins, on any file system, and a winner killed before it wrote ``run.json`` is still known.
"""

import os
import socket
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, make_folders, write_folder_aside
from dregcli.store import documents, layout

HEARTBEAT_LIMIT: Final = timedelta(minutes=5)

_HOLDER_FILE: Final = "holder.json"


@dataclass(frozen=True)
class Lease:
    """The right of one process to write a run.

    Args:
        generation: 1 for the process that claimed the run, one more for each that resumed it.
        pid: its process id.
        host: its host's name.
        boot_id: which boot of that host, where the system tells.
        process_start: when it started, in the system's ticks since boot, where the system tells.
        heartbeat: when it last wrote, UTC.
    """

    generation: int
    pid: int
    host: str
    boot_id: str | None
    process_start: int | None
    heartbeat: datetime

    @property
    def holder(self) -> str:
        """The process in words."""
        return f"process {self.pid} on {self.host}"

    def beaten(self, now: datetime) -> "Lease":
        """The same lease with a fresh heartbeat."""
        return replace(self, heartbeat=now)

    def same_holder(self, other: "Lease") -> bool:
        """Whether both are one lease, heartbeats apart."""
        return replace(self, heartbeat=other.heartbeat) == other

    def document(self) -> dict[str, Any]:
        """The lease as JSON holds it."""
        return {
            "generation": self.generation,
            "pid": self.pid,
            "host": self.host,
            "boot_id": self.boot_id,
            "process_start": self.process_start,
            "heartbeat": self.heartbeat.isoformat(),
        }

    @staticmethod
    def parse(document: dict[str, Any]) -> "Lease":
        """The lease in a JSON object; raises KeyError, TypeError or ValueError where it is none."""
        boot_id, process_start = document["boot_id"], document["process_start"]
        return Lease(
            generation=int(document["generation"]),
            pid=int(document["pid"]),
            host=str(document["host"]),
            boot_id=None if boot_id is None else str(boot_id),
            process_start=None if process_start is None else int(process_start),
            heartbeat=parse_time(document["heartbeat"]),
        )


def parse_time(text: str) -> datetime:
    """A time as it is written; raises ValueError for one without its offset, which no other can be compared with."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        what = f"'{text}' is no time: its offset from UTC is missing"
        raise ValueError(what)
    return time


def own_lease(generation: int, now: datetime) -> Lease:
    """A lease for this process."""
    pid = os.getpid()
    return Lease(generation, pid, socket.gethostname(), _boot_id(), _process_start(pid), now)


def is_alive(lease: Lease, now: datetime) -> bool:
    """Whether the holder still runs, as far as can be known from here."""
    if lease.host != socket.gethostname():
        return now - lease.heartbeat <= HEARTBEAT_LIMIT
    if lease.boot_id != _boot_id():
        return False
    if lease.process_start is not None:
        return _process_start(lease.pid) == lease.process_start
    return _answers(lease.pid)


def newest_lease(folder: Path) -> Lease | None:
    """The newest lease taken by a resuming process, whether or not it came to write ``run.json``.

    Raises:
        StoreCorrupt: its file is altered.
    """
    leases = folder / layout.LEASES_FOLDER
    numbers = [int(name) for name in layout.entries(leases) if name.isdecimal()]
    if not numbers:
        return None
    return read_lease(leases / _lease_name(max(numbers)))


def read_lease(home: Path) -> Lease:
    """The lease that a resuming process took, in its folder.

    Raises:
        StoreCorrupt: its file is altered.
    """
    path = home / _HOLDER_FILE
    document = documents.unseal(path)
    try:
        return Lease.parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise documents.corrupt(path, f"The file does not hold a lease: {error!r}") from error


def take_lease(fs: FileSystem, folder: Path, lease: Lease) -> None:
    """Takes a generation, exclusively.

    Raises:
        FileExistsError: another process took it.
        StoreWriteError: the disk refuses.
    """
    make_folders(fs, folder / layout.LEASES_FOLDER)
    content = documents.seal(lease.document())
    write_folder_aside(fs, lease_folder(folder, lease), {_HOLDER_FILE: content})


def lease_folder(folder: Path, lease: Lease) -> Path:
    """Where a resuming process's lease lies."""
    return folder / layout.LEASES_FOLDER / _lease_name(lease.generation)


def newest_holder(folder: Path) -> str:
    """The newest lease's holder in words, for a message."""
    try:
        lease = newest_lease(folder)
    except StoreCorrupt:
        lease = None
    return lease.holder if lease else "another process"


def _lease_name(generation: int) -> str:
    return f"{generation:04d}"


@lru_cache(maxsize=1)
def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _process_start(pid: int) -> int | None:
    """The start time of a running process, or None: gone, a zombie, or a system without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the command in parentheses and may hold anything, parentheses and spaces too.
    fields = stat.rpartition(")")[2].split()
    state, start = fields[0], int(fields[19])
    return None if state in ("Z", "X") else start


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
