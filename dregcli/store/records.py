"""What ``run.json`` holds: a run's status, lease, summary and failures, and the digests of its plain files."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dregcli.names import RunStatus
from dregcli.store import documents, layout
from dregcli.store.lease import Lease

_KIND: Final = "run"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The time, so that a test can set it.

    Args:
        now: the present moment, UTC; may jump, so it only dates things.
        monotonic: seconds that never jump back, for what is due.
    """

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK: Final = Clock()


@dataclass(frozen=True)
class RunInfo:
    """The state of a run.

    Args:
        status: as read; a dead writer's ``running`` is ``crashed``.
        created: when it was claimed, UTC.
        updated: when ``run.json`` was last written, UTC.
        lease: who writes it, or wrote it last; None for a run killed while it was claimed.
        summary: what the finishing process left, e.g. the last step and bounds; empty before.
        failures: what went wrong, oldest first, each with its ``time``.
        digests: for each plain file the SHA-256 values it may have.
    """

    status: RunStatus
    created: datetime
    updated: datetime
    lease: Lease | None
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failures: tuple[Mapping[str, Any], ...] = ()
    digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def started(self) -> bool:
        """False for a run that was killed while it was claimed: it has no spec and nothing to resume."""
        return self.lease is not None


def write_info(info: RunInfo) -> bytes:
    """The content of ``run.json``."""
    return documents.seal(
        {
            "encoding-type": _KIND,
            "encoding-version": "1",
            "status": info.status,
            "created": info.created.isoformat(),
            "updated": info.updated.isoformat(),
            "lease": info.lease.document() if info.lease else None,
            "summary": info.summary,
            "failures": info.failures,
            "digests": info.digests,
        }
    )


def read_info(path: Path) -> RunInfo:
    """The content of ``run.json`` as written, the status unjudged.

    Raises:
        StoreCorrupt: altered, naming the file.
        StoreFormatError: of a newer version.
    """
    document = documents.unseal(path)
    layout.check_encoding(document, _KIND, path)
    try:
        return RunInfo(
            status=RunStatus(document["status"]),
            created=datetime.fromisoformat(document["created"]),
            updated=datetime.fromisoformat(document["updated"]),
            lease=Lease.parse(document["lease"]),
            summary=dict(document["summary"]),
            failures=tuple(dict(failure) for failure in document["failures"]),
            digests={name: tuple(digests) for name, digests in document["digests"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise documents.corrupt(path, f"The file does not hold the state of a run: {error!r}") from error
