"""The fenced blocks of a page, with what the marks above them say of how a test treats them.

A mark is a comment on the line above a block:

- ``<!-- not run: needs wandb, which the tests do not install -->``: the block is shown, and nothing runs it.
- ``<!-- file: study.toml -->``: the block's text is written to that file, which later blocks use.
- ``<!-- output -->``: the block is what the block before it prints, except for the numbers.

Anywhere on a page ``<!-- before: dreg train ... -->`` has commands that run before its first block.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

SHELL = ("sh", "console", "bash")
PYTHON = "python"
PLAIN = ("text", "toml", "json", "bibtex", "ini")
"""Languages of blocks that hold nothing to run."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|file|output)(?:: (?P<value>[^\n]*?))? -->\n)?"
    r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_BEFORE = re.compile(r"^<!-- before: (.*?) -->$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    mark: str
    value: str

    @property
    def is_run(self) -> bool:
        return self.mark != "not run"


def blocks(page: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(page):
        line = page.count("\n", 0, found.start("language")) + 1
        yield Block(found["language"], found["text"], line, found["mark"] or "", (found["value"] or "").strip())


def before(page: str) -> list[str]:
    return [line for found in _BEFORE.finditer(page) for line in found[1].splitlines()]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(text: str) -> list[str]:
    """The lines of a shell block, continued ones joined, without comments."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = (line.removeprefix("$ ").strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
