"""A strict reader for .amat files: text, one example a line, numbers separated by white space.

Larochelle's binarised MNIST has this format: every line is 784 times "0" or "1" followed by one space or, at the end,
one line feed. Content with exactly this layout is read as bytes, 100 times as fast as text.
"""

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt


def parse_binary_amat(content: bytes, *, columns: int, where: str) -> NDArray[np.uint8]:
    """Read text that holds only zeros and ones; empty lines are skipped.

    Args:
        content: the whole unpacked file.
        columns: numbers in a row.
        where: the file's name, for messages.

    Returns:
        The values, (N, columns), 0 or 1.

    Raises:
        DataCorrupt: there is no row, a row has another length, or a value is not a number or not 0 or 1.
    """
    quick = _single_digits(content, columns)
    if quick is not None:
        return quick
    # A list and not an array, because the number of rows is not known.
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
        # Python's float() also reads 1_000, which data files never mean as a number.
        return np.nan if b"_" in word else float(word)
    except ValueError:
        return np.nan


def _single_digits(content: bytes, columns: int) -> NDArray[np.uint8] | None:
    """Return the values if every line is single digits with one space between; None for any other layout."""
    if not content or len(content) % (2 * columns):
        return None
    cells = np.frombuffer(content, np.uint8).reshape(-1, columns, 2)
    digits, between = cells[:, :, 0], cells[:, :, 1]
    if (between[:, :-1] != ord(" ")).any() or (between[:, -1] != ord("\n")).any():
        return None
    values = digits - np.uint8(ord("0"))
    # Characters below "0" wrap around to large values.
    return values if values.max() <= 1 else None
