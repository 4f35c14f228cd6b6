"""Tags and notes of a run: small immutable files, so that anyone may add one at any time, to a live run too.

``labels/label.json``, ``label-2.json`` ...: each adds or removes tags or holds one note, and is sealed. Nothing is
ever rewritten: two who write at once both succeed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from dregcli.commands import command
from dregcli.errors import UsageError
from dregcli.filesystem import FileSystem, make_folders, write_new
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
    """What somebody wrote about a run, and when, UTC."""

    time: datetime
    text: str


@dataclass(frozen=True)
class Labels:
    """The tags that hold, in the order they were added, and all notes, oldest first."""

    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def read(folder: Path) -> Labels:
    """The labels of a run.

    Raises:
        StoreCorrupt: a file is altered, naming it.
        StoreFormatError: of a newer version.
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
    """Tags as a file holds them; raises ValueError where they are none, as this program never writes them."""
    if not isinstance(found, list) or not all(isinstance(tag, str) and _is_tag(tag) for tag in cast("Any", found)):
        what = f"not tags: {found!r:.100}"
        raise ValueError(what)
    return cast("list[str]", found)


def _is_tag(word: str) -> bool:
    return bool(_TAG.fullmatch(word)) and len(word) <= TAG_LENGTH


def check_tags(tags: Sequence[str]) -> None:
    """Refuses what cannot be a tag.

    Raises:
        UsageError: naming all that are none.
    """
    wrong = [tag for tag in tags if not _is_tag(tag)]
    if wrong:
        what = f"These cannot be tags: {', '.join(map(repr, wrong))}."
        example = command("runs", "tag", "RUN", "--add", "paper")
        hint = f"use letters, digits, '.', '_', ':' and '-', at most {TAG_LENGTH}, e.g.: {example}"
        raise UsageError(what, where="tag", hint=hint)


def check_note(text: str) -> None:
    """Refuses what cannot be a note.

    Raises:
        UsageError: too long, or nothing but spaces.
    """
    if not text.strip():
        what = "A note has some text."
        raise UsageError(what, where="note", hint="type it: " + command("runs", "note", "RUN", "what it is"))
    if len(text) > NOTE_LENGTH:
        what = f"A note has at most {NOTE_LENGTH:,} characters, this one {len(text):,}."
        raise UsageError(what, where="note", hint="put it in a file of your own and note its path")


def write(
    fs: FileSystem,
    folder: Path,
    now: datetime,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    note: str | None = None,
) -> None:
    """Adds a label to a run.

    Raises:
        UsageError: what cannot be a tag, or too long a note, or an empty one.
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
    make_folders(fs, home)
    write_new(fs, home, _STEM, _SUFFIX, documents.seal(document))
