"""Reads one run; nothing is cached, so a reader sees the present state, even while a process writes the run."""

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
from dregcli.store.code import MANIFEST_NAME, CapturedCode, check_manifest
from dregcli.store.code import read as read_code
from dregcli.store.hdf5 import Array, Content
from dregcli.store.lease import is_held
from dregcli.store.records import SYSTEM_CLOCK, Clock, RunInfo, read_info
from dregcli.store.results import Result, ResultKind


@dataclass(frozen=True)
class Run:
    """One version of a name.

    Args:
        path: folder of the run, ``<root>/<name>/v001``.
        fs: the seam through which its results are written.
        clock: gives the dates of results, and the time to compare heartbeats with.
        elsewhere: whether the run lies in another store than the given one, because the user typed a path.
    """

    path: Path
    fs: FileSystem = LOCAL
    clock: Clock = SYSTEM_CLOCK
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """The run's name."""
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
        """The run as commands with the same store accept it: ``NAME/v001``, or its path if it lies elsewhere."""
        return str(self.path) if self.elsewhere else self.key

    @property
    def key(self) -> str:
        """``NAME/v001``: the run's name and version in its own store."""
        return f"{self.name}/{self.path.name}"

    def info(self) -> RunInfo:
        """Return the state of the run; it is ``crashed`` if its writer died, also if that was during the claim.

        Raises:
            StoreCorrupt: ``run.json`` is altered, or cannot be read.
            StoreFormatError: ``run.json`` has a newer version.
            RunNotFound: the run was removed meanwhile.
        """
        path = self.path / layout.RUN_FILE
        try:
            if not path.exists():
                changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
                return RunInfo(RunStatus.CRASHED, created=changed, updated=changed, lease=None)
        except FileNotFoundError as error:
            what = f"The run {self.label} does not exist: it was removed."
            hint = f"list the runs: {command('runs', 'list', runs_dir=self.root)}"
            raise RunNotFound(what, where=str(self.path), hint=hint) from error
        except OSError as error:
            raise documents.corrupt(path, f"The folder cannot be read: {error.strerror or error}") from error
        info = read_info(path)
        if info.status is RunStatus.RUNNING and not (info.lease and is_held(self.path, info.lease, self.clock.now())):
            return replace(info, status=RunStatus.CRASHED)
        return info

    def status(self) -> RunStatus:
        """Return the status of :meth:`info`."""
        return self.info().status

    def spec(self, info: RunInfo | None = None) -> dict[str, Any]:
        """Return the spec of the claim, or of the last prolongation.

        Args:
            info: state of the run, if it was read already.

        Raises:
            RunStateError: the run was killed while it was claimed and has no spec.
            StoreCorrupt: the file is missing or altered.
        """
        return self._document(layout.SPEC_FILE, info)

    def earlier_specs(self) -> list[dict[str, Any]]:
        """Return the specs that the run had before its present one, oldest first.

        Raises:
            StoreCorrupt: a file is altered.
        """
        home = self.path / layout.ROLLED_BACK_FOLDER
        folders = [home / name for name in layout.entries(home)]
        return [self._document(layout.SPEC_FILE, at=each) for each in folders if (each / layout.SPEC_FILE).exists()]

    def environment(self) -> dict[str, Any]:
        """Return the environment that was captured at the claim.

        Raises:
            RunStateError: the run was killed while it was claimed and has no environment.
            StoreCorrupt: the file is missing or altered.
        """
        return self._document(layout.ENVIRONMENT_FILE)

    def code(self) -> CapturedCode | None:
        """Return the source code of the run's model, verified; None for a built-in model.

        Raises:
            StoreCorrupt: a file is missing or altered; the error names it.
        """
        digests = self.info().digests.get(MANIFEST_NAME)
        if digests is None:
            return None
        folder = self.path / layout.CODE_FOLDER
        check_manifest(folder, digests)
        return read_code(folder)

    def resumed_environments(self) -> dict[int, dict[str, Any]]:
        """Return the environments captured at each resumption, by the generation of the writer, from 2.

        Raises:
            StoreCorrupt: a file is missing or altered.
        """
        info = self.info()
        found = [(generation, layout.environment_file(generation)) for generation in layout.generations(info.digests)]
        return {generation: self._document(name, info) for generation, name in found if generation > 1}

    def all_metrics(self) -> dict[str, dict[str, Array]]:
        """Return the metrics of every split, read once; see :meth:`metrics`.

        Raises:
            StoreCorrupt: a metrics file is truncated or altered; the error names it.
        """
        return metrics.read(self.path)

    def metrics(self, split: str) -> dict[str, Array]:
        """Return the metrics of a split, from ``metrics.h5`` and the parts that are not merged yet.

        Args:
            split: name of the split, e.g. ``train``.

        Returns:
            Columns by name, each of shape (rows,), with rows sorted by step: ``step`` is int64, all others float64,
            with NaN where a row has no such value. Empty where the run has no such split.

        Raises:
            StoreCorrupt: a metrics file is truncated or altered; the error names it.
        """
        return metrics.read(self.path).get(split, {})

    def labels(self) -> labels.Labels:
        """Return the tags and notes of the run.

        Raises:
            StoreCorrupt: a file is altered; the error names it.
        """
        return labels.read(self.path)

    def check_can_keep(self, folder: str) -> None:
        """Refuse a run to which the disk does not allow adding files, before any work is done.

        Args:
            folder: folder of the results, which need not exist yet.

        Raises:
            StoreWriteError: the disk refuses.
        """
        copied = command("runs", "export", self.label, "run.zip")
        imported = command("runs", "import", "run.zip", runs_dir=Path("FOLDER"))
        hint = "make the folder writable, or copy the run to a store of your own in FOLDER:\n"
        hint += f"{copied}\n{imported}"
        check_can_write(self.fs, self.path / folder, hint=hint)

    def add_label(self, *, add: Sequence[str] = (), remove: Sequence[str] = (), note: str | None = None) -> None:
        """Add and remove tags, and add a note; anyone can do so at any time.

        Raises:
            UsageError: a word cannot be a tag, or the note is too long or empty.
            StoreWriteError: the disk refuses.
        """
        labels.write(self.fs, self.path, self.clock.now(), add=add, remove=remove, note=note)

    def checkpoints(self) -> list[int]:
        """Return the steps of the run's checkpoints, ascending, including damaged checkpoints."""
        return checkpoints.steps(self.path)

    def has_whole_checkpoint(self, step: int) -> bool:
        """Whether there is an undamaged checkpoint of a step."""
        return checkpoints.is_whole(self.path, step)

    def best(self) -> int | None:
        """Return the step of the best checkpoint, or None."""
        return checkpoints.best(self.path)

    def load_checkpoint(self, which: Which) -> Checkpoint:
        """Load a checkpoint, which is verified before it is parsed; see :func:`dregcli.store.checkpoints.load`.

        Raises:
            RunNotFound: there is no such checkpoint.
            CheckpointCorrupt: the checkpoint of the given step is corrupt, or all checkpoints are.
        """
        return checkpoints.load(self.path, which)

    def add_result(
        self, kind: ResultKind, stem: str, *, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
    ) -> Path:
        """Store a result as ``KIND/STEM.h5``, or ``STEM-2.h5`` ... where the name is taken.

        Args:
            kind: the folder and the ``encoding-type``.
            stem: first part of the file name: letters, digits, '.', '_' and '-'.
            arrays: numbers or booleans by name, of any shape.
            attrs: a JSON-able mapping; NaN and infinity are kept.

        Returns:
            The path of the file.

        Raises:
            StoreWriteError: the disk refuses.
        """
        attrs = {**attrs, results.WRITTEN: self.clock.now().isoformat()}
        return results.add_result(self.fs, self.path, kind, stem, arrays, attrs)

    def put_partial(
        self, kind: ResultKind, key: str, *, arrays: Mapping[str, Array], attrs: Mapping[str, Any]
    ) -> None:
        """Store an unfinished result, to continue it by ``key``; see :func:`dregcli.store.results.put_partial`."""
        results.put_partial(self.fs, self.path, kind, key, arrays, attrs)

    def partial(self, kind: ResultKind, key: str) -> Content | None:
        """Return an unfinished result with its arrays and attrs, or None.

        Raises:
            StoreCorrupt: the file is truncated or altered.
        """
        return results.read_partial(self.path, kind, key)

    def drop_partial(self, kind: ResultKind, key: str) -> None:
        """Remove an unfinished result."""
        results.drop_partial(self.fs, self.path, kind, key)

    def results(self, kind: ResultKind) -> list[Result]:
        """Return all results of a kind, oldest first.

        Raises:
            StoreCorrupt: a file is truncated or altered; the error names it.
        """
        return results.read_results(self.path, kind)

    def add_file(self, folder: str, stem: str, suffix: str, content: bytes) -> Path:
        """Store a file, such as a figure, as ``FOLDER/STEM.suffix``, or ``STEM-2`` ... where the name is taken.

        Raises:
            StoreWriteError: the disk refuses.
        """
        return results.add_file(self.fs, self.path, folder, stem, suffix, content)

    def newest_file(self, folder: str, stem: str, suffix: str) -> bytes | None:
        """Return the content of the newest file that :meth:`add_file` stored under a name, or None.

        Raises:
            StoreCorrupt: the file is truncated or altered; the error names it.
        """
        return results.newest_file(self.path, folder, stem, suffix)

    def _document(self, name: str, info: RunInfo | None = None, *, at: Path | None = None) -> dict[str, Any]:
        info = info or self.info()
        if not info.started:
            what = f"The run {self.label} was killed while it was claimed: it has no {name}."
            raise RunStateError(what, where=str(self.path), hint="start it again: dreg train --help")
        path = (at or self.path) / name
        content = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        # If the run was prolonged after its state was read, only the newer state has the digest of the new spec.
        digest = documents.sha256(content)
        if digest not in info.digests.get(name, ()) and digest not in self.info().digests.get(name, ()):
            raise documents.corrupt(path, "The file does not match the digest in run.json")
        return documents.decode(content, path)
