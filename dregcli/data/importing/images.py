"""Reads the image files of a folder or zip archive: split by folders, of one size, grey or in colour."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.archives import member_content
from dregcli.data.formats.images import MAX_PIXELS, MAX_RESIZED, decode_image, decoding, resized
from dregcli.data.importing.axes import TO_GREY
from dregcli.data.importing.choose import split_named
from dregcli.data.importing.columns import listed
from dregcli.data.importing.contract import Named, Source, said, watched
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import Channels, Split

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The endings that torchvision's ``ImageFolder`` accepts."""
_FORMATS: Final = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""The formats of these endings; Pillow's decoders for other formats are never used."""
_LARGEST_FILE: Final = 256 << 20
_TOO_LARGE: Final = f"an image file is larger than {_LARGEST_FILE:,} bytes"
_RESIZE: Final = f"give all images one size with --resize HxW: then each may have up to {MAX_RESIZED:,} pixels"
_SMALLER: Final = "make this image smaller with another program"

Files = Mapping[str, Callable[[], bytes]]
"""Functions that read each file, by its path inside the folder or archive, with slashes."""


def is_picture(name: str) -> bool:
    """Whether a name is the name of an image, and not of a hidden file."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(_ENDINGS)


def folder_arrays(source: Source) -> list[Named]:
    """Return the images of a folder and of all folders in it; other files are left out.

    Raises:
        UsageError: it is not clear whether the folder is split.
        DataCorrupt: links in it form a circle, or it has no images.
    """
    folder, digests = source.request.source, dict[str, tuple[int, bytes]]()

    def complain(error: OSError) -> None:
        raise error

    def read(path: Path, name: str) -> bytes:
        # This comes before opening, because opening a pipe would wait for a writer.
        if not path.is_file():
            raise DataCorrupt(what="this is not a regular file", where=str(path))
        with path.open("rb") as stream:
            found = stream.read(_LARGEST_FILE + 1)
        if len(found) > _LARGEST_FILE:
            raise DataCorrupt(what=_TOO_LARGE, where=str(path))
        digests[name] = len(found), hashlib.sha256(found).digest()
        return found

    def stamp() -> tuple[int, str]:
        """Return the size, and the SHA-256 over the sorted names and the digests of the contents."""
        whole = hashlib.sha256(b"dreg images 1\n")
        for name in sorted(digests):
            whole.update(os.fsencode(name) + b"\0" + digests[name][1])
        return sum(size for size, _ in digests.values()), whole.hexdigest()

    files: dict[str, Callable[[], bytes]] = {}
    seen: set[tuple[int, int]] = set()
    for place, _, names in os.walk(folder, onerror=complain, followlinks=True):
        state = Path(place).stat()
        if (state.st_dev, state.st_ino) in seen:
            raise DataCorrupt(what="links lead to the same folder twice", where=place, hint="remove the link")
        seen.add((state.st_dev, state.st_ino))
        for path in (Path(place) / name for name in names):
            name = path.relative_to(folder).as_posix()
            files[name] = lambda path=path, name=name: read(path, name)
    source.format, source.stamp = "folder of images", stamp
    return _arrays(source, files)


def zip_arrays(source: Source, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> list[Named]:
    """Return the images of a zip archive; other files in it are left out.

    Raises:
        UsageError: it is not clear whether the archive is split.
        DataCorrupt: the archive has no images.
    """

    def read(info: zipfile.ZipInfo) -> bytes:
        where = f"{source.where}, {info.filename}"
        if info.file_size > _LARGEST_FILE:
            raise DataCorrupt(what=_TOO_LARGE, where=where)
        return b"".join(member_content(archive, info, where=where))

    source.format = "zip of images"
    return _arrays(source, {info.filename: lambda info=info: read(info) for info in members})


def _arrays(source: Source, files: Files) -> list[Named]:
    """Return the images as arrays: one for each folder that is named like a split, or one for all images.

    Each array has the shape (N, height, width), or (N, 3, height, width) where colours are kept.
    """
    pictures = sorted(filter(is_picture, files))
    if others := len(files) - len(pictures):
        source.note(f"{others:,} other file{'s' if others != 1 else ''} left out")
    if not pictures:
        hint = "images end in .png, .jpg, .tif, .bmp, .pgm or .webp"
        raise DataCorrupt(what="the source has no images", hint=hint)
    source.is_images, stage = True, Stage(source)

    def named(key: str, members: list[str]) -> Named:
        def decoded() -> Iterator[NDArray[np.uint8]]:
            with watched(source.watch, f"decode {key}".strip(), len(members), "images"):
                for i, name in enumerate(members, start=1):
                    yield stage.decoded(name, files[name]())
                    source.watch.update(i)

        def read() -> NDArray[Any]:
            images = source.scratch.fill(decoded())[0]
            return np.memmap(images, np.uint8, "r", shape=(len(members), *stage.shape))

        return Named(key, (), f"{len(members):,} images", read)

    return [named(key, members) for key, members in _by_split(pictures, source).items()]


def _by_split(pictures: list[str], source: Source) -> dict[str, list[str]]:
    """Group the images by their top folders, if these are named like splits; else return one group, ''."""
    for depth in (0, 1):
        groups: dict[str, list[str]] = {}
        for name in pictures:
            parts = name.split("/")
            groups.setdefault(parts[depth] if len(parts) > depth + 1 else "", []).append(name)
        splits = {key: split for key in groups if (split := split_named(key))}
        others = {key: len(groups[key]) for key in groups if key not in splits}
        if splits and others:
            # Folders for training and for testing mean a split; only one of them may be a class with that name.
            if not {Split.TRAIN, Split.TEST} <= set(splits.values()):
                beside = listed(f"{key}/" if key else "loose images" for key in others)
                raise UsageError(
                    what=f"some folders are named like a split ({listed(f'{key}/' for key in splits)}), but beside "
                    f"them there are others ({beside}): it is not clear whether the source is split",
                    hint="put the images into train/ and test/ (and valid/), or rename the folder so that all images "
                    "are split by seed",
                )
            counts = {key: f"{count:,} image{'s' if count != 1 else ''}" for key, count in others.items()}
            left = (f"{key}/ ({count})" if key else f"{count} in no folder" for key, count in counts.items())
            source.note(f"left out: {listed(left)}")
        if splits:
            return {key: groups[key] for key in splits}
        # An archive often has one top folder that contains everything.
        if len({name.split("/")[0] for name in pictures}) > 1:
            break
    deeper = {f"{part}/" for name in pictures for part in name.split("/")[:-1] if split_named(part)}
    if deeper:
        source.note(
            f"all images were put together: deeper folders ({listed(sorted(deeper))}) were not taken as splits"
        )
    return {"": pictures}


class Stage:
    """Decodes images one by one, and records what it did to them.

    Args:
        source: its request gives the wanted size and colours; it receives the notes.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._first = source, ""
        self._size, self._colours = source.request.resize, source.request.channels is Channels.KEEP
        self.shape: tuple[int, ...] = ()

    def decoded(self, name: str, content: bytes) -> NDArray[np.uint8]:
        """Return the pixels of an image file, in the same shape as all other images.

        Raises:
            DataCorrupt: the file is damaged or hostile, holds several images, or differs in size from the first one.
        """
        where = f"{self._source.where}, {name}"
        with decoding(where):
            if not content:
                raise DataCorrupt(what="an image file is empty", where=where)
            most, advice = (MAX_PIXELS, _RESIZE) if self._size is None else (MAX_RESIZED, _SMALLER)
            image = decode_image(content, where=where, max_pixels=most, formats=_FORMATS, if_larger=advice)
            if (frames := getattr(image, "n_frames", 1)) != 1:
                raise DataCorrupt(what=f"the file holds {frames} images, not one", where=where)
            plain = self._plain(image, where)
        if self._size is not None and (plain.height, plain.width) != self._size:
            self._source.note(f"resized to {said(self._size)}, with antialiasing")
            plain = resized(plain, *self._size)
        pixels = np.asarray(plain, dtype=np.uint8)
        pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) if self._colours else pixels
        self._first, self.shape = self._first or name, self.shape or pixels.shape
        if pixels.shape != self.shape:
            size, first = said(pixels.shape[-2:]), said(self.shape[-2:])
            raise DataCorrupt(
                what=f"the images have different sizes: {name} is {size}, {self._first} is {first} (height x width)",
                hint=f"give all images one size with --resize {first.replace(' ', '')}",
            )
        return pixels

    def _plain(self, image: "Image", where: str) -> "Image":
        """Turn an image upright, and convert it to one 8-bit channel, or to three where colours are kept."""
        from PIL import Image

        # PNG and PGM have up to 16 bits, which Pillow also reads into 32.
        is_wide = image.mode == "I" and image.format in ("PNG", "PPM")
        # One of the turns is the number 0.
        if (turn := _turn(image)) is not None:
            self._source.note("images were turned upright, as their EXIF orientation says")
            image = image.transpose(turn)
        if is_wide or image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
            # Pillow's own conversion would clip values above 255.
            self._source.note("16-bit grey levels were reduced to 8 bits")
            levels = np.asarray(image).astype(np.uint32)
            image = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
        if image.mode in ("I", "F"):
            what = f"the image has 32 bits a pixel (mode {image.mode}), and it is not known which value is white"
            hint = "convert the images to 8 bits, or import them as an array (.npy)"
            raise DataCorrupt(what, where=where, hint=hint)
        if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            if cast("tuple[int, int]", image.getchannel("A").getextrema())[0] < 255:
                self._source.note("transparent pixels were shown on white")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
        if image.mode not in ("1", "L"):
            red, green, blue = (band.tobytes() for band in image.convert("RGB").split())
            if not red == green == blue:
                self._source.has_colours = True
                self._source.note(*(() if self._colours else (TO_GREY, "--channels keep keeps the colours")))
        return image.convert("RGB" if self._colours else "L")


def _turn(image: "Image") -> "Transpose | None":
    """Return how an image is turned upright: a camera stores what the sensor saw, and records which side is up."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    # What Pillow raises on odd EXIF depends on the damaged byte. The pixels are whole without it.
    except Exception:
        return None
