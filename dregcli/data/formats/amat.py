"""A strict reader of .amat: text, one example a line, numbers with white space between them.

Larochelle's binarised MNIST is published so, every line as 784 times "0" or "1" and one space or, at the end, one
line feed. Content of just that layout is read as bytes, 100 times as fast as text.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt


def parse_binary_amat(content: bytes, *, columns: int, where: str) -> NDArray[np.uint8]:
    """Read text that holds nothing but zeros and ones.

    Args:
        content: the whole unpacked file.
        columns: numbers in a row.
        where: the file's name, for messages.

    Returns:
        The values, (N, columns), 0 or 1.

    Raises:
        DataCorrupt: there is no row, a row of another length, something that is no number, or another number.
    """
    quick = _single_digits(content, columns)
    if quick is not None:
        return quick
    values = parse_amat(content, columns=columns, where=where)
    wrong = (values != 0.0) & (values != 1.0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataCorrupt(what=f"line {row + 1} holds {values[row, column]:g}, neither 0 nor 1", where=where)
    return values.astype(np.uint8)


def parse_amat(content: bytes, *, where: str, columns: int | None = None) -> NDArray[np.float64]:
    """Read rows of finite numbers.

    Args:
        content: the whole unpacked file.
        where: the file's name, for messages.
        columns: numbers in a row; where not given, as many as the first row has.

    Returns:
        The values, (N, columns).

    Raises:
        DataCorrupt: there is no row, a row of another length, something that is no number, NaN or infinity.
    """
    # A list and not an array of the promised size: there is no promise.
    rows = list(amat_rows(content.splitlines(), where=where, columns=columns))
    if not rows:
        raise DataCorrupt(what="the text holds no numbers", where=where)
    return np.stack(rows)


def amat_rows(lines: Iterable[bytes], *, where: str, columns: int | None = None) -> Iterator[NDArray[np.float64]]:
    """Read lines one by one, as they lie in a file; empty ones are passed over.

    Args:
        lines: an open binary file, or a list.
        where: the file's name, for messages.
        columns: numbers in a row; where not given, as many as the first row has.

    Yields:
        The row of each line, (columns,).

    Raises:
        DataCorrupt: as for ``parse_amat``.
    """
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if columns is None:
            columns = len(words)
        if len(words) != columns:
            raise DataCorrupt(what=f"line {number} has {len(words):,} numbers, not {columns:,}", where=where)
        yield _row(words, number, where)


def _row(words: list[bytes], number: int, where: str) -> NDArray[np.float64]:
    try:
        # Python's float() also reads 1_000, which no writer of numbers means.
        if any(b"_" in word for word in words):
            raise ValueError
        row = np.array([float(word) for word in words])
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        shown = word[:20].decode("ascii", "backslashreplace")
        raise DataCorrupt(what=f"line {number} holds '{shown}', which is no number", where=where) from None
    if not np.isfinite(row).all():
        raise DataCorrupt(what=f"line {number} holds a number that is not finite (NaN or infinite)", where=where)
    return row


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word


def _single_digits(content: bytes, columns: int) -> NDArray[np.uint8] | None:
    """The values, if every line is just single digits with one space between; None where it is laid out otherwise."""
    if not content or len(content) % (2 * columns):
        return None
    cells = np.frombuffer(content, np.uint8).reshape(-1, columns, 2)
    digits, between = cells[:, :, 0], cells[:, :, 1]
    if (between[:, :-1] != ord(" ")).any() or (between[:, -1] != ord("\n")).any():
        return None
    values = digits - np.uint8(ord("0"))
    # What is below "0" has wrapped around.
    return values if values.max() <= 1 else None
