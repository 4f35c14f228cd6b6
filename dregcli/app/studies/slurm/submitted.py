"""Which runs of a store were handed over to SLURM, and which of these jobs still wait or run; light to import."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dregcli.app.studies.slurm import queue
from dregcli.errors import ClusterError, StoreCorrupt
from dregcli.store import documents, layout

SLURM_FOLDER: Final = ".slurm"
ARRAY_FILE: Final = "array.json"


def subject(experiment: str, seed: int) -> str:
    """Return the word for the run of an experiment, by its hash, and a seed."""
    return f"{experiment}-{seed}"


def still_queued(root: Path) -> dict[str, str]:
    """Return the job of each run that waits for SLURM or runs there, by its subject.

    An array whose file cannot be read is left out: then a run may get a second job, which finds nothing to do.

    Args:
        root: the store.

    Raises:
        ClusterError: SLURM does not answer.
    """
    home = root / SLURM_FOLDER
    known: list[tuple[str, str]] = []
    for name in layout.entries(home):
        with suppress(StoreCorrupt, KeyError, AttributeError):
            jobs: Mapping[str, Any] = documents.unseal(home / name / ARRAY_FILE)["jobs"]
            known += [(each, str(job)) for each, job in jobs.items()]
    if not known:
        return {}
    queued = queue.in_queue()
    return {each: job for each, job in known if job in queued}


def is_waiting(root: Path) -> bool:
    """Whether runs of a store wait for SLURM or run there; no if SLURM does not answer."""
    try:
        return bool(still_queued(root))
    except ClusterError:
        return False
