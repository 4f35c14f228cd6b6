"""Tags and notes of a run: small immutable files, so that anyone can add one at any time, also to a running run.

``labels/label.json``, ``label-2.json`` ...: each file adds or removes tags or holds one note, and is sealed. No file
is ever rewritten: two processes that write at the same time both succeed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.filesystem import FileSystem, write_new
from dregcli.store import documents, layout
from dregcli.store.lease import parse_time

TAG_LENGTH: Final = 60
NOTE_LENGTH: Final = 10_000

_KIND: Final = "label"
_STEM, _SUFFIX = "label", ".json"
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*", re.ASCII)
_NUMBERED: Final = re.compile(r"label(?:-([0-9]{1,9}))?\.json", re.ASCII)


@dataclass(frozen=True)
class Note:
    """A note about a run, and its time, UTC."""

    time: datetime
    text: str


@dataclass(frozen=True)
class Labels:
    """The current tags, in the order they were added, and all notes, oldest first."""

    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def read(folder: Path) -> Labels:
    """Read the labels of a run.

    Raises:
        StoreCorrupt: a file is altered; the error names it.
        StoreFormatError: a file has a newer version.
    """
    home = folder / layout.LABELS_FOLDER
    found = [(int(match[1] or 1), name) for name in layout.entries(home) if (match := _NUMBERED.fullmatch(name))]
    tags: dict[str, None] = {}
    notes: list[Note] = []
    for _, name in sorted(found):
        document = documents.unseal(home / name)
        layout.check_encoding(document, _KIND, home / name)
        try:
            for tag in _tags(document["tags_removed"]):
                tags.pop(tag, None)
            tags.update(dict.fromkeys(_tags(document["tags_added"])))
            if document["note"] is not None:
                notes.append(Note(parse_time(document["time"]), str(document["note"])))
        except (KeyError, TypeError, ValueError) as error:
            raise documents.corrupt(home / name, f"The file does not hold a label: {error!r}") from error
    return Labels(tuple(tags), tuple(notes))


def _tags(found: object) -> list[str]:
    """Return the tags in a file; raise ValueError where they are not valid tags."""
    if not isinstance(found, list) or not all(isinstance(tag, str) and _is_tag(tag) for tag in cast("Any", found)):
        what = f"not tags: {found!r:.100}"
        raise ValueError(what)
    return cast("list[str]", found)


def _is_tag(word: str) -> bool:
    return bool(_TAG.fullmatch(word)) and len(word) <= TAG_LENGTH


def check_tags(tags: Sequence[str]) -> None:
    """Refuse words that cannot be tags.

    Raises:
        UsageError: some words cannot be tags; the error lists all of them.
    """
    wrong = [tag for tag in tags if not _is_tag(tag)]
    if wrong:
        what = f"These cannot be tags: {', '.join(map(repr, wrong))}."
        example = command("runs", "tag", "RUN", "--add", "paper")
        hint = f"use letters, digits, '.', '_', ':' and '-', at most {TAG_LENGTH}, e.g.: {example}"
        raise UsageError(what, where="tag", hint=hint)


def check_note(text: str) -> None:
    """Refuse a text that cannot be a note.

    Raises:
        UsageError: the text is too long or empty.
    """
    if not text.strip():
        what = "A note must have some text."
        raise UsageError(what, where="note", hint="give some text: " + command("runs", "note", "RUN", "what it is"))
    if len(text) > NOTE_LENGTH:
        what = f"A note must have at most {NOTE_LENGTH:,} characters, but this one has {len(text):,}."
        raise UsageError(what, where="note", hint="put the text into a file of your own and note its path")


def write(
    fs: FileSystem,
    folder: Path,
    now: datetime,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
) -> None:
    """Add a label to a run.

    Raises:
        UsageError: a word cannot be a tag, or the note is too long or empty.
        StoreWriteError: the disk refuses.
    """
    check_tags([*add, *remove])
    if note is not None:
        check_note(note)
    document: dict[str, Any] = {
        "encoding-type": _KIND,
        "encoding-version": "1",
        "time": now.isoformat(),
        "tags_added": list(add),
        "tags_removed": list(remove),
        "note": note,
    }
    home = folder / layout.LABELS_FOLDER
    layout.make_home(fs, home)
    write_new(fs, home, _STEM, _SUFFIX, documents.seal(document))
