"""A strict decoder for image files that may be hostile: the size in the header is checked before decoding."""

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
MAX_RESIZED: Final = 5 * MAX_PIXELS
"""Most pixels of an image that is made smaller at once: photographs of 80 megapixels, below Pillow's own limit."""


def decode_image(
    content: bytes,
    *,
    where: str,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] = ("PNG",),
    if_larger: str | None = None,
) -> "Image":
    """Decode one image whose header promises no more than ``max_pixels``.

    Args:
        content: the whole file.
        where: its name, for messages.
        max_pixels: the most width times height.
        formats: Pillow's names of the allowed formats.
        if_larger: advice where the image has more pixels.

    Returns:
        The decoded image, in the file's own mode.

    Raises:
        DataCorrupt: the file has another format, or is too large, truncated or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with decoding(where):
        try:
            image = Image.open(io.BytesIO(content), formats=tuple(formats))
        except UnidentifiedImageError as error:
            raise DataCorrupt(what=f"the file is not a {' or '.join(formats)} image", where=where) from error
        width, height = image.size
        if width * height > max_pixels:
            what = f"the image promises {width} x {height} pixels, more than {max_pixels:,}"
            raise DataCorrupt(what, where=where, hint=if_larger)
        image.load()
        return image


@contextmanager
def decoding(where: str) -> Generator[None]:
    """Turn Pillow's errors into DataCorrupt; wrap every use of an image, because Pillow reads the file lazily.

    Raises:
        DataCorrupt: the image is damaged, or too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Other warnings are of what lies beside the pixels, such as odd EXIF; damaged pixels are errors by
            # themselves.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataCorrupt(what=f"the image is too large: {error}", where=where) from error
    except DataCorrupt:
        raise
    # Pillow's errors on damage have no common class: OSError, SyntaxError, ValueError, zlib.error, struct.error ...
    except Exception as error:
        raise DataCorrupt(
            what=f"the image cannot be decoded: {error or type(error).__name__}", where=where
        ) from error


def resized(image: "Image", height: int, width: int) -> "Image":
    """Return the image in another size: bilinear filter, antialiased."""
    from PIL import Image

    return image.resize((width, height), Image.Resampling.BILINEAR)


def grey_levels(image: "Image", *, where: str) -> NDArray[np.uint8]:
    """Return the levels of a grey image, (height, width), 0 (black) to 255; 0 and 255 where a pixel has 1 bit.

    Raises:
        DataCorrupt: the image has colours, a palette, transparency or more than 8 bits a pixel.
    """
    if image.mode not in ("1", "L"):
        raise DataCorrupt(what=f"the image has mode {image.mode}, not grey with 1 or 8 bits a pixel", where=where)
    return np.asarray(image.convert("L"), dtype=np.uint8)
