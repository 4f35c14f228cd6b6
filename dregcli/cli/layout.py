"""Lay out tables of text in a given width: no column is lost, no cell is cut, and no table is repeated.

A table that is too wide is made narrower step by step. Headings and long texts are wrapped inside their columns. Then
the last columns move to a second table below, beside the names of the rows. If they are too wide for that as well,
they follow as one line of text for each row. So the first columns of a table must be the columns that matter most.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, chop_cells

Cells = Sequence[Sequence[str]]
Styles = Mapping[int, str]
"""Styles of a row's cells by column."""
Line = list[tuple[str, str]]
"""Texts with their styles; an empty style means none."""

GAP: Final = 2
"""Spaces between columns."""

_LEAST: Final = 4
"""Smallest width of a column in characters, where nothing else fits."""

_LONGEST_PART: Final = 24
"""Longest part of a text without a place to break, such as a sparkline. A longer one, as in a checksum, is broken."""


_NAME_SHARE: Final = 0.4
"""Share of the available width up to which names of rows are not wrapped, where columns have to move."""

_TEXT, _TIGHT_TEXT, _TIGHT_NAME = 16, 12, 16
"""Widths down to which texts are wrapped: where columns have to move, and where this makes all of them fit."""

_NUMBER: Final = re.compile(r"[<>~]?[-+\[(]{0,2}\d[\d.,x/]*(e[-+]\d+)?([\s)%\](]|$)|[-+]?(inf|nan)$|-/")
"""The beginning of a cell that holds a number: ``-20.34 ± 0.48``, ``[-0.1, +0.1]``, ``400/400``, ``5 min ago``."""

_LONGEST_NUMBER: Final = 30
"""Longest cell of numbers in characters, such as ``1234.50 ± 10.25 s (3 of 5)``."""

_BREAKS: Final = re.compile(r"(?<=[/:;=_])|(?<=,)(?!\d)|(?<=\w\w-)")
"""Places inside a word where a line may end: after punctuation, but not inside a number such as 1,000."""


@dataclass(frozen=True)
class Block:
    """Columns of a table that stand beside each other.

    Attributes:
        columns: indices of the columns, in the order of the table.
        widths: width of each of these columns in characters.
    """

    columns: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Width of the block in characters."""
        return _total(self.widths)


@dataclass(frozen=True)
class Layout:
    """A table divided into parts.

    Attributes:
        blocks: one block or two; each begins with the columns that name the rows.
        listed: indices of the columns that follow as lines of text.
        names: number of columns, from the first one, that name the rows.
    """

    blocks: tuple[Block, ...]
    listed: tuple[int, ...]
    names: int


def lay_out(head: Sequence[str], rows: Cells, available: int | None, *, names: int = 1) -> Layout:
    """Choose the columns and widths of each part of a table.

    Args:
        head: headings of the columns.
        rows: the cells of each row.
        available: width in characters; None if there is no limit.
        names: number of columns, from the first one, that name the rows; they are repeated in each part.
    """
    everything = tuple(range(len(head)))
    columns = [[row[i] for row in rows] for i in everything]
    natural = [max(map(_width, (name, *cells))) for name, cells in zip(head, columns, strict=True)]
    if available is None or _total(natural) <= available:
        return Layout((Block(everything, tuple(natural)),), (), names)
    texts = [is_text(columns[i]) or i < names for i in everything]

    def least_widths(name: int, text: int) -> list[int]:
        readable = [(name if i < names else text) if texts[i] else 0 for i in everything]
        return list(map(_least, head, columns, natural, readable))

    least = least_widths(max(_LONGEST_PART, int(_NAME_SHARE * available)), _TEXT)
    tight = least_widths(_TIGHT_NAME, _TIGHT_TEXT)

    def block(chosen: tuple[int, ...], widths: Sequence[int] = least) -> Block:
        return Block(chosen, _widened(chosen, widths, natural, texts, available))

    def in_one(chosen: tuple[int, ...]) -> Block | None:
        """Return the columns in one block, as little wrapped as possible; None if they do not fit."""
        fitting = (each for each in (least, tight) if _total([each[i] for i in chosen]) <= available)
        return block(chosen, found) if (found := next(fitting, None)) else None

    if whole := in_one(everything):
        return Layout((whole,), (), names)
    count = min(names + 1, len(head))
    while count < len(head) and _total(least[: count + 1]) <= available:
        count += 1
    rest = everything[count:]
    if rest and (second := in_one((*everything[:names], *rest))):
        return Layout((block(everything[:count]), second), (), names)
    return Layout((block(everything[:count]),), rest, names)


def is_text(cells: Sequence[str]) -> bool:
    """Whether a column holds text, which is aligned at the left and may be wrapped, and not numbers.

    No cell of a text begins like a number, or some cell is longer than any number.
    """
    known = [cell for cell in cells if cell not in ("", "-")]
    return any(cell_len(cell) > _LONGEST_NUMBER for cell in known) or (
        bool(known) and not any(_NUMBER.match(cell) for cell in known)
    )


def lines_of(block: Block, head: Sequence[str], rows: Cells, styles: Sequence[Styles] | None = None) -> list[Line]:
    """Return the lines of a block, the headings first, without spaces at their ends."""
    texts = [i == 0 or is_text([row[i] for row in rows]) for i in block.columns]
    lines = _lines(block, texts, head, dict.fromkeys(block.columns, "bold"))
    for number, row in enumerate(rows):
        lines += _lines(block, texts, row, styles[number] if styles else {})
    return lines


def listed_lines(layout: Layout, head: Sequence[str], rows: Cells, available: int) -> list[str]:
    """Return the columns that follow as text: for each row its name, and each heading with its value."""
    found: list[str] = []
    for row in rows:
        values = [f"{head[i]} {row[i]}" for i in layout.listed if row[i] not in ("", "-")]
        if values:
            name = ", ".join(filter(None, row[: layout.names]))
            first, *others = wrapped(f"{name}: {', '.join(values)}", available - GAP)
            found += [first, *(" " * GAP + line for line in others)]
    return found


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines: at spaces where possible, else after punctuation, else anywhere."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if cell_len(longer) <= width:
                line = longer
                continue
            *full, line = [*([line] if line else []), *_folded(word, width)]
            lines += full
        lines.append(line)
    return lines


def _folded(word: str, width: int) -> list[str]:
    """Break a word into lines after punctuation; a part without punctuation that is too long is broken anywhere."""
    lines = [""]
    for part in _BREAKS.split(word):
        for piece in chop_cells(part, width) if cell_len(part) > width else [part]:
            if cell_len(lines[-1] + piece) <= width:
                lines[-1] += piece
            else:
                lines.append(piece)
    return lines


def _width(cell: str) -> int:
    return max(map(cell_len, cell.split("\n"))) if "\n" in cell else cell_len(cell)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _least(head: str, cells: Sequence[str], natural: int, readable: int) -> int:
    """Return the smallest width of a column.

    Args:
        head: the heading, which may be wrapped.
        cells: the cells.
        natural: width of the column in one line.
        readable: width down to which texts are wrapped; 0 for numbers, which are never wrapped.
    """
    if not readable:
        return max(map(cell_len, (*head.split(), *cells)))
    return min(natural, max(min(_longest_part([head, *cells]), _LONGEST_PART), readable))


def _longest_part(texts: Sequence[str]) -> int:
    words = (word for text in texts for word in text.split())
    return max((cell_len(part) for word in words for part in _BREAKS.split(word)), default=0)


def _widened(
    chosen: tuple[int, ...], least: Sequence[int], natural: Sequence[int], texts: Sequence[bool], available: int
) -> tuple[int, ...]:
    """Return the widths of the chosen columns, with all the available width in use if they need it."""
    widths = {i: least[i] for i in chosen}
    spare = available - _total([*widths.values()])
    # Headings need little. Then come the names of the rows, and then the texts that lack most.
    for i in [each for each in chosen if not texts[each]] + [0]:
        more = min(natural[i] - widths[i], max(0, spare))
        widths[i] += more
        spare -= more
    while spare > 0 and (lacking := {i: natural[i] - width for i, width in widths.items() if width < natural[i]}):
        widths[max(lacking, key=lambda i: lacking[i])] += 1
        spare -= 1
    while spare < 0 and max(widths.values()) > _LEAST:  # two columns that do not fit: numbers are folded as well
        widest = max(widths, key=lambda i: widths[i])
        widths[widest] -= 1
        spare += 1
    return tuple(widths.values())


def _lines(block: Block, texts: Sequence[bool], row: Sequence[str], styles: Styles) -> list[Line]:
    """Return the lines of one row of a block."""
    cells = [
        [row[i]] if _width(row[i]) <= width and "\n" not in row[i] else wrapped(row[i], width)
        for i, width in zip(block.columns, block.widths, strict=True)
    ]
    lines: list[Line] = []
    for number in range(max(map(len, cells))):
        line: Line = []
        skipped = 0  # spaces before the next text
        for i, width, left, parts in zip(block.columns, block.widths, texts, cells, strict=True):
            part = parts[number] if number < len(parts) else ""
            spaces = width - cell_len(part)
            skipped += (GAP if i != block.columns[0] else 0) + (0 if left else spaces)
            if part:
                line += [(" " * skipped, ""), (part, styles.get(i, ""))]
                skipped = 0
            skipped += spaces if left else 0
        lines.append(line)
    return lines
