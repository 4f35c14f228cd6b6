"""A strict reader of .amat: text, one example a line, numbers with white space between them.

Larochelle's binarised MNIST is published so, every line as 784 times "0" or "1" and one space or, at the end, one
line feed. Content of just that layout is read as bytes, 100 times as fast as text.
"""

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt


def parse_binary_amat(content: bytes, *, columns: int, where: str) -> NDArray[np.uint8]:
    """Read text that holds nothing but zeros and ones; empty lines are passed over.

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
    # A list and not an array of the promised size: there is no promise.
    rows: list[NDArray[np.uint8]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if words and len(words) != columns:
            raise DataCorrupt(what=f"line {number} has {len(words):,} numbers, not {columns:,}", where=where)
        values = [_value(word) for word in words]
        if bad := [word for word, value in zip(words, values, strict=True) if value not in (0.0, 1.0)]:
            shown = bad[0][:20].decode("ascii", "backslashreplace")
            raise DataCorrupt(what=f"line {number} holds '{shown}', neither 0 nor 1", where=where)
        if words:
            rows.append(np.array(values).astype(np.uint8))
    if not rows:
        raise DataCorrupt(what="the text holds no numbers", where=where)
    return np.stack(rows)


def _value(word: bytes) -> float:
    try:
        # Python's float() also reads 1_000, which no writer of numbers means.
        return np.nan if b"_" in word else float(word)
    except ValueError:
        return np.nan


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
