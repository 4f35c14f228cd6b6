"""``dreg runs export`` and ``import``: move one run in one file, and report which source code the file contains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dregcli.app.common.listener import Listener
from dregcli.app.loading.named import find_completed_run
from dregcli.errors import DregError
from dregcli.redaction import LINE_MARK, has_secret, is_secret_name
from dregcli.store.archive import Imported, import_run
from dregcli.store.archive_writer import export_run
from dregcli.store.run import Run
from dregcli.store.runs import RunStore
from dregcli.wording import counted, some_of


@dataclass(frozen=True)
class Captured:
    """The parts of the source tree in a run's environments, of its start and of all its resumes together.

    Attributes:
        files: names of files that git did not track.
        contents: names of the files in ``files`` whose content is included.
        suspicious: files in ``contents`` whose name or content looks like a password, a token or a key.
        diff: number of lines of the longest diff of tracked files.
        secret_diff: whether a diff has lines that look like a password, a token or a key.
        redacted: number of lines of the longest diff that were replaced for that reason.
        unread: files of the run that could not be read, with the reason.
        model: names of the files with the code of the user's own model, whose contents are included.
        suspicious_model: those that look as if they held a password, a token or a key.
    """

    files: tuple[str, ...]
    contents: tuple[str, ...]
    suspicious: tuple[str, ...]
    diff: int
    secret_diff: bool
    redacted: int
    unread: tuple[str, ...]
    model: tuple[str, ...] = ()
    suspicious_model: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run) -> "Captured":
        """Read the parts from a run's environments."""
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
        code = _code_of(run)
        longest, redacted = max(diffs, key=lambda diff: len(diff[0]), default=("", 0))
        return cls(
            tuple(files),
            tuple(contents),
            tuple(name for name, found in contents.items() if found),
            len(longest.splitlines()),
            any(has_secret(text.replace(LINE_MARK, "")) for text, _ in diffs),
            redacted,
            tuple(unread),
            tuple(code),
            tuple(name for name, text in code.items() if is_secret_name(name) or has_secret(text)),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the form of ``dreg runs export --json``."""
        return {
            "files": len(self.files),
            "contents": list(self.contents),
            "names_only": len(self.files) - len(self.contents),
            "model": list(self.model),
            "diff_lines": self.diff,
            "diff_lines_redacted": self.redacted,
        }

    def in_words(self) -> str:
        """Return one sentence about the included parts."""
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
        model = f"the code of its model ({some_of(self.model)}); " if self.model else ""
        return f"it contains {model}from the source tree: {'; '.join(parts) or 'no diff and no files'}"

    def warnings(self) -> list[str]:
        """Return warnings for the user before the run is shared."""
        found = [f"it is not known which source code the run contains: {each}" for each in self.unread]
        look = "look at environment.json before you share the run."
        if self.suspicious:
            found.append(f"the run contains {some_of(self.suspicious)}, which may hold passwords or keys: {look}")
        if self.suspicious_model:
            names = some_of([f"model/{name}" for name in self.suspicious_model])
            found.append(
                f"the code of the model, {names}, may hold passwords or keys: look at it before you share it."
            )
        if self.secret_diff:
            found.append(f"the run's diff has lines that may be passwords or keys: {look}")
        return found


def _code_of(run: Run) -> dict[str, str]:
    """Return the texts of the files that a run keeps of its model's code; none if they cannot be read."""
    try:
        kept = run.code()
    except DregError:  # verifying the run names the file
        return {}
    return {name: text.decode("utf-8", "replace") for name, text in kept.files.items()} if kept else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def export_to(reference: str, file: Path, *, force: bool, runs_dir: Path, listener: Listener) -> tuple[Run, Captured]:
    """Write a run into one new file; see :func:`dregcli.store.archive_writer.export_run`.

    Returns:
        The run, and the parts of its source tree that it contains.
    """
    store = RunStore(runs_dir)
    run = find_completed_run(store, reference, listener)
    for found in export_run(store.fs, run, file, force=force):
        report = listener.warn if found.kind == "fault" else listener.note
        report(f"{found.file}: {found.what}")
    captured = Captured.of(run)
    for warning in captured.warnings():
        listener.warn(warning)
    return run, captured


def import_from(file: Path, name: str | None, *, runs_dir: Path) -> Imported:
    """Bring a run from a file into a store; see :func:`dregcli.store.archive.import_run`."""
    return import_run(RunStore(runs_dir), file, name=name)
