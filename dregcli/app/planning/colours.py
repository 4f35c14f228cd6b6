"""Convert images to the colours of a screen."""

import numpy as np
from numpy.typing import NDArray


def as_rgb(images: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the red, green and blue values of images.

    Args:
        images: shape (..., C, height, width), in [0, 1]; C is 1 (grey), 3 (red, green, blue) or 4 (with alpha).

    Returns:
        Shape (..., height, width, 3), in [0, 1]; grey is repeated three times, and transparent pixels show white.
    """
    last = np.moveaxis(images, -3, -1)
    colours, alpha = last[..., :3], last[..., 3:]
    if last.shape[-1] == 1:
        return np.repeat(colours, 3, axis=-1)
    return colours * alpha + (1.0 - alpha) if alpha.size else colours
