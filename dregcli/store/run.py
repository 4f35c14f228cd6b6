"""One run, read: nothing is cached, so that a reader beside a live writer sees what is there now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dregcli.commands import command
from dregcli.errors import RunNotFound, RunStateError
from dregcli.filesystem import LOCAL, FileSystem, check_can_write
from dregcli.names import RunStatus
from dregcli.store import checkpoints, documents, labels, layout, metrics, results
from dregcli.store.checkpoints import Checkpoint, Which
from dregcli.store.hdf5 import Array, Content
from dregcli.store.lease import is_alive
from dregcli.store.records import SYSTEM_CLOCK, Clock, RunInfo, read_info
from dregcli.store.results import Result, ResultKind


@dataclass(frozen=True)
class Run:
    """One version of a name.

    Args:
        path: its folder, ``<root>/<name>/v001``.
        fs: the seam its results are written through.
        clock: what dates them and judges heartbeats.
        elsewhere: whether it lies in another store than the one that was asked for it, as the path of it said.
    """

    path: Path
    fs: FileSystem = LOCAL
    clock: Clock = SYSTEM_CLOCK
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """The name it is a version of."""
        return self.path.parent.name

    @property
    def root(self) -> Path:
        """The folder of its store."""
        return self.path.parent.parent

    @property
    def version(self) -> int:
        """Its version, from 1."""
        return layout.parse_version(self.path.name) or 0

    @property
    def label(self) -> str:
        """What every command accepts that is given the same store: ``NAME/v001``; its path where it is elsewhere."""
        return str(self.path) if self.elsewhere else self.key

    @property
    def key(self) -> str:
        """``NAME/v001``: what it is called inside of its own store."""
        return f"{self.name}/{self.path.name}"

    def info(self) -> RunInfo:
        """Its state; a writer that died reads as crashed, one killed while it claimed the run too.

        Raises:
            StoreCorrupt: ``run.json`` is altered, or cannot be read.
            StoreFormatError: of a newer version.
            RunNotFound: the run was removed meanwhile.
        """
        path = self.path / layout.RUN_FILE
        try:
            if not path.exists():
                changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
                return RunInfo(RunStatus.CRASHED, created=changed, updated=changed, lease=None)
        except FileNotFoundError as error:
            what = f"The run {self.label} is not there: it was removed."
            hint = f"see what there is: {command('runs', 'list', runs_dir=self.root)}"
            raise RunNotFound(what, where=str(self.path), hint=hint) from error
        except OSError as error:
            raise documents.corrupt(path, f"The folder cannot be read: {error.strerror or error}") from error
        info = read_info(path)
        if info.status is RunStatus.RUNNING and not (info.lease and is_alive(info.lease, self.clock.now())):
            return replace(info, status=RunStatus.CRASHED)
        return info

    def status(self) -> RunStatus:
        """The status of :meth:`info`."""
        return self.info().status

    def spec(self, info: RunInfo | None = None) -> dict[str, Any]:
        """The spec it was claimed with, or prolonged with.

        Args:
            info: its state, where it was read already.

        Raises:
            RunStateError: it was killed while it was claimed and has none.
            StoreCorrupt: the file is missing or altered.
        """
        return self._document(layout.SPEC_FILE, info)

    def environment(self) -> dict[str, Any]:
        """What was captured when it was claimed.

        Raises:
            RunStateError: it was killed while it was claimed and has none.
            StoreCorrupt: the file is missing or altered.
        """
        return self._document(layout.ENVIRONMENT_FILE)

    def resumed_environments(self) -> dict[int, dict[str, Any]]:
        """What was captured each time it was resumed, by the generation of the writer, from 2.

        Raises:
            StoreCorrupt: a file is missing or altered.
        """
        info = self.info()
        found = [(generation, layout.environment_file(generation)) for generation in layout.generations(info.digests)]
        return {generation: self._document(name, info) for generation, name in found if generation > 1}

    def all_metrics(self) -> dict[str, dict[str, Array]]:
        """The metrics of every split, read once; see :meth:`metrics`.

        Raises:
            StoreCorrupt: a metrics file is truncated or altered, naming it.
        """
        return metrics.read(self.path)

    def metrics(self, split: str) -> dict[str, Array]:
        """The metrics of a split, from ``metrics.h5`` and the live parts.

        Args:
            split: e.g. ``train``.

        Returns:
            Columns by name, each of shape (rows,), rows sorted by step: ``step`` int64, the rest float64, NaN where
            a row had no such value. Empty when the run has no such split.

        Raises:
            StoreCorrupt: a metrics file is truncated or altered, naming it.
        """
        return metrics.read(self.path).get(split, {})

    def labels(self) -> labels.Labels:
        """Its tags and notes.

        Raises:
            StoreCorrupt: a file is altered, naming it.
        """
        return labels.read(self.path)

    def check_can_keep(self, folder: str) -> None:
        """Refuses a run that the disk lets nothing be added to: before any work.

        Args:
            folder: that of the results, which need not exist yet.

        Raises:
            StoreWriteError: the disk refuses.
        """
        copied = command("runs", "export", self.label, "run.zip")
        imported = command("runs", "import", "run.zip", runs_dir=Path("FOLDER"))
        hint = "make the folder one that you can write to, or copy the run to a store of your own in FOLDER:\n"
        hint += f"{copied}\n{imported}"
        check_can_write(self.fs, self.path / folder, hint=hint)

    def add_label(self, *, add: Sequence[str] = (), remove: Sequence[str] = (), note: str | None = None) -> None:
        """Adds and removes tags, and adds a note; by anyone, at any time.

        Raises:
            UsageError: what cannot be a tag, or too long a note.
            StoreWriteError: the disk refuses.
        """
        labels.write(self.fs, self.path, self.clock.now(), add=add, remove=remove, note=note)

    def checkpoints(self) -> list[int]:
        """The steps it has a checkpoint of, ascending; whole or not."""
        return checkpoints.steps(self.path)

    def best(self) -> int | None:
        """The step of its best checkpoint, or None."""
        return checkpoints.best(self.path)

    def load_checkpoint(self, which: Which) -> Checkpoint:
        """A checkpoint, verified before it is parsed; see :func:`dregcli.store.checkpoints.load`.

        Raises:
            RunNotFound: there is none such.
            CheckpointCorrupt: the step asked for, or every checkpoint, is corrupt.
        """
        return checkpoints.load(self.path, which)

    def add_result(
        self, kind: ResultKind, stem: str, *, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
    ) -> Path:
        """Keeps a result as ``KIND/STEM.h5``, or ``STEM-2.h5`` ... where the name is taken.

        Args:
            kind: the folder and the ``encoding-type``.
            stem: letters, digits, '.', '_' and '-'.
            arrays: numbers or booleans by name, any shape.
            attrs: a JSON-able mapping; NaN and infinity survive.

        Returns:
            The file.

        Raises:
            StoreWriteError: the disk refuses.
        """
        attrs = {**attrs, results.WRITTEN: self.clock.now().isoformat()}
        return results.add_result(self.fs, self.path, kind, stem, arrays, attrs)

    def put_partial(
        self, kind: ResultKind, key: str, *, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
    ) -> None:
        """Keeps an unfinished result, to be continued by ``key``; see :func:`dregcli.store.results.put_partial`."""
        results.put_partial(self.fs, self.path, kind, key, arrays, attrs)

    def partial(self, kind: ResultKind, key: str) -> Content | None:
        """An unfinished result: its arrays and attrs, or None.

        Raises:
            StoreCorrupt: the file is truncated or altered.
        """
        return results.read_partial(self.path, kind, key)

    def drop_partial(self, kind: ResultKind, key: str) -> None:
        """Forgets an unfinished result."""
        results.drop_partial(self.fs, self.path, kind, key)

    def results(self, kind: ResultKind) -> list[Result]:
        """All results of a kind, oldest first.

        Raises:
            StoreCorrupt: a file is truncated or altered, naming it.
        """
        return results.read_results(self.path, kind)

    def add_file(self, folder: str, stem: str, suffix: str, content: bytes) -> Path:
        """Keeps a file such as a figure as ``FOLDER/STEM.suffix``, or ``STEM-2`` ... where the name is taken.

        Raises:
            StoreWriteError: the disk refuses.
        """
        return results.add_file(self.fs, self.path, folder, stem, suffix, content)

    def newest_file(self, folder: str, stem: str, suffix: str) -> bytes | None:
        """The content of the newest file that :meth:`add_file` kept under a name, or None.

        Raises:
            StoreCorrupt: the file is truncated or altered, naming it.
        """
        return results.newest_file(self.path, folder, stem, suffix)

    def _document(self, name: str, info: RunInfo | None = None) -> dict[str, Any]:
        info = info or self.info()
        if not info.started:
            what = f"The run {self.label} was killed while it was claimed: it has no {name}."
            raise RunStateError(what, where=str(self.path), hint="start it anew: dreg train --help")
        path = self.path / name
        content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        # A run prolonged since its state was read has another spec, whose digest only the newer state knows.
        digest = documents.sha256(content)
        if digest not in info.digests.get(name, ()) and digest not in self.info().digests.get(name, ()):
            raise documents.corrupt(path, "The file does not match the digest in run.json")
        return documents.decode(content, path)
