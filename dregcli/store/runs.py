"""The store of runs: claim a new version of a name, find runs, and take over a run whose writer is dead."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dregcli.commands import command
from dregcli.errors import RunStateError, StoreWriteError
from dregcli.filesystem import (
    LOCAL,
    FileSystem,
    discard,
    make_folders,
    sweep,
    write_aside,
    write_errors,
)
from dregcli.names import RunStatus
from dregcli.store import documents, layout, log, references
from dregcli.store.claims import Claim
from dregcli.store.code import MANIFEST_NAME, CapturedCode
from dregcli.store.code import replace as replace_code
from dregcli.store.code import write as write_code
from dregcli.store.lease import (
    Lease,
    if_gone,
    lease_folder,
    newest_lease,
    newest_readable_lease,
    own_lease,
    take_lease,
)
from dregcli.store.records import SYSTEM_CLOCK, Clock, RunInfo, write_info
from dregcli.store.run import Run
from dregcli.store.writer import RunWriter

__all__ = ["Run", "RunInfo", "RunStore", "RunWriter"]

# The leases are not swept, because only there another process may be writing a temporary folder.
_SWEPT: Final = ("", layout.PARTS_FOLDER, layout.CHECKPOINTS_FOLDER)


class RunStore:
    """A folder of runs.

    Args:
        root: the folder; the first claim creates it.
        fs: the seam through which everything is written.
        clock: gives the dates.
    """

    def __init__(self, root: Path, fs: FileSystem = LOCAL, clock: Clock = SYSTEM_CLOCK) -> None:
        self.root = root
        self.fs = fs
        self.clock = clock

    @classmethod
    def of(cls, run: Run) -> "RunStore":
        """Return the store of a run."""
        return cls(run.root, run.fs, run.clock)

    def claim(
        self,
        name: str,
        *,
        spec: Mapping[str, Any],
        environment: Mapping[str, Any],
        code: CapturedCode | None = None,
        right: Claim | None = None,
    ) -> RunWriter:
        """Start a new version of a name, for this process alone, even if several processes do so at once.

        Args:
            name: letters, digits, '.', '_' and '-', starting with a letter or a digit.
            spec: the resolved spec, a JSON-able mapping.
            environment: the result of :func:`dregcli.store.capture.capture_environment`.
            code: source code of the model, if it is the user's own.
            right: the claim of a run that only one process may make; it names the new run.

        Returns:
            The writer of the new run.

        Raises:
            UsageError: the name is not valid.
            RunStateError: another process has taken the claim over; no run is made.
            StoreFormatError: the store has another format.
            StoreWriteError: the disk refuses.
        """
        layout.check_name(name)
        files = {layout.SPEC_FILE: documents.encode(spec), layout.ENVIRONMENT_FILE: documents.encode(environment)}
        layout.prepare_store(self.root, self.fs)
        run = self._run(self.claim_folder(name))
        now = self.clock.now()
        info = RunInfo(
            RunStatus.RUNNING,
            created=now,
            updated=now,
            lease=own_lease(1, now),
            digests={file: (documents.sha256(content),) for file, content in files.items()} | _digest_of(code),
        )
        try:
            with write_errors(run.path):
                self.fs.sync(run.path.parent)
            if code is not None:
                write_code(self.fs, run.path, code)
            # run.json comes last: a run without it was killed in between, and its status is crashed.
            for file, content in {**files, layout.RUN_FILE: write_info(info)}.items():
                write_aside(self.fs, run.path / file, content)
            if right is not None:
                right.name_run(run.key)
        except BaseException:  # also after Ctrl-C: a run without content, or without a right to be, must not stay
            with contextlib.suppress(StoreWriteError):
                discard(self.fs, run.path)
            raise
        return RunWriter(run, info)

    def unheld(self, run: Run) -> RunInfo:
        """Return the state of a run that no process is writing.

        Call it before reading what is to be continued, and give the state to :meth:`reopen`: then nothing that was
        read is older than what is taken over.

        Raises:
            RunStateError: the run is being written (the error names the process), or was killed before it had a spec.
            StoreCorrupt: ``run.json`` or a lease is altered.
        """
        return self._unheld(run)[0]

    def reopen(
        self,
        run: Run,
        *,
        since: RunInfo | None = None,
        spec: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        code: CapturedCode | None = None,
    ) -> RunWriter:
        """Take over an unfinished run whose writer is gone, for this process alone.

        Args:
            run: a crashed, failed or interrupted run; with ``spec`` also a completed one.
            since: state of the run from before this process read what it continues; None if it has read nothing.
            spec: the spec of a prolonged run, which replaces the stored one (kept in ``rolled-back/``).
            environment: the captured environment of this process, stored beside the first one.
            code: source code of the model; if it is not the stored code, it replaces this (kept in ``rolled-back/``).

        Returns:
            The writer; the run is running again. Roll the run back to the checkpoint from which it continues.

        Raises:
            RunStateError: the run is completed, is being written (the error names the process), was continued by
                another process since ``since``, or was killed before it had a spec.
            StoreCorrupt: ``run.json`` or a lease is altered.
            StoreFormatError: the store has another format.
            StoreWriteError: the disk refuses.
        """
        layout.check_store(self.root)
        info, previous = self._unheld(run)
        if info.status is RunStatus.COMPLETED and spec is None:
            raise _completed(run)
        if since is not None and info.lease != since.lease:  # a lease has the time of the last write
            raise continued_meanwhile(run)
        now = self.clock.now()
        lease = own_lease(previous + 1, now)
        try:
            take_lease(self.fs, run.path, lease)
        except FileExistsError as error:
            raise _held(run, newest_readable_lease(run.path)) from error
        info = replace(info, status=RunStatus.RUNNING, updated=now, lease=lease)
        try:
            if environment is not None:
                info = self._write_environment(run, info, lease.generation, environment)
            log.begin_anew_where_altered(self.fs, run.path, info)
            if code is not None:
                known = (*info.digests.get(MANIFEST_NAME, ()), *_digest_of(code)[MANIFEST_NAME])
                info = replace(info, digests={**info.digests, MANIFEST_NAME: tuple(dict.fromkeys(known))})
            info = self._write_reopened(run, info, spec)
            if code is not None:
                replace_code(self.fs, run.path, code)
            for folder in _SWEPT:
                sweep(self.fs, run.path / folder)
        except BaseException:  # also for a damaged spec: this process may try again when it is mended
            with contextlib.suppress(StoreWriteError):
                discard(self.fs, lease_folder(run.path, lease))
            raise
        return RunWriter(self._run(run.path), info)

    def resolve(self, reference: str, *, only_here: bool = False) -> list[Run]:
        """Return the runs that a user's reference stands for: all versions of a name, ascending, or one run.

        Args:
            reference: ``xyz`` and ``xyz/v001`` are names in this store; a path such as ``./runs/xyz/v001/`` or
                ``/elsewhere/xyz`` leads to its own store, and the runs belong to that store.
            only_here: treat the reference only as a name of this store, as the program itself stores references.

        Raises:
            RunNotFound: there is no such run; the message gives the nearest name and the command that lists runs.
            StoreFormatError: a folder is not a run, or the store has another format.
            StoreCorrupt: ``store.json`` is altered.
        """
        found = references.match(self.root, reference, only_here=only_here)
        folder, elsewhere = found.root / found.name, found.root != self.root
        return [
            Run(folder / layout.version_name(version), self.fs, self.clock, elsewhere) for version in found.versions
        ]

    def resolve_all(self, wanted: Sequence[str]) -> list[Run]:
        """Return the runs of several references, each run once, in order; without references all runs of this store.

        Raises:
            RunNotFound, StoreFormatError, StoreCorrupt: as in :meth:`resolve` and :meth:`runs`.
        """
        if not wanted:
            return self.runs()
        kept: dict[Path, Run] = {}
        for reference in wanted:
            for run in self.resolve(reference):
                # A store may be given in two ways, as an absolute path and as a relative one.
                kept.setdefault(run.path.resolve(), run)
        return list(kept.values())

    def runs(self) -> list[Run]:
        """Return all runs, sorted by name and version.

        Raises:
            StoreFormatError: the store has another format.
        """
        layout.check_store(self.root)
        found = references.names(self.root)
        return [
            self._run(self.root / name / layout.version_name(version))
            for name, versions in found.items()
            for version in versions
        ]

    def _unheld(self, run: Run) -> tuple[RunInfo, int]:
        """Return the state of a run that no process is writing, and the newest generation of its writers."""
        taken, info = newest_lease(run.path), run.info()
        if info.lease is None:
            what = f"The run {run.label} was killed while it was claimed: there is nothing to resume."
            raise RunStateError(what, where=str(run.path), hint="start it again: dreg train --help")
        if holder := info.holder(taken, self.clock.now()):
            raise _held(run, holder)
        return info, max(lease.generation for lease in (taken, info.lease) if lease)

    def _run(self, path: Path) -> Run:
        return Run(path, self.fs, self.clock)

    def claim_folder(self, name: str) -> Path:
        """Create the empty folder of a new version of a name, for this process alone.

        Raises:
            StoreWriteError: the disk refuses.
        """
        home = self.root / name
        make_folders(self.fs, home)
        version = layout.next_version(home)
        while True:
            path = home / layout.version_name(version)
            with write_errors(path):
                try:
                    self.fs.mkdir(path)
                except FileExistsError:
                    version += 1
                    continue
            return path

    def _write_environment(self, run: Run, info: RunInfo, generation: int, environment: Mapping[str, Any]) -> RunInfo:
        """Write the captured environment; its digest goes into ``run.json``, which is written next."""
        content, name = documents.encode(environment), layout.environment_file(generation)
        write_aside(self.fs, run.path / name, content)
        return replace(info, digests={**info.digests, name: (documents.sha256(content),)})

    def _write_reopened(self, run: Run, info: RunInfo, spec: Mapping[str, Any] | None) -> RunInfo:
        path = run.path / layout.SPEC_FILE
        content = documents.encode(run.spec() if spec is None else spec)
        digest = documents.sha256(content)
        present = documents.read_bytes(path, limit=documents.SIZE_LIMIT)
        # Earlier specs stay valid in ``digests``, so only the file itself says which of them the run has.
        if digest == documents.sha256(present):
            write_aside(self.fs, run.path / layout.RUN_FILE, write_info(info))
            return info
        aside = layout.put_aside(self.fs, run.path, "spec")
        write_aside(self.fs, aside / path.name, present)
        # From here on both digests are valid, so a kill between the two writes leaves a valid spec.
        known = dict.fromkeys((*info.digests.get(layout.SPEC_FILE, ()), digest))
        info = replace(info, digests={**info.digests, layout.SPEC_FILE: tuple(known)})
        write_aside(self.fs, run.path / layout.RUN_FILE, write_info(info))
        write_aside(self.fs, path, content)
        return info


def _digest_of(code: CapturedCode | None) -> dict[str, tuple[str, ...]]:
    """Return the digest of the manifest of a model's code, as ``run.json`` holds it; empty without code."""
    return {} if code is None else {MANIFEST_NAME: (documents.sha256(code.manifest()),)}


def _completed(run: Run) -> RunStateError:
    return RunStateError(
        f"The run {run.label} is completed.",
        where=str(run.path),
        hint=f"prolong it, with more steps than now: {command('train', '--resume', run.path, '--steps', 'N')}",
    )


def continued_meanwhile(run: Run) -> RunStateError:
    """Return the error for a run that is not any more as this process has read it."""
    what = f"Another process continued the run {run.label} in the meantime. This process has changed nothing."
    return RunStateError(what, where=str(run.path), hint="repeat the command, which continues from the newest state")


def _held(run: Run, holder: Lease | None) -> RunStateError:
    return RunStateError(
        f"The run {run.label} is being written by {holder.holder if holder else 'another process'}.",
        where=str(run.path),
        hint=f"wait for that process, or stop it; then resume again{if_gone(holder)}",
    )
