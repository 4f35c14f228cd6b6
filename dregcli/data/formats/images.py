"""Strict readers of image files and of zip archives of them, for content that nobody has vouched for.

Every size is looked at before anything of that size is made: an image's in its header, a member's in the archive's
directory, and again while it is unpacked, because both can lie.
"""

import io
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 1 << 24
_ENCRYPTED: Final = 0x1


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

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(content), formats=tuple(formats))
            width, height = image.size
            if width * height > max_pixels:
                raise DataCorrupt(
                    what=f"the image promises {width} x {height} pixels, more than {max_pixels:,}", where=where
                )
            image.load()
    except UnidentifiedImageError as error:
        raise DataCorrupt(what=f"not a {' or '.join(formats)} image", where=where) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataCorrupt(what=f"the image is too large: {error}", where=where) from error
    except DataCorrupt:
        raise
    # What Pillow raises on damage has no common class: OSError, SyntaxError, ValueError, zlib.error, struct.error ...
    except Exception as error:
        raise DataCorrupt(
            what=f"the image cannot be decoded: {error or type(error).__name__}", where=where
        ) from error
    return image


def grey_levels(image: "Image", *, where: str) -> NDArray[np.uint8]:
    """The levels of a grey image, (height, width), 0 (black) to 255; of 1 bit a pixel 0 and 255.

    Raises:
        DataCorrupt: it has colours, a palette, transparency or more than 8 bits a pixel.
    """
    if image.mode not in ("1", "L"):
        raise DataCorrupt(what=f"the image is of mode {image.mode}, not grey with 1 or 8 bits a pixel", where=where)
    return np.asarray(image.convert("L"), dtype=np.uint8)


@dataclass(frozen=True)
class ZipLimits:
    """The most that an honest archive holds.

    Attributes:
        count: members that are wanted.
        member_bytes: of one member, unpacked.
        total_bytes: of all, unpacked.
    """

    count: int
    member_bytes: int
    total_bytes: int


def zip_members(
    source: bytes | Path, *, where: str, limits: ZipLimits, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """Unpack members of a zip archive in memory, in the order of their paths.

    The whole directory of the archive is looked at before the first member is unpacked.

    Args:
        source: the whole file, or its path.
        where: its name, for messages.
        limits: what it may hold.
        wanted: whether the member of that path is to be unpacked; folders never are.

    Yields:
        Path inside the archive and content of each wanted member.

    Raises:
        DataCorrupt: no zip archive, truncated or damaged; a member with an absolute path, with "..", twice there,
            encrypted, a link, or packed by a rare method; a wanted member too large or too many of them, by the
            directory or in truth.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            members = [member for member in _checked(archive.infolist(), where) if wanted(member.filename)]
            _check_promises(members, where, limits)
            for member in sorted(members, key=lambda member: member.filename):
                yield member.filename, _unpacked(archive, member, where)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        raise DataCorrupt(what=f"the zip archive cannot be read: {error}", where=where) from error


def _checked(members: list[zipfile.ZipInfo], where: str) -> Iterator[zipfile.ZipInfo]:
    """The files of an archive, if none of its members is one that an honest archive of data has not."""
    seen: set[str] = set()
    for member in members:
        name = member.filename
        # ZipFile has already turned the platform's separators into "/"; a backslash or a drive stays elsewhere.
        if name.startswith(("/", "\\")) or name[1:2] == ":" or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise DataCorrupt(what=f"the zip archive has a member outside itself: '{name[:200]}'", where=where)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataCorrupt(what=f"the zip archive has a link as a member: '{name[:200]}'", where=where)
        if member.flag_bits & _ENCRYPTED:
            raise DataCorrupt(what=f"the zip archive is encrypted: '{name[:200]}'", where=where)
        # What unpacks other methods has no bound on what one step of it makes.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataCorrupt(
                what=f"the zip archive has a member that is neither stored nor deflated: '{name[:200]}'", where=where
            )
        if name in seen:
            raise DataCorrupt(what=f"the zip archive has a member twice: '{name[:200]}'", where=where)
        seen.add(name)
        if not member.is_dir():
            yield member


def _check_promises(members: list[zipfile.ZipInfo], where: str, limits: ZipLimits) -> None:
    if len(members) > limits.count:
        raise DataCorrupt(
            what=f"the zip archive holds {len(members):,} such files, more than {limits.count:,}", where=where
        )
    total = 0
    for member in members:
        total += member.file_size
        if member.file_size > limits.member_bytes:
            raise DataCorrupt(
                what=f"the zip archive promises {member.file_size:,} bytes for '{member.filename[:200]}', "
                f"more than {limits.member_bytes:,}",
                where=where,
            )
    if total > limits.total_bytes:
        raise DataCorrupt(
            what=f"the zip archive promises {total:,} bytes in all, more than {limits.total_bytes:,}", where=where
        )


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    with archive.open(member) as stream:
        # One byte past the promise tells a lie apart; at the end of the member ZipFile checks its CRC.
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise DataCorrupt(
            what=f"'{member.filename[:200]}' unpacks to another size than the {member.file_size:,} bytes promised",
            where=where,
        )
    return content
