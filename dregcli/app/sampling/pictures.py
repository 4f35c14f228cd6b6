"""Grids of images as PNG; in colour where the images are."""

import io
import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dregcli.app.planning.colours import as_rgb
from dregcli.errors import NotFinite

NEAR: Final = 1
GAP: Final = 2
FAR: Final = 8
"""Screen pixels between images: of a pair, of a grid, and between what does not belong together."""

_BETWEEN: Final = (0.0, 0.447, 0.698)
"""The colour of what lies between, #0072B2: no grey is like it."""

LOWEST: Final = 32
"""The height in screen pixels that small images are enlarged to, about."""

WIDEST: Final = 256
"""The width that they are not enlarged beyond for it."""


@dataclass(frozen=True)
class Look:
    """How values become grey levels on the screen.

    Attributes:
        height: rows of an image.
        width: columns of an image.
        channels: values of a pixel.
        low: the value that is black, and everything below.
        high: the value that is white, and everything above.
        scale: screen pixels of a pixel, in both directions.
    """

    height: int
    width: int
    low: float
    high: float
    scale: int
    channels: int = 1

    def screen(self, values: Tensor) -> Tensor:
        """Images of shape (..., D) as (N, 1 or 3, height * scale, width * scale) in [0, 1].

        Raises:
            NotFinite: a value is not.
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
    """The enlargement at which an image is about ``LOWEST`` high, and not much wider than ``WIDEST``."""
    return max(1, min(-(-LOWEST // height), WIDEST // width))


def plain_grid(images: Tensor, *, columns: int) -> Tensor:
    """Images (N, 1 or 3, h, w) row by row, as (3, H, W)."""
    return _coloured(_grid(images, columns, GAP))


def pairs_grid(first: Tensor, second: Tensor, *, columns: int) -> Tensor:
    """Pairs of images (N, 1 or 3, h, w), each close together and apart from the others, ``columns`` pairs a row."""
    pairs = [_grid(torch.stack(pair), 2, NEAR) for pair in zip(first, second, strict=True)]
    return _coloured(_grid(torch.stack(pairs), columns, FAR))


def led_rows(lead: Tensor, images: Tensor, *, columns: int) -> Tensor:
    """Rows of images (R * columns, C, h, w), before each, and apart from it, what it belongs to, (R, C, h, w)."""
    left, right = _grid(lead, 1, GAP), _grid(images, columns, GAP)
    return _coloured(torch.cat([left, left.new_full((3, left.shape[1], FAR), math.nan), right], dim=2))


def png(grid: Tensor) -> bytes:
    """A grid as a file."""
    # It takes long to import, and no other command wants it.
    from PIL import Image

    levels = (grid * 255.0 + 0.5).clamp(0.0, 255.0).to(torch.uint8).movedim(0, -1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="png")
    return buffer.getvalue()


def _grid(images: Tensor, columns: int, gap: int) -> Tensor:
    """Images (N, 1 or 3, h, w) row by row, as (3, H, W), NaN between and around them."""
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
