"""Removes passwords, tokens and keys, by their look, from texts, command lines, JSON values and diffs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from dregcli.redaction.shapes import (
    BARE,
    BASE64_LINE,
    DANGLING,
    LONGEST_LINE,
    OPTION,
    PEM,
    PEM_END,
    is_secret_name,
    spans,
)

MARK: Final = "[redacted]"
"""Replaces a secret inside a line or an argument."""

LINE_MARK: Final = "[redacted by dreg: this line looks as if it held a password, a token or a key]"
"""Replaces a line of a file."""

FILE_MARK: Final = "[redacted by dreg: by its name, this file looks like a file of passwords or keys]"
"""Replaces the whole content of a file in a diff."""


def has_secret(text: str) -> bool:
    """Whether a text holds anything that looks like a password, a token or a key."""
    return any(found for _, found in _inspected(text.splitlines()))


def redacted(text: str) -> str:
    """Return a text without its secrets; in a line with other text, only the secret itself is removed."""
    if "\n" in text:
        lines = text.split("\n")
        return "\n".join(_inline(line) if not found or spans(line) else MARK for line, found in _inspected(lines))
    return _inline(text)


def redacted_words(words: Iterable[str]) -> list[str]:
    """Return a command line without its secrets, and without the value after an option such as ``--password``."""
    found: list[str] = []
    for word in words:
        hidden = bool(found and OPTION.match(found[-1]) and not word.startswith("--"))
        found.append(MARK if hidden else redacted(word))
    return found


def redacted_values(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value with all its texts redacted; a list of texts is treated like a command line."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return {key: MARK if _is_named_secret(key, each) else redacted_values(each) for key, each in named.items()}
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        if all(isinstance(each, str) for each in items):
            return redacted_words(cast("Sequence[str]", items))
        return [redacted_values(each) for each in items]
    return value


def _is_named_secret(name: str, value: object) -> bool:
    """Whether the name alone shows that a value is a secret."""
    return isinstance(value, str) and "\n" not in value and not spans(value) and bool(spans(f"{name}={value}"))


def redacted_diff(diff: str) -> tuple[str, int]:
    """Replace every line of a git diff that holds a secret by a mark: added, removed and surrounding lines.

    If the name of a file looks like a file of keys, only the name is left.

    Returns:
        The redacted diff, and the number of removed lines.
    """
    lines: list[str] = []
    taken, hidden, in_hunk = 0, False, False
    for line, found in _inspected(diff.split("\n"), of_diff=True):
        if line.startswith("diff --git "):
            hidden, in_hunk = _names_secret(line), False
        elif line.startswith("@@ "):
            if hidden and in_hunk:
                taken += 1
                continue
            in_hunk = True
            place = line.find(" @@", 2) + 3
            # The text that git puts after the line numbers is a line of the file.
            line = f"{line[:place]} {LINE_MARK}" if found or (hidden and line[place:]) else line
            taken += found or (hidden and bool(line[place:]))
            if hidden:
                lines += [line, f" {FILE_MARK}"]
                continue
        elif in_hunk and hidden and line:
            taken += 1
            continue
        elif found:
            taken += 1
            line = f"{line[:1] if in_hunk else ''}{LINE_MARK}"
        lines.append(line)
    return "\n".join(lines), taken


def _names_secret(header: str) -> bool:
    """Whether ``diff --git a/x b/x`` names a file of keys; a quoted name has non-ASCII letters in octal."""
    words = header.removeprefix("diff --git ").replace('"', "")
    middle = words.find(" b/")
    names = (words[2:middle], words[middle + 3 :]) if middle > 0 else (words,)
    return any(is_secret_name(name) for name in names)


def _inspected(lines: Sequence[str], *, of_diff: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether to remove it: as a secret, as part of a key, or as a value of the line before."""
    in_key, awaited = False, False
    for line in lines:
        if of_diff and line.startswith(("diff --git ", "@@ ")):
            in_key = awaited = False
        value = awaited and bool(BARE.match(line))
        awaited = len(line) <= LONGEST_LINE and bool(DANGLING.search(line))
        begins = bool(PEM.search(line))
        ends = bool(PEM_END.search(line))
        found = in_key or begins or ends or value or bool(BASE64_LINE.match(line)) or bool(spans(line))
        in_key = (in_key or begins) and not ends
        yield line, found


def _inline(line: str) -> str:
    if PEM.search(line):
        return MARK
    text, place = "", 0
    for start, end in spans(line):
        text += line[place:start] + MARK
        place = end
    return text + line[place:]
