"""Leases: which process writes a run, whether it still runs, and how exactly one process takes over from a dead one.

A lease names a process: host, boot of that host, namespace of process ids, process id and the process's start time,
because ids are reused. A process of the same host, boot and namespace is in sight of this one: if it is dead, this is
known at once. Of any other process only the age of the heartbeat tells: a writer there that sleeps longer than five
minutes counts as dead, and a dead one counts as running for up to five minutes. That is so after a reboot, too,
because another machine may have this one's name, and for containers of one host, which see their own processes alone.

A heartbeat is compared with the clock of the process that looks, so that this process knows at once whether an old
heartbeat is old, and never has to watch a store for minutes. The clocks of hosts may therefore differ by two minutes.
A living writer renews its heartbeat every 30 seconds: it is never taken for dead, even if a network disk shows the
heartbeat a minute late. A dead one is recognised after three to seven minutes instead of five. Times of files are not
used, because a copied store has new ones.

A job that SLURM or Ray starts again, often on another host, need not wait: the lease names the job and how often it
was started, and the later start of a job knows that the earlier one has ended.

The first lease comes with the run's folder, whose mkdir is exclusive. Each later lease is a folder ``leases/0002``
that is built under a temporary name, with its holder inside, and renamed. A rename onto a folder that is not empty
fails, so exactly one process wins, on any file system; a winner that is killed before it writes ``run.json`` is still
recorded.
"""

import os
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from dregcli.errors import StoreCorrupt
from dregcli.filesystem import FileSystem, make_folders, write_folder_aside
from dregcli.store import documents, layout
from dregcli.store.job import Job, own_job

HEARTBEAT_LIMIT: Final = timedelta(minutes=5)

_HOLDER_FILE: Final = "holder.json"


_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)

_left: Final = set[tuple[Path, "Lease"]]()
"""Runs that this process gave up although the disk still calls it their writer, with their leases."""


@dataclass(frozen=True)
class Lease:
    """The right of one process to write a run.

    Args:
        generation: 1 for the process that claimed the run, one more for each process that resumed it.
        pid: its process id.
        host: its host's name.
        boot_id: id of the host's boot, where the system gives one.
        process_start: start of the process, in the system's ticks since boot, where the system gives it.
        heartbeat: time of its last write, UTC.
        job: its job of a cluster; None outside of a cluster.
        pid_namespace: namespace of its process id, where the system gives it; None in leases of earlier versions.
    """

    generation: int
    pid: int
    host: str
    boot_id: str | None
    process_start: int | None
    heartbeat: datetime
    job: Job | None = None
    pid_namespace: str | None = None

    @property
    def holder(self) -> str:
        """The process in words."""
        job = f" in {self.job.kind} {self.job.name}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    @property
    def is_in_sight(self) -> bool:
        """Whether this process could see the holder among the processes of its system, if the holder runs."""
        here = self.host == socket.gethostname() and self.boot_id == _boot_id()
        return here and self.pid_namespace in (None, _pid_namespace())

    @property
    def is_own(self) -> bool:
        """Whether this process is the holder."""
        return self.is_in_sight and self.pid == os.getpid() and self.process_start in (None, _process_start(self.pid))

    def beaten(self, now: datetime) -> "Lease":
        """Return the same lease with a new heartbeat."""
        return replace(self, heartbeat=now)

    def same_holder(self, other: "Lease") -> bool:
        """Whether both are the same lease, apart from the heartbeats."""
        return replace(self, heartbeat=other.heartbeat) == other

    def document(self) -> dict[str, Any]:
        """Return the lease as a JSON object."""
        return {
            "generation": self.generation,
            "pid": self.pid,
            "host": self.host,
            "boot_id": self.boot_id,
            "process_start": self.process_start,
            "heartbeat": self.heartbeat.isoformat(),
            "job": self.job.document() if self.job else None,
            "pid_namespace": self.pid_namespace,
        }

    @staticmethod
    def parse(document: dict[str, Any]) -> "Lease":
        """Return the lease in a JSON object; raise KeyError, TypeError or ValueError where it is not valid."""
        boot_id, process_start = document["boot_id"], document["process_start"]
        job, namespace = document.get("job"), document.get("pid_namespace")  # leases of earlier versions have none
        return Lease(
            generation=int(document["generation"]),
            pid=int(document["pid"]),
            host=str(document["host"]),
            boot_id=None if boot_id is None else str(boot_id),
            process_start=None if process_start is None else int(process_start),
            heartbeat=parse_time(document["heartbeat"]),
            job=None if job is None else Job.parse(job),
            pid_namespace=None if namespace is None else str(namespace),
        )


def parse_time(text: str) -> datetime:
    """Parse a stored time; raise ValueError without an offset, because such times cannot be compared."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        what = f"'{text}' is not a valid time: its offset from UTC is missing"
        raise ValueError(what)
    return time


def own_lease(generation: int, now: datetime) -> Lease:
    """Return a lease for this process."""
    pid = os.getpid()
    host, start = socket.gethostname(), _process_start(pid)
    return Lease(generation, pid, host, _boot_id(), start, now, own_job(), _pid_namespace())


def is_alive(lease: Lease, now: datetime) -> bool:
    """Whether the holder still runs, as far as this process can know."""
    if not lease.is_in_sight:
        if (job := own_job()) and job.replaces(lease.job):
            return False
        return now - lease.heartbeat <= HEARTBEAT_LIMIT
    if lease.process_start is not None:
        return _process_start(lease.pid) == lease.process_start
    return _answers(lease.pid)


def leave(folder: Path, lease: Lease) -> None:
    """Note that this process writes a run no more, although the disk refused to keep that."""
    _left.add(_key(folder, lease))


def hold(folder: Path, lease: Lease) -> None:
    """Note that this process writes a run."""
    _left.discard(_key(folder, lease))


def is_held(folder: Path, lease: Lease, now: datetime) -> bool:
    """Whether the holder of a run's lease still runs, and has not left the run, as far as this process can know."""
    return is_alive(lease, now) and _key(folder, lease) not in _left


def _key(folder: Path, lease: Lease) -> tuple[Path, Lease]:
    return folder.resolve(), lease.beaten(_NO_TIME)


def if_gone(lease: Lease | None) -> str:
    """Return the end of a hint for who waits for a holder: when its run is free if it is gone and not in sight."""
    if lease is None or lease.is_in_sight:
        return ""
    limit = f"{HEARTBEAT_LIMIT.total_seconds() / 60:.0f} minutes"
    heard = f"{lease.heartbeat.astimezone(UTC):%H:%M:%S} UTC"
    return f"; if it is gone, as after a reboot, the run is free {limit} after its last sign of life, at {heard}"


def newest_lease(folder: Path) -> Lease | None:
    """Return the newest lease taken by a resuming process, even if that process did not write ``run.json``.

    Raises:
        StoreCorrupt: the file of the lease is altered.
    """
    leases = folder / layout.LEASES_FOLDER
    numbers = [int(name) for name in layout.entries(leases) if name.isdecimal()]
    if not numbers:
        return None
    return read_lease(leases / _lease_name(max(numbers)))


def newest_readable_lease(folder: Path) -> Lease | None:
    """Return the newest lease like ``newest_lease``; a damaged one does not count."""
    try:
        return newest_lease(folder)
    except StoreCorrupt:
        return None


def read_lease(home: Path) -> Lease:
    """Read the lease of a resuming process from its folder.

    Raises:
        StoreCorrupt: the file of the lease is altered.
    """
    path = home / _HOLDER_FILE
    document = documents.unseal(path)
    try:
        return Lease.parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise documents.corrupt(path, f"The file does not hold a lease: {error!r}") from error


def take_lease(fs: FileSystem, folder: Path, lease: Lease) -> None:
    """Take a generation exclusively.

    Raises:
        FileExistsError: another process took the generation.
        StoreWriteError: the disk refuses.
    """
    make_folders(fs, folder / layout.LEASES_FOLDER)
    content = documents.seal(lease.document())
    write_folder_aside(fs, lease_folder(folder, lease), {_HOLDER_FILE: content})


def lease_folder(folder: Path, lease: Lease) -> Path:
    """Return the folder of a resuming process's lease."""
    return folder / layout.LEASES_FOLDER / _lease_name(lease.generation)


def _lease_name(generation: int) -> str:
    return f"{generation:04d}"


@lru_cache(maxsize=1)
def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


@lru_cache(maxsize=1)
def _pid_namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _process_start(pid: int) -> int | None:
    """Return the start time of a running process, or None: it is gone, a zombie, or the system has no /proc."""
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
