"""BibTeX, read strictly: entries of ``name = {value}`` with balanced braces, and comments that begin with %."""

import re
from dataclasses import dataclass


class NotBibtex(ValueError):
    """What is no BibTeX, and where."""


@dataclass(frozen=True)
class Parsed:
    kind: str
    fields: dict[str, str]
    comment: str


def parse(text: str) -> dict[str, Parsed]:
    """Entries by key.

    Raises:
        NotBibtex: anything that this reading does not expect.
    """
    if not text.endswith("\n"):
        raise NotBibtex("the last line does not end")
    found: dict[str, Parsed] = {}
    for block in text.removesuffix("\n").split("\n\n"):
        lines = block.split("\n")
        comments = [line.removeprefix("% ") for line in lines if line.startswith("% ")]
        rest = [line for line in lines if not line.startswith("% ")]
        head = re.fullmatch(r"@([a-z]+)\{([a-z0-9]+),", rest[0])
        if head is None or rest[-1] != "}" or len(comments) != 1:
            raise NotBibtex(block)
        if "@" in comments[0]:
            raise NotBibtex("a comment with an @ begins an entry")
        fields: dict[str, str] = {}
        for line in rest[1:-1]:
            field = re.fullmatch(r"  ([a-z]+) *= \{(.*)\},", line)
            if field is None or field[1] in fields:
                raise NotBibtex(line)
            _check_value(field[2])
            fields[field[1]] = field[2]
        if head[2] in found:
            raise NotBibtex(f"{head[2]} twice")
        found[head[2]] = Parsed(head[1], fields, comments[0])
    return found


def _check_value(value: str) -> None:
    depth = 0
    for char in value:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            raise NotBibtex(f"unbalanced: {value}")
    if depth or not value or not value.isascii() or re.search(r"(?<!\\)[%#&$_]", value):
        raise NotBibtex(f"no value: {value}")
