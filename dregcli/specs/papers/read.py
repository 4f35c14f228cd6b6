"""Read the file of a published experiment, and find all its faults at once, each with its line."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from dregcli.commands import command
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.specs.papers.document import KINDS, Paper
from dregcli.specs.papers.lines import Lines, Place
from dregcli.specs.papers.named import paper_names, paper_path
from dregcli.specs.resolve import message_of

MOST_BYTES: Final = 1 << 20
_WORKS: Final = command("paper", "show", "burda2015-1layer", "--toml")
HINT: Final = f"a file that works, to compare with or to begin with: {_WORKS}"


@dataclass(frozen=True)
class PaperFile:
    """A file that holds an experiment.

    Attributes:
        name: name of the experiment, the file's without its ending.
        path: the file.
        text: its content.
        paper: the experiment.
    """

    name: str
    path: Path
    text: str
    paper: Paper

    @property
    def is_own(self) -> bool:
        """Whether it is a user's own file."""
        return self.name not in paper_names() or self.path != paper_path(self.name)

    def error(self, faults: Sequence[tuple[Place, str]]) -> SpecError:
        """Return the error for faults, given by their places in the file."""
        return _error(self.path, self.text, faults)


def read_paper(path: Path) -> PaperFile:
    """Read the file of an experiment.

    Raises:
        UsageError: the file cannot be read, or is no TOML.
        SpecError: all faults of the file, each with its line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            what = f"The file of an experiment is larger than {MOST_BYTES} bytes."
            raise UsageError(what, where=str(path), hint=HINT)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"The file of an experiment cannot be read: {error}."
        raise UsageError(
            what, where=str(path), hint=f"all experiments by name: {command('paper', 'list')}"
        ) from error
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number that is too long, or lists within lists
        what = f"The file of an experiment is not valid TOML: {error}."
        raise UsageError(what, where=str(path), hint=HINT) from error
    try:
        return PaperFile(path.stem, path, text, Paper.model_validate(content))
    except ValidationError as error:
        faults = [(_place(each["loc"]), _message(each)) for each in error.errors()]
        raise _error(path, text, faults) from None


def _error(path: Path, text: str, faults: Sequence[tuple[Place, str]]) -> SpecError:
    lines = Lines(text)
    numbered = sorted(((lines.of(place), place, message) for place, message in faults), key=lambda each: each[0])
    found = [Fault(f"line {line}: {_words(place)}", message) for line, place, message in numbered]
    return SpecError(list(dict.fromkeys(found)), where=str(path), hint=HINT)


def _message(error: Mapping[str, Any]) -> str:
    """Return pydantic's message in plain words."""
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return "there is no such entry here."
        case "too_short":
            return f"must have at least {context['min_length']}, got {context['actual_length']}."
        case "string_too_short":
            return "must not be empty."
        case "string_pattern_mismatch":
            return f"must be a number such as 1810.04152, got {error['input']!r}."
        case "union_tag_invalid" | "union_tag_not_found":
            given = "" if error["type"].endswith("not_found") else f", got {context['tag']!r}"
            return f"kind must be one of {', '.join(KINDS)}{given}."
        case _:
            return message_of(error)


def _place(loc: tuple[str | int, ...]) -> Place:
    """Return the path in the file; pydantic also has the kind of the experiment in it, and forms of a value."""
    kept = [part for i, part in enumerate(loc) if not (i == 1 and loc[0] == "experiment" and part in KINDS)]
    return tuple(kept[: kept.index("at") + 2] if "at" in kept else kept)


def _words(place: Place) -> str:
    """Return a path as in ``published[2].read``, with the first entry of a list as number 1."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "the file"
