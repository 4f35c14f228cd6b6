"""What a run holds of the source tree it was made from, in words: it goes wherever the run goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from dregcli.errors import DregError
from dregcli.redaction import LINE_MARK, has_secret, is_secret_name
from dregcli.store.run import Run
from dregcli.wording import counted, some_of


@dataclass(frozen=True)
class Captured:
    """What the environments of a run hold, that of its start and those of its resumes taken together.

    Attributes:
        files: names of files that git did not track.
        contents: those of them whose content is held.
        suspicious: those of these whose name or content looks like a password, a token or a key.
        unsifted: those of these that a version of dreg has kept which looked for no such thing.
        diff: lines of the changes to tracked files, of the longest one.
        secret_diff: whether there are lines in it that look like that.
        redacted: lines that were taken out of it for that.
        unread: what of it could not be read, and why.
    """

    files: tuple[str, ...]
    contents: tuple[str, ...]
    suspicious: tuple[str, ...]
    unsifted: tuple[str, ...]
    diff: int
    secret_diff: bool
    redacted: int
    unread: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As ``dreg runs export --json`` gives it."""
        return {
            "files": len(self.files),
            "contents": list(self.contents),
            "names_only": len(self.files) - len(self.contents),
            "diff_lines": self.diff,
            "diff_lines_redacted": self.redacted,
        }

    def in_words(self) -> str:
        """One sentence."""
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
        """What to think of before the run is handed on."""
        found = [f"what it holds of the source is not known: {each}" for each in self.unread]
        look = "look at environment.json before you hand it on."
        if self.suspicious:
            found.append(
                f"it holds the contents of {some_of(self.suspicious)}, which may be passwords or keys: {look}"
            )
        if others := [name for name in self.unsifted if name not in self.suspicious]:
            found.append(
                f"the version of dreg that made it kept whole files, whatever they held: {some_of(others)}; {look}"
            )
        if self.secret_diff:
            found.append(f"its diff has lines that may be passwords or keys: {look}")
        return found


def captured(run: Run) -> Captured:
    """What a run holds of the source tree."""
    files: dict[str, None] = {}
    contents: dict[str, bool] = {}
    unsifted: dict[str, None] = {}
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
        unsifted |= {} if "capture" in each else dict.fromkeys(texts)
        diffs.append((str(git.get("diff") or ""), int(git.get("diff_redacted") or 0)))
    longest, redacted = max(diffs, key=lambda diff: len(diff[0]), default=("", 0))
    return Captured(
        tuple(files),
        tuple(contents),
        tuple(name for name, found in contents.items() if found),
        tuple(unsifted),
        len(longest.splitlines()),
        any(has_secret(text.replace(LINE_MARK, "")) for text, _ in diffs),
        redacted,
        tuple(unread),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
