"""Reads numbers as text, one example a line, and leaves out the columns that are not values."""

import codecs
import contextlib
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing import labels
from dregcli.data.importing.columns import LONGEST_NAME, listed, option, resolve, shown_columns
from dregcli.data.importing.contract import Named, Source, watched
from dregcli.errors import DataCorrupt

_COMMENTS: Final = ("#", "%")
_HEAD: Final = 1 << 18
"""Bytes that are read to recognise the layout; more, if a line of names and a line of numbers need more."""
_LONGEST_LINE: Final = 1 << 25
_MOST_HEAD: Final = 4 * _LONGEST_LINE
"""Most bytes that are read for this: two of the longest lines, and as much for comments before them."""
_PROBED: Final = 1024
_MOST_DAMAGE: Final = 0.01
_LOOKED_AT: Final = 40
_FEWEST_NUMBERS: Final = 0.25
"""A text with a smaller share of numbers is prose or a web page."""
_SHOWN_LETTERS: Final = 20
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Python's encodings by the mark that a text begins with; they read the mark themselves."""
_SEPARATORS: Final = {";": "semicolons", ",": "commas", "\t": "", "|": "vertical bars", None: ""}
"""Separators and their names in notes. None is white space. A comma beside semicolons would be a decimal comma."""
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")


@dataclass
class Layout:
    """The layout of a text.

    Attributes:
        encoding: Python's name of the encoding.
        separator: separator between numbers; None for white space.
        decimal_comma: whether 0,5 means one half; this and the next are corrected while the lines are read, because
            the first lines may hold only whole numbers.
        has_points: whether a number has a decimal point.
        closed: whether a separator ends each line.
        names: names in the first line, or in a comment before it; empty where there are none.
        has_header: whether the first line that is not a comment holds the names.
        first: the cells of the first line of numbers.
    """

    encoding: str
    separator: str | None
    decimal_comma: bool
    has_points: bool
    closed: bool
    names: tuple[str, ...]
    has_header: bool
    first: tuple[str, ...]


def layout_of(source: Source) -> Layout | None:
    """Recognise the layout of a source from its beginning; None where it does not start like a text of numbers."""
    head = source.head(_HEAD)
    encoding = _encoding(head)
    text = head.decode(encoding, "replace")[:_PROBED]
    # Only the start is checked, and one damaged byte is allowed: later errors are reported with their line.
    if len(re.findall(r"[\x00-\x08\x0e-\x1f\x7f]", text)) > _MOST_DAMAGE * len(text):
        return None
    lines = _first_lines(source, encoding)
    body = _without_comments(lines)[:_LOOKED_AT]
    # Web pages, JSON and ARFF begin with these characters, and may hold many numbers.
    if not body or body[0].lstrip().startswith(("<", "[", "{", "@")):
        return None
    # The second line is used, because the first may hold names.
    separator = _separator(body[min(1, len(body) - 1)])
    closed = separator is not None and all(line.rstrip(" ").endswith(separator) for line in body[1:] or body)
    rows = [_cells(line, separator, closed=closed) for line in body]
    words = [cell for row in rows for cell in row]
    # If there is a decimal point anywhere, commas are not decimal commas.
    has_points = any("." in word and _number(word) is not None for word in words)
    decimal_comma = separator != "," and not has_points and any(_DECIMAL_COMMA.fullmatch(word) for word in words)
    numeric = [[_number(cell, decimal_comma=decimal_comma) is not None for cell in row] for row in rows]
    below = numeric[1:] or numeric
    if sum(map(sum, below)) < _FEWEST_NUMBERS * sum(map(len, below)):
        return None
    has_header = len(rows) > 1 and _is_header(rows[0], numeric[0], numeric[1])
    first = rows[1] if has_header else rows[0]
    names = rows[0] if has_header else []
    comments = lines[: lines.index(body[0])]
    if comments and not has_header:
        # NumPy writes the names as a comment.
        said = _cells(comments[-1].strip().lstrip("#%"), separator)
        is_names = len(said) == len(first) and any(said) and not any(_number(cell) is not None for cell in said)
        names = said if is_names else []
    return Layout(encoding, separator, decimal_comma, has_points, closed, tuple(names), has_header, tuple(first))


def _first_lines(source: Source, encoding: str) -> list[str]:
    """Return the first lines that are not empty, comments too: with two others among them, if there are two."""
    size = _HEAD
    while True:
        text = source.head(size).decode(encoding, "replace")
        lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
        if size >= source.size:
            return lines
        # The last line may be cut off.
        if len(_without_comments(lines[:-1])) > 1 or size >= _MOST_HEAD:
            return lines[:-1] or lines
        size = min(8 * size, _MOST_HEAD)


def _without_comments(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.lstrip().startswith(_COMMENTS)]


def _encoding(head: bytes) -> str:
    """Return the encoding, by its mark; without a mark, every other byte of a number is zero in UTF-16."""
    even, odd = head[:64:2], head[1:64:2]
    if odd and all(even) and not any(odd):
        return "utf-16-le"
    if odd and all(odd) and not any(even):
        return "utf-16-be"
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), "utf-8")


def _number(cell: str, *, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell, or None where there is none; with decimal commas, a point is not allowed."""
    if decimal_comma:
        cell = cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell.replace(".", ",")
    try:
        # Python's float() also reads 1_000, which data files never mean as a number.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _cells(line: str, separator: str | None, *, closed: bool = False) -> list[str]:
    """Return the cells of a line, without quotes and white space around them."""
    if separator is None:
        return [word.strip("\"'") for word in re.findall(r'"[^"]*"|\S+', line)]
    cells = line.split(separator)
    if '"' in line:
        # A quoted name may hold the separator. A cell that is too long for csv is reported later, like any bad cell.
        with contextlib.suppress(csv.Error):
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    cells = [cell.strip().strip("'").strip() for cell in cells]
    return cells[:-1] if closed and len(cells) > 1 and not cells[-1] else cells


def _separator(line: str) -> str | None:
    """Return the separator that gives the largest share of numbers in a line."""

    def share(separator: str | None) -> float:
        cells = [cell for cell in _cells(line, separator) if cell]
        good = [_number(cell, decimal_comma=separator != "," and "," in cell) is not None for cell in cells]
        return sum(good) / max(1, len(good))

    return max((each for each in _SEPARATORS if each is None or each in line), key=share)


def _is_header(first: Sequence[str], is_number: Sequence[bool], below: Sequence[bool]) -> bool:
    """Whether a first line holds names: no numbers, or column numbers beside names of columns that are not values."""
    words = [cell for cell, numeric in zip(first, is_number, strict=True) if not numeric]
    # A name has letters, unlike 0,5; pandas writes an empty name for row numbers.
    if not words or not all(any(map(str.isalpha, word)) or labels.is_index_name(word) for word in words):
        return False
    counted = [cell for cell, numeric in zip(first, is_number, strict=True) if numeric]
    if not counted:
        return any(words)
    if counted[0] not in ("0", "1") or counted != [str(int(counted[0]) + i) for i in range(len(counted))]:
        return False
    # A column of text would have text in the next line, too.
    is_text = len(first) == len(below) and not all(map(max, zip(is_number, below, strict=True)))
    return all(labels.is_index_name(word) or labels.is_label_name(word) for word in words) or (
        len(counted) > 2 and not is_text
    )


def _lines(source: Source, layout: Layout) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers from 1, without empty lines, comments and names."""
    source.stream.seek(0)
    text = io.TextIOWrapper(cast("Any", source.stream), layout.encoding, "replace", newline=None)
    names_left = layout.has_header
    try:
        # The limit keeps an endless line from filling the memory.
        for at, line in enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1):
            if len(line) == _LONGEST_LINE:
                raise DataCorrupt(what=f"line {at} is longer than {_LONGEST_LINE:,} letters")
            if line.strip() and not line.lstrip().startswith(_COMMENTS):
                if not names_left:
                    yield at, line
                names_left = False
            source.watch.update(source.stream.tell())
    finally:
        # Otherwise it would close the source when it is deleted.
        text.detach()


def _rows(source: Source, layout: Layout, taken: Sequence[int]) -> Iterator[NDArray[np.float64]]:
    """Yield the numbers of some columns of each line.

    Raises:
        DataCorrupt: a line has more or fewer cells than the first, or a cell is not a finite number.
    """
    for at, line in _lines(source, layout):
        is_plain = not (layout.closed or '"' in line or "'" in line)
        cells = line.split(layout.separator) if is_plain else _cells(line, layout.separator, closed=layout.closed)
        hint = f"correct or remove line {at}, and import again"
        if len(cells) != len(layout.first):
            raise DataCorrupt(what=f"line {at} has {len(cells):,} numbers, not {len(layout.first):,}", hint=hint)
        row = np.array(_row(layout, line, [cells[i] for i in taken]), np.float64)
        if not np.isfinite(row).all():
            bad = [column for column, is_good in zip(taken, np.isfinite(row).tolist(), strict=True) if not is_good]
            if len(bad) < len(cells):
                drop, label = (option(each, bad, layout.names) for each in ("--drop-columns", "--labels"))
                hint += f"; or leave {shown_columns(bad, ())} out: {drop} (or {label}, if it holds labels)"
            cell = cells[bad[0]].strip()[:_SHOWN_LETTERS]
            raise DataCorrupt(what=f"line {at}, {shown_columns(bad[:1], layout.names)} {_fault(cell)}", hint=hint)
        yield row


def _fault(cell: str) -> str:
    """Return what is wrong with a cell that has no finite number of the text."""
    number = _number(cell.replace(",", "."))
    if number is None:
        return f"holds {cell!r}, which is not a number" if cell else "is empty"
    if math.isfinite(number):
        return f"holds {cell!r}, where a number with a decimal {'comma' if '.' in cell else 'point'} is expected"
    return f"holds {cell!r}, which is not finite"


def _row(layout: Layout, line: str, cells: Sequence[str]) -> Sequence[float | None]:
    """Return the numbers of a line; None where a cell has none."""
    # Python's float() also reads 1_000; and with decimal commas, 1.500 may mean one thousand five hundred.
    has_point = "." in line
    if not ("_" in line or (has_point and layout.decimal_comma)):
        layout.has_points |= has_point
        with contextlib.suppress(ValueError):
            return [float(cell) for cell in cells]
    cells = [cell.strip() for cell in cells]
    if not layout.has_points and layout.separator != ",":
        layout.decimal_comma |= any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    return [_number(cell, decimal_comma=layout.decimal_comma) for cell in cells]


def text_arrays(source: Source, layout: Layout) -> list[Named]:
    """Return the one array of a text. The source receives notes on what was assumed and left out.

    Raises:
        DataCorrupt: there are more or fewer names than numbers.
        SpecError: the options give columns that do not exist; it lists all of them.
    """
    count = len(layout.first)
    if layout.names and len(layout.names) != count:
        raise DataCorrupt(
            what=f"the first line has {len(layout.names):,} names, but the next line has {count:,} numbers",
            hint="remove the line of names, or save the numbers as .npy",
        )
    asked = resolve(source.request.columns, layout.names, count)
    # With --transpose, the columns of a text are the examples.
    is_judged = "--columns" not in asked and not source.request.transpose

    def read() -> NDArray[Any]:
        out = _out_unread(layout, asked, is_judged=is_judged)
        layout.names = names = tuple(name[:LONGEST_NAME] for name in layout.names)
        taken = [column for column in range(count) if column not in out]
        with watched(source.watch, "read", source.size, "bytes"):
            array = source.scratch.array(_rows(source, layout, taken), (-1, len(taken)), np.dtype(np.float64))
        _note_layout(source, layout)
        return labels.values_alone(array, out, names, source, is_judged=is_judged)

    return [Named("", (), "text", read)]


def _out_unread(layout: Layout, asked: Mapping[str, Sequence[int]], *, is_judged: bool) -> dict[int, tuple[str, str]]:
    """Return the columns that need not be read, each with its role and the reason."""
    count = len(layout.first)
    out = {column: (labels.LABELS, "--labels") for column in asked.get("--labels", ())}
    out |= {column: (labels.DROPPED, "--drop-columns") for column in asked.get("--drop-columns", ())}
    others = {*range(count)} - {*asked.get("--columns", range(count)), *out}
    out |= {column: (labels.DROPPED, "not among --columns") for column in others}
    for column, name in enumerate(layout.names if is_judged else ()):
        cell = layout.first[column]
        # Text under such a name is enough: text cannot be a value.
        is_text = bool(cell) and _number(cell, decimal_comma=layout.decimal_comma) is None
        if column not in out and is_text and (labels.is_label_name(name) or labels.is_index_name(name)):
            out[column] = labels.LABELS if labels.is_label_name(name) else labels.ROW_NUMBERS, labels.TEXT_IN_IT
    return out if len(out) < count else {}


def _note_layout(source: Source, layout: Layout) -> None:
    if separated := _SEPARATORS[layout.separator]:
        source.note(f"{len(layout.first):,} numbers a line, separated by {separated}")
    if layout.decimal_comma:
        source.note("commas in numbers were read as decimal points: if they separate thousands, remove them")
    if layout.names:
        how = "the first line was left out, as names" if layout.has_header else "a comment has the columns' names"
        source.note(f"{how}: {listed(name or '(no name)' for name in layout.names)}")
    elif list(layout.first) == [str(i) for i in range(len(layout.first))] and len(layout.first) > 2:
        # pandas writes such numbers for columns without names.
        source.note(
            f"the first line is 0 to {layout.first[-1]}, and was taken as an example: if it has names, remove it"
        )
