"""Writes one run, from the one process that holds its lease."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dregcli.errors import DregError, RunStateError
from dregcli.filesystem import write_aside, write_errors
from dregcli.names import RunStatus
from dregcli.redaction import redacted, redacted_values
from dregcli.store import checkpoints, layout, log, metrics, rollback
from dregcli.store.lease import hold, leave
from dregcli.store.records import RunInfo, read_info, write_info
from dregcli.store.run import Run

if TYPE_CHECKING:
    from torch import Tensor

FLUSH_SECONDS: Final = 30.0

_ENDS: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.INTERRUPTED)


class RunWriter:
    """A writer for a run that :class:`dregcli.store.runs.RunStore` claimed or reopened for this process.

    Every method that writes to the disk raises StoreWriteError when the disk refuses; the earlier state is then
    undamaged, and the method may be called again. After another process took the run over or removed it, the methods
    raise RunStateError. One thread writes; another one may call ``beat`` at the same time.

    Args:
        run: the run.
        info: the state that was just written, with this process's lease.
    """

    def __init__(self, run: Run, info: RunInfo) -> None:
        self.run = run
        self._info = info
        self._rows: dict[str, list[dict[str, float]]] = {}
        self._last: dict[str, Mapping[str, float]] = dict(info.last)
        self._part = 1
        self._flushed = run.clock.monotonic()
        self._finished = False
        self._lock = threading.Lock()
        if info.lease:
            hold(run.path, info.lease)

    def append(self, split: str, row: Mapping[str, float]) -> None:
        """Add a row to the metrics of a split; it stays in memory until the next flush.

        Args:
            split: name of the split, e.g. ``train``.
            row: values by column, with ``step``, a whole number. Other columns are stored as float64.

        Raises:
            ValueError: there is no whole step, or a name cannot be a column or a split.
        """
        self._check_unfinished()
        for name in (split, *row):
            if not name or "/" in name or name in (".", ".."):
                what = f"'{name}' cannot be the name of a column or a split"
                raise ValueError(what)
        step = row.get(metrics.STEP)
        if step is None or int(step) != step:
            what = f"a row of metrics needs a whole number as 'step', not {step}"
            raise ValueError(what)
        kept = {name: float(value) for name, value in row.items()}
        self._rows.setdefault(split, []).append(kept)
        self._last[split] = kept

    def flush(self) -> None:
        """Write the buffered rows, if any, as one part, and refresh the heartbeat."""
        self._check_held()
        if self._rows:
            # On failure the rows stay, and the next try uses the same name, so no row can be stored twice.
            metrics.write_part(self.run.fs, self.run.path, self._generation, self._part, self._rows)
            self._rows = {}
            self._part += 1
        self._write_info(replace(self._info, last=dict(self._last)))
        self._flushed = self.run.clock.monotonic()

    def beat(self) -> None:
        """Refresh the heartbeat alone, from any thread."""
        with self._lock:
            self._check_held()
            self._write_now(self._info)

    def flush_due(self) -> bool:
        """Whether the last flush was 30 seconds ago or more."""
        return self.run.clock.monotonic() - self._flushed >= FLUSH_SECONDS

    def save_checkpoint(
        self,
        step: int,
        *,
        model: "Mapping[str, Tensor]",
        optimizer: "Mapping[str, Tensor]",
        state: Mapping[str, Any],
        best: bool,
        about: Mapping[str, Any] | None = None,
        data: "Mapping[str, Tensor] | None" = None,
        keep_last: int = 2,
    ) -> None:
        """Write a checkpoint; see :func:`dregcli.store.checkpoints.save`.

        Args:
            step: the optimisation step.
            model: the model's tensors by name.
            optimizer: the optimizer's tensors by name.
            state: a JSON-able mapping; floats are stored exactly.
            best: whether it is the best checkpoint so far.
            about: what the model needs to be built without its data set, a JSON-able mapping.
            data: the tensors that belong to ``about``, by name.
            keep_last: number of newest checkpoints to keep, at least 1, in addition to the best.

        Raises:
            CheckpointCorrupt: the checkpoint does not read back as it was written; the earlier ones are kept.
        """
        self.flush()  # first, so that a part never has rows on both sides of a checkpoint
        checkpoints.save(
            self.run.fs,
            self.run.path,
            step,
            model=model,
            optimizer=optimizer,
            state=state,
            about=about or {},
            data=data or {},
            is_best=best,
            keep_last=keep_last,
        )

    def roll_back(self, step: int) -> Path | None:
        """Put metrics and checkpoints after ``step`` aside; see :func:`dregcli.store.rollback.roll_back`.

        Returns:
            The folder with the files that were put aside, or None where there were none.

        Raises:
            StoreCorrupt: a metrics file is altered; the error names it.
        """
        self.flush()
        aside = rollback.roll_back(self.run.fs, self.run.path, step)
        if aside:
            self._last = dict[str, Mapping[str, float]](metrics.last_rows(metrics.read(self.run.path)))
            self._write_info(replace(self._info, last=self._last))
        return aside

    def log(self, line: str) -> None:
        """Add a line to ``log.txt``, with the time in UTC and without anything that looks like a secret."""
        time = self.run.clock.now().isoformat(timespec="seconds")
        text = redacted(line.rstrip("\n")).replace("\n", "\n    ")
        self._check_held()
        path = self.run.path / layout.LOG_FILE
        # Unlike all other files, the log is appended to in place: it is only for people to read, and rewriting it for
        # each line would cost more with every line. The worst effect of a kill is an incomplete last line.
        with write_errors(path):
            self.run.fs.append(path, f"{time} {text}\n".encode("utf-8", "backslashreplace"))
            self.run.fs.sync(path)
        self._write_info(replace(self._info, log=log.seal(self.run.path)))

    def add_failure(self, failure: Mapping[str, Any]) -> None:
        """Add a failure and its time to ``run.json``, without anything that looks like a secret."""
        self._check_held()
        entry = {"time": self.run.clock.now().isoformat(), **redacted_values(failure)}
        self._write_info(replace(self._info, failures=(*self._info.failures, entry)))

    def finish(self, status: RunStatus, summary: Mapping[str, Any]) -> None:
        """Flush and end the run; a completed run's parts are merged into ``metrics.h5``.

        Args:
            status: completed, failed or interrupted. Failed and interrupted runs keep their parts, to end quickly.
            summary: a JSON-able mapping, e.g. the last step and the bounds.

        Raises:
            ValueError: the status is not an end.
            StoreCorrupt: a part is altered; the error names it, the run is not finished, and nothing is removed.
        """
        if status not in _ENDS:
            what = f"a run cannot finish as '{status}'"
            raise ValueError(what)
        self.flush()
        if status is RunStatus.COMPLETED:
            self._info = replace(self._info, merged=metrics.merge(self.run.fs, self.run.path))
        sealed = log.extended_seal(self.run.path, self._info)
        self._write_info(replace(self._info, status=status, summary=dict(summary), log=sealed))
        self._finished = True

    def leave(self) -> None:
        """Write nothing more. A run whose end could not be written counts as crashed, for this process too."""
        if not self._finished and self._info.lease:
            leave(self.run.path, self._info.lease)
        self._finished = True

    @property
    def _generation(self) -> int:
        return self._info.lease.generation if self._info.lease else 0

    def _write_info(self, info: RunInfo) -> None:
        with self._lock:  # otherwise a beat could put an older state in the place of this one
            self._write_now(info)

    def _write_now(self, info: RunInfo) -> None:
        now = self.run.clock.now()
        info = replace(info, updated=now, lease=info.lease.beaten(now) if info.lease else None)
        write_aside(self.run.fs, self.run.path / layout.RUN_FILE, write_info(info))
        self._info = info

    def _check_unfinished(self) -> None:
        if self._finished:
            what = f"The run {self.run.label} is finished."
            raise RunStateError(what, where=str(self.run.path), hint="reopen it to write more")

    def _check_held(self) -> None:
        """Refuse to write after another process took the lease, e.g. while this one slept on another host."""
        self._check_unfinished()
        try:
            current = read_info(self.run.path / layout.RUN_FILE).lease
        except DregError as error:
            if layout.is_gone(self.run.path):  # by hand, or on another host, for which this process looked dead
                what = f"The run {self.run.label} was removed or renamed in the meantime."
                hint = f"bring it back, then resume it: {layout.restore_command(self.run.path)}"
                raise RunStateError(what, where=str(self.run.path), hint=hint) from error
            return  # the file is gone or altered: the next write restores it from memory
        if current and self._info.lease and not current.same_holder(self._info.lease):
            what = f"The run {self.run.label} was taken over by {current.holder}."
            raise RunStateError(
                what,
                where=str(self.run.path),
                hint="let that process finish; this one must stop",
            )
