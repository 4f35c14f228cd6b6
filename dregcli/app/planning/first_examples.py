"""Draw the first examples of a data set as a small picture, so that the user sees what was imported."""

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.app.planning.colours import as_rgb
from dregcli.data.dataset import Dataset
from dregcli.data.folders import WRITE_ELSEWHERE
from dregcli.filesystem import LOCAL, written_aside
from dregcli.names import Split

SHOWN: Final = 16
"""Number of examples in the picture."""

Pixels = NDArray[np.uint8]
"""Red, green and blue values, shape (..., height, width, 3)."""

_COLUMNS: Final = 4
_BETWEEN: Final = (0, 114, 178)
"""The colour between images, #0072B2, which differs from every grey."""
_SMALLEST: Final = 64
_LARGEST: Final = 256
"""Approximate limits of an image's longer side in the file, in screen pixels."""
_LONGEST: Final = 1024
_LINE: Final = 16
"""Size of a vector in the file, in screen pixels: the largest length, and the thickness."""
_TERMINAL_COLUMNS: Final = 8
_TERMINAL_HEIGHT: Final = 32


def first_examples(dataset: Dataset, split: Split) -> Pixels:
    """Return the first examples of a split, shape (n, height, width, 3), with n at most ``SHOWN``.

    Real values are scaled by their own range: the smallest is black and the largest white.
    """
    rows = np.asarray(dataset.splits[split][:SHOWN])
    values = rows.astype(np.float64) / dataset.levels
    if not dataset.kind.is_bounded:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low if high > low else 1.0)
    images = values.reshape(-1, dataset.channels, dataset.height, dataset.width)
    return np.rint(as_rgb(images) * 255.0).astype(np.uint8)


def write_picture(path: Path, examples: Pixels) -> None:
    """Write examples as a PNG file, in place of an older one: four images per row, or one vector per row.

    Raises:
        StoreWriteError: the file cannot be written; an older file is unchanged.
    """
    # Imported here, because no other command needs it.
    from PIL import Image

    height, width = examples.shape[1:3]
    longest = max(height, width)
    if height == 1:
        shown = _enlarged(_shrunk(examples, 1, -(-width // _LONGEST)), _LINE, max(1, _SMALLEST * _COLUMNS // width))
        grid = _grid(shown, 1, gap=0)
    else:
        factor, scale = -(-longest // _LARGEST), max(1, _SMALLEST // longest)
        grid = _grid(_enlarged(_shrunk(examples, factor, factor), scale, scale), _COLUMNS, gap=2)
    buffer = io.BytesIO()
    Image.fromarray(grid).save(buffer, "PNG")
    with written_aside(LOCAL, path, hint=WRITE_ELSEWHERE) as (file, _):
        file.write(buffer.getvalue())


def for_terminal(examples: Pixels, width: int) -> Pixels:
    """Return the picture for a terminal that is ``width`` characters wide.

    Returns:
        Shape (an even number, at most ``width``, 3): each character shows two pixels, one above the other.
    """
    down, across = examples.shape[1:3]
    if down == 1:
        grid = _grid(_shrunk(examples, 1, -(-across // width)), 1, gap=0)
    else:
        columns = min(_TERMINAL_COLUMNS, len(examples))
        room = (width + 1) // columns - 1
        factor = max(-(-across // max(1, room)), -(-down // _TERMINAL_HEIGHT))
        grid = _grid(_shrunk(examples, factor, factor), columns, gap=1)
    return np.pad(grid, ((0, len(grid) % 2), (0, 0), (0, 0)))


def _shrunk(images: Pixels, down: int, across: int) -> Pixels:
    """Replace each block of ``down`` x ``across`` pixels by its mean; edge pixels are repeated to fill a block."""
    if down == across == 1:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    blocks = padded.reshape(len(images), -(-height // down), down, -(-width // across), across, 3)
    return np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)


def _enlarged(images: Pixels, down: int, across: int) -> Pixels:
    return images.repeat(down, axis=1).repeat(across, axis=2)


def _grid(images: Pixels, columns: int, *, gap: int) -> Pixels:
    """Arrange images in rows."""
    count, height, width = images.shape[:3]
    rows, columns = -(-count // columns), min(columns, count)
    whole = np.empty((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    whole[:] = _BETWEEN
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole
