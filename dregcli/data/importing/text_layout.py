"""How a text of numbers is written: its encoding, what separates its numbers, its comments, and its line of names."""

import codecs
import contextlib
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.data.importing.columns import is_index_name, is_label_name
from dregcli.data.importing.plain import Plain

COMMENTS: Final = ("#", "%")
_HEAD: Final = 1 << 18
"""A line of names may be as long."""
_TOLD_BY: Final = 1024
_MOST_DAMAGE: Final = 0.01
_LOOKED_AT: Final = 40
_FEWEST_NUMBERS: Final = 0.25
"""Less of a text in numbers is prose, or a page."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS: Final = (";", ",", "\t", "|", None)
"""None is white space. A comma beside semicolons would be a decimal one."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_QUOTED: Final = re.compile(r'"[^"]*"|\S+')


@dataclass(frozen=True)
class Layout:
    """How a text is written.

    Attributes:
        encoding: as Python calls it.
        mark: bytes before the text that only say how it is encoded.
        separator: what stands between numbers; None for white space.
        decimal_comma: whether 0,5 is a half.
        has_points: whether a number among the first ones has a decimal point.
        closed: whether a separator ends each line.
        names: in the first line, or in a comment before it; empty where there are none.
        has_header: whether the first line that is no comment is the one of names.
        first: the cells of the first line of numbers.
    """

    encoding: str
    mark: int
    separator: str | None
    decimal_comma: bool
    has_points: bool
    closed: bool
    names: tuple[str, ...]
    has_header: bool
    first: tuple[str, ...]

    def cells(self, line: str) -> list[str]:
        """The cells of a line, without quotes and white space around them."""
        found = _cells(line, self.separator)
        return found[:-1] if self.closed and len(found) > 1 and not found[-1] else found


def layout_of(plain: Plain) -> Layout | None:
    """How a source is written, told by its beginning; None where it does not start as a text of numbers does."""
    head = plain.head(_HEAD)
    encoding, mark = _encoding(head)
    text = head[mark:].decode(encoding, "replace")
    # Only the start, and not for one damaged byte: what is no text further down is told by its line.
    if len(_CONTROL.findall(text[:_TOLD_BY])) > _MOST_DAMAGE * len(text[:_TOLD_BY]):
        return None
    lines = re.split(r"\r\n|\n|\r", text)
    # The last one may be cut off.
    lines = lines[:-1] if len(head) == _HEAD and len(lines) > 1 else lines
    comment, body = "", list[str]()
    for line in lines:
        if is_comment(line):
            comment = comment if body else line
        elif line.strip():
            body.append(line)
    body = body[:_LOOKED_AT]
    # Pages, JSON and ARFF begin so; of numbers there may be many in them.
    if not body or body[0].lstrip().startswith(("<", "[", "{", "@")):
        return None
    # The second line: the first may be names.
    separator = _separator(body[min(1, len(body) - 1)])
    words = [cell for line in body for cell in _cells(line, separator)]
    # A decimal point anywhere says that commas are something else.
    has_points = any("." in word and number(word) is not None for word in words)
    decimal_comma = separator != "," and not has_points and any(is_decimal_comma(word) for word in words)
    closed = separator is not None and all(line.rstrip(" ").endswith(separator) for line in body[1:] or body)
    rows = [_cells(line, separator) for line in body]
    numeric = [[number(cell, decimal_comma=decimal_comma) is not None for cell in row] for row in rows]
    below = numeric[1:] or numeric
    if sum(map(sum, below)) < _FEWEST_NUMBERS * sum(map(len, below)):
        return None
    has_header = len(rows) > 1 and _is_header(rows[0], rows[1], numeric[0], numeric[1])
    first = rows[1] if has_header else rows[0]
    if closed:
        first = first[:-1]
        rows[0] = rows[0][:-1] if not rows[0][-1] and len(rows[0]) > len(first) else rows[0]
    names = rows[0] if has_header else []
    if comment and not has_header:
        # NumPy writes names as a comment.
        said = _cells(comment.strip().lstrip("#%"), separator)
        is_names = len(said) == len(first) and any(said) and not any(number(cell) is not None for cell in said)
        names = said if is_names else []
    return Layout(
        encoding, mark, separator, decimal_comma, has_points, closed, tuple(names), has_header, tuple(first)
    )


def is_comment(line: str) -> bool:
    """Whether a line is a comment."""
    return line.lstrip().startswith(COMMENTS)


def is_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return bool(_DECIMAL_COMMA.fullmatch(cell))


def number(cell: str, *, decimal_comma: bool = False) -> float | None:
    """The number in a cell, or None where there is none; with decimal commas, a point makes it none."""
    if decimal_comma:
        cell = cell.replace(",", ".") if is_decimal_comma(cell) else cell.replace(".", ",")
    try:
        # Python's float() also reads 1_000, which no writer of numbers means.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _encoding(head: bytes) -> tuple[str, int]:
    """The encoding, and how many bytes of mark there are. Of numbers in UTF-16 every other byte is zero."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    start = head[:64]
    if len(start) > 1 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le", 0
    if len(start) > 1 and not any(start[::2]) and all(start[1::2]):
        return "utf-16-be", 0
    return "utf-8", 0


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return [word.strip("\"'") for word in (_QUOTED.findall(line) if '"' in line else line.split())]
    cells = line.split(separator)
    if '"' in line:
        # A quoted name may hold the separator. What is too long for a name is told as any other bad cell.
        with contextlib.suppress(csv.Error):
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [cell.strip().strip("'").strip() for cell in cells]


def _separator(line: str) -> str | None:
    """What makes most numbers of a line."""
    best: tuple[float, str | None] = (-1.0, None)
    for separator in _SEPARATORS:
        if separator is not None and separator not in line:
            continue
        cells = [cell for cell in _cells(line, separator) if cell]
        good = [number(cell) is not None or (separator != "," and is_decimal_comma(cell)) for cell in cells]
        best = max(best, (sum(good) / max(1, len(good)), separator), key=lambda each: each[0])
    return best[1]


def _is_header(first: Sequence[str], second: Sequence[str], is_number: Sequence[bool], below: Sequence[bool]) -> bool:
    """Whether a first line holds names: no numbers, or the numbers of columns beside names that are no values."""
    words = [cell for cell, numeric in zip(first, is_number, strict=True) if not numeric]
    if not words or not all(
        not word or any(each.isalpha() for each in word) or is_index_name(word) for word in words
    ):
        # A name has letters, which 0,5 has not; pandas gives none to the column of row numbers.
        return False
    if len(words) == len(first):
        return any(words)
    counted = [cell for cell, numeric in zip(first, is_number, strict=True) if numeric]
    start = counted[0]
    if start not in ("0", "1") or counted != [str(int(start) + i) for i in range(len(counted))]:
        return False
    is_known = all(is_index_name(word) or is_label_name(word) for word in words)
    # A column of text would hold text in the next line, too.
    is_text = len(first) == len(second) and any(
        not (here or there) for here, there in zip(is_number, below, strict=True)
    )
    return is_known or (len(counted) > 2 and not is_text)
