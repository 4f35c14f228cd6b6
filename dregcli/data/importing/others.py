"""IDX, MATLAB's .mat up to version 7, and numbers as text: the strict readers of the catalogue, for a user's file."""

import contextlib
import itertools
import mmap
from collections.abc import Iterator
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.amat import amat_rows
from dregcli.data.formats.idx import parse_idx_values
from dregcli.data.formats.mat import mat_variables, parse_mat
from dregcli.data.importing.limits import HARMLESS_BYTES, MOST_RATIO
from dregcli.data.importing.offers import Offer, refused
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt

_LONGEST_LINE: Final = 1 << 26
_TEXT_HEAD: Final = 1 << 18
"""A line of names may be as long."""
_TOLD_BY: Final = 1024
_TEXT: Final = frozenset(b"0123456789+-.,;eE \t\r\n" + b"naifNAIF")
"""Bytes of numbers and of what separates them; NaN and infinity included so that their own message comes."""
_SEPARATORS: Final = (b";", b",", b"\t")
_MARK: Final = b"\xef\xbb\xbf"
_SHOWN: Final = 12
_LARGEST_MAT: Final = 4 << 30
"""Such files are unpacked in memory; MATLAB itself writes larger ones as version 7.3."""


def idx_offers(plain: Plain) -> list[Offer]:
    """The one array of an IDX file, mapped where it lies.

    Raises:
        DataCorrupt: the header promises other than the file has.
    """
    content = mmap.mmap(plain.stream.fileno(), 0, access=mmap.ACCESS_READ)
    values = parse_idx_values(cast("Any", content), where=plain.where)
    return [Offer("", values.shape, str(values.dtype), lambda _: values)]


def mat_offers(plain: Plain) -> list[Offer]:
    """The variables of a .mat file of versions 4 to 7.

    Raises:
        DataCorrupt: it is damaged, truncated or a bomb.
    """
    if plain.size > _LARGEST_MAT:
        raise DataCorrupt(
            what=f"a .mat file of {plain.size:,} bytes is more than can be unpacked in memory",
            where=plain.where,
            hint="save it in MATLAB with -v7.3, or from Python as .npy",
        )
    plain.stream.seek(0)
    content = plain.stream.read()
    limit = min(max(HARMLESS_BYTES, MOST_RATIO * plain.size), _LARGEST_MAT)

    def offer(name: str) -> Offer:
        def read(_: Scratch) -> NDArray[Any]:
            return parse_mat(content, names=[name], where=plain.where, limit=limit)[name]

        variable = variables[name]
        if not variable.is_numeric:
            return refused(name, f"is MATLAB's {variable.kind}, not an array of numbers", variable.shape)
        if 0 in variable.shape:
            return refused(name, "is empty", variable.shape, variable.kind)
        return Offer(name, variable.shape, variable.kind, read)

    variables = mat_variables(content, where=plain.where, limit=limit)
    return [offer(name) for name in variables]


def is_text(plain: Plain) -> bool:
    """Whether a source starts as numbers in text do, or as such numbers under a line of names."""
    head = plain.head(_TEXT_HEAD)
    # Only the start: what is no number further down is told by its line.
    if set(head[:_TOLD_BY]) <= _TEXT:
        return bool(head.strip())
    first, _, rest = head.removeprefix(_MARK).partition(b"\n")
    # Names alone would be any prose: there must be something between them, and numbers below.
    return bool(_between(first)) and bool(rest[:_TOLD_BY].strip()) and set(rest[:_TOLD_BY]) <= _TEXT


def _between(line: bytes) -> bytes | None:
    """What separates the words of a line, other than spaces; a comma beside semicolons would be a decimal one."""
    return next((mark for mark in _SEPARATORS if mark in line), None)


def _names(line: bytes) -> list[str]:
    """The names in a first line; empty where it holds a number, and so is an example or a damaged one."""
    separator = _between(line)
    if separator is None:
        return []
    words = [word.strip(b" \t\r\n\"'") for word in line.split(separator)]
    for word in words:
        with contextlib.suppress(ValueError):
            float(word)
            return []
    names = [word.decode("utf-8", "replace") for word in words]
    # A name has letters, which 0,5 has not; pandas gives none to the column of row numbers.
    has_letters = all(not name or any(each.isalpha() for each in name) for name in names)
    return names if has_letters and any(names) else []


def text_offers(plain: Plain, watch: Watch, notes: list[str]) -> list[Offer]:
    """Numbers as text, one example a line, between them white space, commas or semicolons.

    Args:
        plain: the source.
        watch: told of progress.
        notes: gets what separates the numbers, and the names in a first line, which is left out.
    """

    def lines() -> Iterator[bytes]:
        plain.stream.seek(0)
        done = 0
        # An endless line would fill the memory.
        while line := plain.stream.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise DataCorrupt(what=f"a line is longer than {_LONGEST_LINE:,} bytes", where=plain.where)
            done += len(line)
            watch.update(done)
            yield line

    def read(scratch: Scratch) -> NDArray[Any]:
        with watched(watch, "read", plain.size, "bytes"):
            rest = lines()
            skipped, line = 0, b""
            for line in rest:
                if line.strip():
                    break
                skipped += 1
            # A mark that some spreadsheets begin a text with.
            line = line.removeprefix(_MARK)
            if names := _names(line):
                skipped, line = skipped + 1, next(rest, b"")
            separator = _between(line)
            # A tab is white space, as it is in .amat; only names have spaces in them.
            separator = None if separator == b"\t" else separator
            rows = amat_rows(itertools.chain([line], rest), where=plain.where, separator=separator, start=skipped + 1)
            first = next(rows, None)
            if first is None:
                raise DataCorrupt(what="the text holds no numbers", where=plain.where)
            if names and len(names) != len(first):
                raise DataCorrupt(
                    what=f"the first line has {len(names):,} names, and the next {len(first):,} numbers",
                    where=plain.where,
                    hint="remove the line of names, or save the numbers as .npy",
                )
            if separator:
                told = "commas" if separator == b"," else "semicolons"
                notes.append(f"{len(first):,} numbers a line, separated by {told}")
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                notes.append(f"the first line was left out, as names: {', '.join(names[:_SHOWN])}{more}")
            elif len(first) > 2 and np.array_equal(first, np.arange(len(first))):
                # So pandas names columns that have no names.
                notes.append(
                    f"the first line is 0 to {len(first) - 1}, and was taken as an example: if these are numbers of "
                    "columns, remove it"
                )

            def content() -> Iterator[NDArray[Any]]:
                yield first
                yield from rows

            return scratch.array(content(), (-1, len(first)), np.dtype(np.float64), where=plain.where)

    return [Offer("", (), "text", read)]
