"""The content of ``run.json``: a run's status, lease, summary and failures, and the digests of its plain files."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dregcli.names import RunStatus
from dregcli.store import documents, layout
from dregcli.store.lease import Lease, is_alive, parse_time

_KIND: Final = "run"
_VERSION: Final = 2


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The time, so that a test can set it.

    Args:
        now: returns the present time, UTC; it may jump, so it is only used for dates.
        monotonic: returns seconds that never jump back, for intervals.
    """

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK: Final = Clock()


@dataclass(frozen=True)
class LogSeal:
    """Length and digest of ``log.txt``, the one file that dreg appends to, when ``run.json`` was written.

    Attributes:
        size: length of the log in bytes.
        sha256: SHA-256 of these bytes.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class RunInfo:
    """The state of a run.

    Args:
        status: status of the run; ``running`` becomes ``crashed`` where the writer is dead.
        created: time of the claim, UTC.
        updated: time of the last write of ``run.json``, UTC.
        lease: lease of the current or last writer; None for a run killed while it was claimed.
        summary: final values from the finishing process, e.g. the last step and bounds; empty before the end.
        failures: failures, oldest first, each with its ``time``.
        digests: for each plain file, the SHA-256 values that it may have.
        last: for each split, its last row of metrics, so that a list of runs reads no metrics.
        merged: the last part of the metrics that is in ``metrics.h5``; empty where there is none.
        log: the seal of ``log.txt``; None before the first line.
    """

    status: RunStatus
    created: datetime
    updated: datetime
    lease: Lease | None
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failures: tuple[Mapping[str, Any], ...] = ()
    digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    last: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    merged: str = ""
    log: LogSeal | None = None

    def holder(self, taken: Lease | None, now: datetime) -> Lease | None:
        """Return the lease of the process that writes the run, or None.

        That is the lease of this state, or a newer one, taken so recently that this state does not have it yet.

        Args:
            taken: the newest lease, read before this state: a lease taken later gets the same number and is refused.
            now: the time, UTC.
        """
        if self.status is RunStatus.RUNNING:
            return self.lease
        if taken and self.lease and taken.generation > self.lease.generation and is_alive(taken, now):
            return taken
        return None

    @property
    def started(self) -> bool:
        """Whether the run was started; a run killed while it was claimed has no spec and cannot be resumed."""
        return self.lease is not None


def write_info(info: RunInfo) -> bytes:
    """Return the content of ``run.json`` as bytes."""
    return documents.seal(
        {
            "encoding-type": _KIND,
            "encoding-version": str(_VERSION),
            "status": info.status,
            "created": info.created.isoformat(),
            "updated": info.updated.isoformat(),
            "lease": info.lease.document() if info.lease else None,
            "summary": info.summary,
            "failures": info.failures,
            "digests": info.digests,
            "last": info.last,
            "merged": info.merged,
            "log": asdict(info.log) if info.log else None,
        }
    )


def read_info(path: Path) -> RunInfo:
    """Read ``run.json``; the status is as written, without checking whether the writer is alive.

    Raises:
        StoreCorrupt: the file is altered; the error names it.
        StoreFormatError: the file has another version.
    """
    document = documents.unseal(path)
    layout.check_encoding(document, _KIND, path, known=_VERSION)
    try:
        return RunInfo(
            status=RunStatus(document["status"]),
            created=parse_time(document["created"]),
            updated=parse_time(document["updated"]),
            lease=Lease.parse(document["lease"]),
            summary=dict(document["summary"]),
            failures=tuple(dict(failure) for failure in document["failures"]),
            digests={name: tuple(digests) for name, digests in document["digests"].items()},
            last={split: dict(row) for split, row in document["last"].items()},
            merged=str(document["merged"]),
            log=LogSeal(int(log["size"]), str(log["sha256"])) if (log := document["log"]) else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise documents.corrupt(path, f"The file does not hold the state of a run: {error!r}") from error
