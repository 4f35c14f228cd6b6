"""A strict decoder of image files that nobody has vouched for: the header's size is looked at before it is made."""

import io
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 1 << 24


def decode_image(
    content: bytes, *, where: str, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = ("PNG",)
) -> "Image":
    """Decode one image whose header promises no more than ``max_pixels``.

    Args:
        content: the whole file.
        where: its name, for messages.
        max_pixels: the most width times height.
        formats: what Pillow calls the formats that are allowed.

    Returns:
        The image, of the file's own mode, decoded.

    Raises:
        DataCorrupt: it is none of the formats, too large, truncated or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with decoding(where):
        try:
            image = Image.open(io.BytesIO(content), formats=tuple(formats))
        except UnidentifiedImageError as error:
            raise DataCorrupt(what=f"not a {' or '.join(formats)} image", where=where) from error
        width, height = image.size
        if width * height > max_pixels:
            raise DataCorrupt(
                what=f"the image promises {width} x {height} pixels, more than {max_pixels:,}", where=where
            )
        image.load()
        return image


@contextmanager
def decoding(where: str) -> Generator[None]:
    """Whatever Pillow is asked of an image from outside: much of it reads on in the file, and fails there.

    Raises:
        DataCorrupt: the image is damaged, or too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataCorrupt(what=f"the image is too large: {error}", where=where) from error
    except DataCorrupt:
        raise
    # What Pillow raises on damage has no common class: OSError, SyntaxError, ValueError, zlib.error, struct.error ...
    except Exception as error:
        raise DataCorrupt(
            what=f"the image cannot be decoded: {error or type(error).__name__}", where=where
        ) from error


def resized(image: "Image", height: int, width: int) -> "Image":
    """An image of another size: bilinear filter, antialiased."""
    from PIL import Image

    return image.resize((width, height), Image.Resampling.BILINEAR)


def grey_levels(image: "Image", *, where: str) -> NDArray[np.uint8]:
    """The levels of a grey image, (height, width), 0 (black) to 255; of 1 bit a pixel 0 and 255.

    Raises:
        DataCorrupt: it has colours, a palette, transparency or more than 8 bits a pixel.
    """
    if image.mode not in ("1", "L"):
        raise DataCorrupt(what=f"the image is of mode {image.mode}, not grey with 1 or 8 bits a pixel", where=where)
    return np.asarray(image.convert("L"), dtype=np.uint8)
