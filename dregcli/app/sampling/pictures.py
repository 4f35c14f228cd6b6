"""Arrange images in grids, and write them as PNG; colour images stay in colour."""

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
"""Screen pixels between images: within a pair, within a grid, and between images that do not belong together."""

_BETWEEN: Final = (0.0, 0.447, 0.698)
"""The colour between images, #0072B2, which differs from every grey."""

LOWEST: Final = 32
"""Approximate height in screen pixels to which small images are enlarged."""

WIDEST: Final = 256
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
    """

    height: int
    width: int
    low: float
    high: float
    scale: int
    channels: int = 1

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
    """Return the scale at which an image is about ``LOWEST`` high, and not much wider than ``WIDEST``."""
    return max(1, min(-(-LOWEST // height), WIDEST // width))


def plain_grid(images: Tensor, *, columns: int) -> Tensor:
    """Arrange images (N, 1 or 3, h, w) in rows, as (3, H, W)."""
    return _coloured(_grid(images, columns, GAP))


def pairs_grid(first: Tensor, second: Tensor, *, columns: int) -> Tensor:
    """Arrange pairs of images (N, 1 or 3, h, w), ``columns`` pairs per row, with a wide gap between pairs."""
    pairs = [_grid(torch.stack(pair), 2, NEAR) for pair in zip(first, second, strict=True)]
    return _coloured(_grid(torch.stack(pairs), columns, FAR))


def led_rows(lead: Tensor, images: Tensor, *, columns: int) -> Tensor:
    """Arrange rows of images (R * columns, C, h, w); left of each row, with a gap, is its lead image (R, C, h, w)."""
    left, right = _grid(lead, 1, GAP), _grid(images, columns, GAP)
    return _coloured(torch.cat([left, left.new_full((3, left.shape[1], FAR), math.nan), right], dim=2))


def png(grid: Tensor) -> bytes:
    """Return a grid as the content of a PNG file."""
    # Imported here: the import is slow, and no other command needs it.
    from PIL import Image

    levels = (grid * 255.0 + 0.5).clamp(0.0, 255.0).to(torch.uint8).movedim(0, -1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="png")
    return buffer.getvalue()


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
