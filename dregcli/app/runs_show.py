"""``dreg runs show``: everything that is known of one run."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dregcli.app.listener import Listener
from dregcli.app.runs_label import newest_version
from dregcli.app.runs_list import ListedRun, read_listed
from dregcli.errors import DregError
from dregcli.names import RunStatus
from dregcli.store import trash
from dregcli.store.labels import Note
from dregcli.store.runs import RunStore


@dataclass(frozen=True)
class ShownRun:
    """What there is to say of a run.

    Attributes:
        listed: what a list shows.
        holder: the process that writes it, or wrote it last.
        failures: what went wrong, oldest first.
        checkpoints: their steps.
        best: the best one's.
        results: evaluations and bias checks, file by file, with what they say of themselves.
        notes: what people wrote about it.
        environment: what was captured when it was claimed.
        resumed: the same of each time it was resumed, by generation.
        nbytes: the room it takes.
        damage: what of it cannot be read.
    """

    listed: ListedRun
    holder: str | None
    failures: tuple[Mapping[str, Any], ...]
    checkpoints: list[int]
    best: int | None
    results: dict[str, dict[str, Any]]
    notes: tuple[Note, ...]
    environment: dict[str, Any]
    resumed: dict[int, dict[str, Any]]
    nbytes: int
    damage: list[str]

    @property
    def command(self) -> str | None:
        """What was typed."""
        argv = self.environment.get("argv")
        return shlex.join(map(str, cast("list[object]", argv))) if isinstance(argv, list) else None

    @property
    def next_command(self) -> str:
        """What to type next."""
        path = self.listed.run.path
        if not self.listed.spec:
            return f"dreg runs rm {self.listed.run.label}"
        if self.listed.status in (RunStatus.CRASHED, RunStatus.INTERRUPTED, RunStatus.FAILED):
            return f"dreg train --resume {path}"
        return f"dreg report {path}"


def show_run(reference: str, *, runs_dir: Path, listener: Listener) -> ShownRun:
    """Read one run; of a name the newest version.

    What is damaged is told and the rest is shown.

    Raises:
        RunNotFound: no such run.
        StoreCorrupt: its ``run.json`` or spec is altered.
    """
    run = newest_version(RunStore(runs_dir), reference, listener)
    listed, info = read_listed(run), run.info()
    damage: list[str] = []
    results: dict[str, dict[str, Any]] = {}
    environment: dict[str, Any] = {}
    resumed: dict[int, dict[str, Any]] = {}
    notes: tuple[Note, ...] = ()
    try:
        notes = run.labels().notes
        environment = run.environment() if info.started else {}
        resumed = run.resumed_environments() if info.started else {}
        for kind in ("evals", "bias"):
            results |= {str(each.path.relative_to(run.path)): each.attrs for each in run.results(kind)}
    except DregError as error:
        damage.append(f"{error.where}: {error.what}")
    return ShownRun(
        listed,
        info.lease.holder if info.lease else None,
        info.failures,
        run.checkpoints(),
        run.best(),
        results,
        notes,
        environment,
        resumed,
        trash.size(run.path),
        damage,
    )
