"""``dreg runs export`` and ``import``: one run in one file, and what it carries of the source it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dregcli.app.common.listener import Listener
from dregcli.app.loading.stored import find_completed_run
from dregcli.errors import DregError
from dregcli.redaction import LINE_MARK, has_secret, is_secret_name
from dregcli.store.archive import Imported, import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import counted, some_of


@dataclass(frozen=True)
class Captured:
    """What the environments of a run hold of the source tree: that of its start and those of its resumes together.

    Attributes:
        files: names of files that git did not track.
        contents: the names of those files whose content is held.
        suspicious: the files in ``contents`` whose name or content looks like a password, a token or a key.
        diff: lines of the changes to tracked files, of the longest one.
        secret_diff: whether the changes have lines that look like a password, a token or a key.
        redacted: lines of the longest change that were replaced for that reason.
        unread: files of the run that could not be read, and why.
    """

    files: tuple[str, ...]
    contents: tuple[str, ...]
    suspicious: tuple[str, ...]
    diff: int
    secret_diff: bool
    redacted: int
    unread: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> "Captured":
        """Read it from a run's environments."""
        files: dict[str, None] = {}
        contents: dict[str, bool] = {}
        diffs: list[tuple[str, int]] = []
        unread: list[str] = []
        try:
            environments = [run.environment(), *run.resumed_environments().values()]
        except DregError as error:
            environments, unread = [], [f"{error.where}: {error.what}"]
        for each in environments:
            git = _mapping(each.get("git"))
            texts = _mapping(git.get("untracked_text"))
            files |= dict.fromkeys([*map(str, git.get("untracked") or ()), *texts])
            for name, text in texts.items():
                contents[name] = contents.get(name, False) or is_secret_name(name) or has_secret(str(text))
            diffs.append((str(git.get("diff") or ""), int(git.get("diff_redacted") or 0)))
        longest, redacted = max(diffs, key=lambda diff: len(diff[0]), default=("", 0))
        return cls(
            tuple(files),
            tuple(contents),
            tuple(name for name, found in contents.items() if found),
            len(longest.splitlines()),
            any(has_secret(text.replace(LINE_MARK, "")) for text, _ in diffs),
            redacted,
            tuple(unread),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as ``dreg runs export --json`` prints it."""
        return {
            "files": len(self.files),
            "contents": list(self.contents),
            "names_only": len(self.files) - len(self.contents),
            "diff_lines": self.diff,
            "diff_lines_redacted": self.redacted,
        }

    def in_words(self) -> str:
        """Say it in one sentence."""
        parts: list[str] = []
        if self.diff:
            without = f", {self.redacted} of them redacted" if self.redacted else ""
            parts.append(f"a diff of {counted(self.diff, 'line')}{without}")
        if names := len(self.files) - len(self.contents):
            parts.append(f"the names of {counted(names, 'untracked file')} without contents")
        if self.contents:
            parts.append(
                f"the contents of {counted(len(self.contents), 'untracked file')} ({some_of(self.contents)})"
            )
        return f"it carries of the source tree: {'; '.join(parts) or 'no diff and no files'}"

    def warnings(self) -> list[str]:
        """Say what to think of before the run is handed on."""
        found = [f"what it holds of the source is not known: {each}" for each in self.unread]
        look = "look at environment.json before you hand it on."
        if self.suspicious:
            found.append(
                f"it holds the contents of {some_of(self.suspicious)}, which may be passwords or keys: {look}"
            )
        if self.secret_diff:
            found.append(f"its diff has lines that may be passwords or keys: {look}")
        return found


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def export_to(reference: str, file: Path, *, force: bool, runs_dir: Path, listener: Listener) -> tuple[Run, Captured]:
    """Write a run into one new file; see :func:`dregcli.store.archive_writer.export_run`.

    Returns:
        The run, and what it holds of the source tree it was made from.
    """
    store = RunStore(runs_dir)
    run = find_completed_run(store, reference, listener)
    for found in export_run(store.fs, run, file, force=force):
        tell = listener.warn if found.kind == "fault" else listener.note
        tell(f"{found.file}: {found.what}")
    holds = Captured.of(run)
    for warning in holds.warnings():
        listener.warn(warning)
    return run, holds


def import_from(file: Path, name: str | None, *, runs_dir: Path) -> Imported:
    """Bring a run from a file into a store; see :func:`dregcli.store.archive.import_run`."""
    return import_run(RunStore(runs_dir), file, name=name)
