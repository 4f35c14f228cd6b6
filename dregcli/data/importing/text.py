"""Numbers as text, one example a line: read as it is written, without the columns that are no values."""

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.column_words import numbers, option, resolve, told
from dregcli.data.importing.columns import (
    DROPPED,
    LABELS,
    ROW_NUMBERS,
    LeftOut,
    Verdict,
    cut,
    is_index_name,
    is_label_name,
    judge,
)
from dregcli.data.importing.offers import Found, Offer
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.scratch import Scratch, reading
from dregcli.data.importing.text_layout import Layout, is_comment, is_decimal_comma, number
from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt

_LONGEST_LINE: Final = 1 << 25
_LONGEST_NAME: Final = 80
_SHOWN: Final = 12
_SHOWN_LETTERS: Final = 20
_SEPARATED: Final = {",": "commas", ";": "semicolons", "|": "vertical bars"}
_OTHERS: Final = "not among --columns"
_TEXT_IN_IT: Final = "its name, and the text in it"
_MISSING: Final = frozenset(("?", "na", "n/a", "null", "none", "-", "--", ".", "*", "missing", "#n/a"))
_OPTIONS: Final = {LABELS: "--labels", ROW_NUMBERS: "--drop-columns"}


class _Text:
    """A text that is read once, in order."""

    def __init__(self, plain: Plain, layout: Layout, watch: Watch) -> None:
        self._plain, self._layout, self._watch = plain, layout, watch
        # Numbers of the first lines may be whole, so that the first comma or point comes later.
        self._has_points = layout.has_points
        self.decimal_comma = layout.decimal_comma
        self.comments = 0

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Lines with their numbers from 1, without the empty ones, the comments and the names."""
        stream, where = self._plain.stream, self._plain.where
        stream.seek(self._layout.mark)
        text = io.TextIOWrapper(cast("Any", stream), self._layout.encoding, "replace", newline=None)
        names_left = self._layout.has_header
        at, done, wide = 0, 0, len("0".encode(self._layout.encoding))
        try:
            # An endless line would fill the memory.
            while line := _next(text, where):
                at, done = at + 1, done + len(line) * wide
                if len(line) == _LONGEST_LINE:
                    raise DataCorrupt(what=f"line {at} is longer than {_LONGEST_LINE:,} letters", where=where)
                if is_comment(line):
                    self.comments += 1
                elif line.strip() and names_left:
                    names_left = False
                elif line.strip():
                    yield at, line
                self._watch.update(min(done, self._plain.size))
        finally:
            # It would close the source when it goes.
            text.detach()

    def rows(self, taken: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        """The numbers of some columns of each line.

        Raises:
            DataCorrupt: a line has more or fewer cells than the first, or one that is no finite number.
        """
        layout, count, every = self._layout, len(self._layout.first), len(taken) == len(self._layout.first)
        for at, line in self._lines():
            quoted = '"' in line or "'" in line
            cells = layout.cells(line) if quoted or layout.closed else line.split(layout.separator)
            if len(cells) != count:
                raise DataCorrupt(
                    what=f"line {at} has {len(cells):,} numbers, not {count:,}",
                    where=self._plain.where,
                    hint=f"mend or remove line {at}, and import again",
                )
            try:
                has_point = "." in line
                # Python's float() also reads 1_000, which no writer of numbers means; and where 0,5 is a half, 1.500
                # may be a thousand and a half of them.
                if "_" in line or (has_point and self.decimal_comma):
                    raise ValueError
                self._has_points |= has_point
                row = np.array([float(cell) for cell in cells] if every else [float(cells[i]) for i in taken])
            except ValueError:
                row = self._slowly(at, [cell.strip() for cell in cells], taken)
            if not np.isfinite(row).all():
                i = taken[int(np.argmin(np.isfinite(row)))]
                raise self._bad(at, i, "holds a number that is not finite (NaN or infinite)", [i])
            yield row

    def _slowly(self, at: int, cells: Sequence[str], taken: Sequence[int]) -> NDArray[np.float64]:
        if not self._has_points and self._layout.separator != ",":
            self.decimal_comma |= any(is_decimal_comma(cells[i]) for i in taken)
        values = [number(cells[i], decimal_comma=self.decimal_comma) for i in taken]
        bad = [i for i, value in zip(taken, values, strict=True) if value is None]
        if not bad:
            return np.array(values, np.float64)
        cell = cells[bad[0]]
        shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cell[:_SHOWN_LETTERS])
        if not cell:
            raise self._bad(at, bad[0], "is empty", bad)
        if cell.lower() in _MISSING:
            raise self._bad(at, bad[0], f"holds '{shown}', which stands for a missing value", bad)
        if is_decimal_comma(cell) or (self.decimal_comma and number(cell) is not None):
            what = f"holds '{shown}', and there are numbers with a decimal point and numbers with a decimal comma"
            raise self._bad(at, bad[0], what, bad, hint="write all numbers with a decimal point, and import again")
        drop, labels = (option(each, bad, self._layout.names) for each in ("--drop-columns", "--labels"))
        hint = f"mend or remove line {at}, and import again"
        if len(bad) < len(self._layout.first):
            hint += f"; or leave {told(bad, ())} out: {drop} (or {labels}, if labels are in it)"
        raise self._bad(at, bad[0], f"holds '{shown}', which is no number", bad, hint=hint)

    def _bad(self, at: int, column: int, what: str, bad: Sequence[int], *, hint: str = "") -> DataCorrupt:
        names, count = self._layout.names, len(self._layout.first)
        if not hint:
            hint = f"fill the gap in line {at}, or remove the line, and import again"
            if len(bad) < count:
                hint += f"; or leave {told(bad, ())} out: {option('--drop-columns', bad, names)}"
        return DataCorrupt(what=f"line {at}, {told([column], names)} {what}", where=self._plain.where, hint=hint)


def _next(text: io.TextIOWrapper, where: str) -> str:
    with reading(where):
        return text.readline(_LONGEST_LINE)


def text_offers(plain: Plain, layout: Layout, watch: Watch, found: Found, request: ImportRequest) -> list[Offer]:
    """The one array of a text.

    Args:
        plain: the source.
        layout: how it is written.
        watch: told of progress.
        found: gets what was assumed, what was left out, and warnings.
        request: what the user says of the columns, and of the image that an example is.

    Raises:
        DataCorrupt: there are more or fewer names than numbers.
        SpecError: with every column that is not there.
    """
    # Names may be as long as a line.
    names, count = [name[:_LONGEST_NAME] for name in layout.names], len(layout.first)
    if names and len(names) != count:
        raise DataCorrupt(
            what=f"the first line has {len(names):,} names, and the next {count:,} numbers",
            where=plain.where,
            hint="remove the line of names, or save the numbers as .npy",
        )
    asked = resolve(request.columns, layout.names, count, where=plain.where)
    # Of a text that is turned the columns are the examples.
    is_judged = "--columns" not in asked and not request.transpose
    out = _out_unread(layout, names, asked, is_judged=is_judged)

    def read(scratch: Scratch) -> NDArray[Any]:
        taken = [column for column in range(count) if column not in out]
        text = _Text(plain, layout, watch)
        with watched(watch, "read", plain.size, "bytes"):
            array = scratch.array(text.rows(taken), (-1, len(taken)), np.dtype(np.float64), where=plain.where)
        found.notes += _layout_notes(layout, names, text)
        verdicts: list[Verdict] = []
        if is_judged:
            of_taken = [names[column] for column in taken] if names else []
            verdicts = judge(array, of_taken, shape=request.shape)
            verdicts = [dataclasses.replace(each, column=taken[each.column]) for each in verdicts]
        # Who names the labels knows best which they are.
        certain = [each for each in verdicts if each.certain and not (each.role == LABELS and "--labels" in asked)]
        without = {**out, **{each.column: (each.role, each.why) for each in certain}}
        has_labels = any(role == LABELS for role, _ in without.values())
        doubtful = [
            each
            for each in verdicts
            if each not in certain and (each.certain or each.role != LABELS or not has_labels)
        ]
        kept = [column for column in range(count) if column not in without]
        found.warnings += [_doubt(each, kept, names) for each in doubtful]
        found.left_out += _left_out(without, names)
        found.notes += [_note(each, names, count) for each in found.left_out]
        return cut(array, [taken.index(column) for column in kept], scratch, where=plain.where)

    return [Offer("", (), "text", read)]


def _out_unread(
    layout: Layout, names: Sequence[str], asked: Mapping[str, Sequence[int]], *, is_judged: bool
) -> dict[int, tuple[str, str]]:
    """By column that need not be read, what it is and how that is known."""
    count = len(layout.first)
    out = {column: (LABELS, "--labels") for column in asked.get("--labels", ())}
    out |= {column: (DROPPED, "--drop-columns") for column in asked.get("--drop-columns", ())}
    if "--columns" in asked:
        return out | {column: (DROPPED, _OTHERS) for column in {*range(count)} - {*asked["--columns"], *out}}
    for column, name in enumerate(names if is_judged else ()):
        cell = layout.first[column]
        # Text under such a name needs no second sign: it can be no value.
        is_text = bool(cell) and number(cell, decimal_comma=layout.decimal_comma) is None
        if column not in out and is_text and (is_label_name(name) or is_index_name(name)):
            out[column] = LABELS if is_label_name(name) else ROW_NUMBERS, _TEXT_IN_IT
    return out if len(out) < count else {}


def _layout_notes(layout: Layout, names: Sequence[str], text: _Text) -> list[str]:
    count = len(layout.first)
    notes = [f"the text is in {layout.encoding.upper()}"] if layout.encoding != "utf-8" else []
    if layout.separator in _SEPARATED:
        notes.append(f"{count:,} numbers a line, separated by {_SEPARATED[layout.separator]}")
    if text.decimal_comma:
        notes.append("commas in numbers were read as decimal points: if they part thousands, remove them")
    if text.comments:
        notes.append(f"passed over: {text.comments:,} line{'s' if text.comments > 1 else ''} of comment (# or %)")
    shown = ", ".join(name or "(no name)" for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    if layout.has_header:
        notes.append(f"the first line was left out, as names: {shown}{more}")
    elif names:
        notes.append(f"a comment has the columns' names: {shown}{more}")
    elif count > 2 and list(layout.first) == [str(i) for i in range(count)]:
        # So pandas names columns that have no names.
        notes.append(
            f"the first line is 0 to {count - 1}, and was taken as an example: if these are numbers of columns, "
            "remove it"
        )
    return notes


def _left_out(out: dict[int, tuple[str, str]], names: Sequence[str]) -> list[LeftOut]:
    """Columns of one role and reason together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for column in sorted(out):
        groups.setdefault(out[column], []).append(column)
    return [
        LeftOut(tuple(columns), role, reason, tuple(names[column] for column in columns) if names else ())
        for (role, reason), columns in groups.items()
    ]


def _note(each: LeftOut, names: Sequence[str], count: int) -> str:
    if each.role == DROPPED:
        return f"left out: {told(each.columns, names)} ({each.why})"
    back = "" if each.why in ("--labels", _TEXT_IN_IT) else f"; --columns 1-{count} keeps all"
    return f"left out: {told(each.columns, names)}, as {each.role} ({each.why}){back}"


def _doubt(verdict: Verdict, kept: Sequence[int], names: Sequence[str]) -> str:
    away = option(_OPTIONS[verdict.role], [verdict.column], names)
    return (
        f"{told([verdict.column], names)} may be {verdict.role} ({verdict.why}), and was kept as a value: {away} "
        f"leaves it out, and --columns {numbers(kept)} says that it is a value"
    )
