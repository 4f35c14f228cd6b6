"""Arrange images in grids, and write them as PNG; colour images stay in colour."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dregcli.app.planning.colours import as_rgb
from dregcli.defaults import PICTURE_HEIGHT
from dregcli.errors import NotFinite

NEAR: Final = 1
GAP: Final = 2
FAR: Final = 10
"""Screen pixels between images: within a pair, within a grid, and between images that do not belong together."""

_BETWEEN: Final = (0.80, 0.84, 0.90)
"""The colour between images: so pale that it is no frame, and other than every grey. Wide gaps are white."""

_LETTERS: Final = 13
"""Size of the letters of labels, screen pixels."""

WIDEST: Final = 512
"""Largest width in screen pixels to which small images are enlarged."""


@dataclass(frozen=True)
class Look:
    """How values become grey levels on the screen.

    Attributes:
        height: rows of an image.
        width: columns of an image.
        low: the value that is shown black; smaller values are black, too.
        high: the value that is shown white; larger values are white, too.
        scale: screen pixels per pixel, in both directions.
        channels: values of a pixel.
        is_guessed: whether ``low`` and ``high`` are made of means and standard deviations, without the data.
    """

    height: int
    width: int
    low: float
    high: float
    scale: int
    channels: int = 1
    is_guessed: bool = False

    def screen(self, values: Tensor) -> Tensor:
        """Convert images of shape (..., D) to (N, 1 or 3, height * scale, width * scale) in [0, 1].

        Raises:
            NotFinite: a value is not finite.
        """
        if not torch.isfinite(values).all():
            what = "The model gives images that are not finite."
            raise NotFinite(what, hint="the parameters may have diverged: use an earlier --checkpoint")
        levels = ((values.float().cpu() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        images = levels.reshape(-1, self.channels, self.height, self.width)
        if self.channels > 1:
            images = torch.from_numpy(as_rgb(images.numpy())).movedim(-1, 1)
        return images.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)


def usual_scale(height: int, width: int) -> int:
    """Return the scale at which an image is about ``PICTURE_HEIGHT`` high, and not much wider than ``WIDEST``."""
    return max(1, min(-(-PICTURE_HEIGHT // height), WIDEST // width))


def plain_grid(images: Tensor, *, columns: int) -> Tensor:
    """Arrange images (N, 1 or 3, h, w) in rows, as (3, H, W)."""
    return _coloured(_grid(images, columns, GAP))


def pairs_grid(first: Tensor, second: Tensor, *, columns: int) -> Tensor:
    """Arrange pairs of images (N, 1 or 3, h, w), ``columns`` pairs per row, with a wide gap between pairs.

    Above the columns stands which images are data and which come from the model.
    """
    pairs = [_coloured(_grid(torch.stack(pair), 2, NEAR)) for pair in zip(first, second, strict=True)]
    wide = first.shape[3]
    step = pairs[0].shape[2] + FAR
    starts = [FAR + i * step + NEAR + j * (wide + NEAR) for i in range(min(columns, len(pairs))) for j in range(2)]
    top = [(x + wide // 2, ("data", "model")[i % 2]) for i, x in enumerate(starts)]
    return _labelled(_grid(torch.stack(pairs), columns, FAR).nan_to_num(nan=1.0), top=top)


def led_rows(lead: Tensor, images: Tensor, *, columns: int, heads: Sequence[str], rows: Sequence[str] = ()) -> Tensor:
    """Arrange rows of images (R * columns, C, h, w); left of each row, with a gap, is its lead image (R, C, h, w).

    Args:
        lead: lead image of each row.
        images: images of all rows.
        columns: images in a row, without the lead image.
        heads: label of each column, the lead's first.
        rows: label of each row.
    """
    left, right = _grid(lead, 1, GAP), _grid(images, columns, GAP)
    grid = torch.cat([left, left.new_full((3, left.shape[1], FAR), 1.0), right], dim=2)
    high, wide = images.shape[2:]
    starts = [GAP, *(left.shape[2] + FAR + GAP + i * (wide + GAP) for i in range(columns))]
    top = [(x + wide // 2, head) for x, head in zip(starts, heads, strict=True)]
    beside = [(GAP + i * (high + GAP) + high // 2, label) for i, label in enumerate(rows)]
    return _labelled(_coloured(grid), top=top, left=beside)


def png(grid: Tensor) -> bytes:
    """Return a grid as the content of a PNG file."""
    # Imported here: the import is slow, and no other command needs it.
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_levels(grid)).save(buffer, format="png")
    return buffer.getvalue()


def _levels(grid: Tensor) -> NDArray[np.uint8]:
    return (grid * 255.0 + 0.5).clamp(0.0, 255.0).to(torch.uint8).movedim(0, -1).numpy()


def _labelled(grid: Tensor, *, top: Sequence[tuple[int, str]], left: Sequence[tuple[int, str]] = ()) -> Tensor:
    """Add a white margin with labels above a grid, and one left of it if there are labels for the rows.

    Labels for which there is no room beside others are left out.

    Args:
        grid: pixels, shape (3, H, W).
        top: middle of each column and its label.
        left: middle of each row and its label.
    """
    # Imported here: the imports are slow, and no other command of this module needs them.
    from PIL import Image, ImageDraw, ImageFont

    from dregcli.report.figures.letters import font_file

    font = ImageFont.truetype(font_file(), _LETTERS)
    across = math.ceil(max((font.getlength(label) for _, label in left), default=0.0))
    x0, y0 = (across + _LETTERS if left else 0), 2 * _LETTERS
    whole = Image.new("RGB", (x0 + grid.shape[2], y0 + grid.shape[1]), "white")
    whole.paste(Image.fromarray(_levels(grid)), (x0, y0))
    draw = ImageDraw.Draw(whole)
    end = -math.inf
    for x, label in top:
        half = 0.5 * font.getlength(label)
        if x - half >= end and x0 + x + half <= whole.width:
            draw.text((x0 + x, y0 // 2), label, fill="black", font=font, anchor="mm")
            end = x + half + 0.4 * _LETTERS
    end = -math.inf
    for y, label in left:
        if y >= end:
            draw.text((x0 - _LETTERS // 2, y0 + y), label, fill="black", font=font, anchor="rm")
            end = y + 1.2 * _LETTERS
    return torch.from_numpy(np.asarray(whole).astype(np.float32) / 255.0).movedim(-1, 0)


def _grid(images: Tensor, columns: int, gap: int) -> Tensor:
    """Arrange images (N, 1 or 3, h, w) in rows, as (3, H, W), with NaN between and around them."""
    n, _, height, width = images.shape
    across = min(columns, n)
    down = -(-n // across)
    grid = images.new_full((3, gap + down * (height + gap), gap + across * (width + gap)), math.nan)
    for i, image in enumerate(images):
        top, left = gap + i // across * (height + gap), gap + i % across * (width + gap)
        grid[:, top : top + height, left : left + width] = image
    return grid


def _coloured(grid: Tensor) -> Tensor:
    between = grid.new_tensor(_BETWEEN)[:, None, None]
    return torch.where(grid.isnan(), between, grid)
