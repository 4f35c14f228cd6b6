"""Image files of a folder or archive as arrays: split by their folders, decoded, of one size, grey or in colour."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.images import decode_image, decoding
from dregcli.data.importing.colours import TO_GREY
from dregcli.data.importing.keys import split_named
from dregcli.data.importing.offers import Offer
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.shapes import Size
from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt, UsageError
from dregcli.names import Split

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN: Final = 12
_FORMATS: Final = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What torchvision's endings stand for; of other formats Pillow's decoders are never asked."""


@dataclass(frozen=True)
class Picture:
    """An image file.

    Attributes:
        name: its path inside the folder or archive, with slashes.
        content: reads it.
    """

    name: str
    content: Callable[[], bytes]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of images.

    Attributes:
        size: to which they are resized; where not given, they must have one size.
        colours: whether these are kept.
    """

    size: Size | None = None
    colours: bool = False


def picture_offers(
    pictures: list[Picture],
    *,
    where: str,
    wanted: Wanted,
    notes: list[str],
    watch: Watch,
    seen: Callable[[Picture, bytes], None],
) -> list[Offer]:
    """The images as arrays: one for each folder named as a split, or one of all.

    Each is of shape (N, height, width), or where colours are kept (N, 3, height, width).

    What lies beside folders for both training and testing is left out.

    Args:
        pictures: sorted by name.
        where: the folder or archive.
        wanted: what they are brought to.
        notes: gets what was done to them, and what was left out.
        watch: told of progress.
        seen: called with every image and its content.

    Raises:
        DataCorrupt: there is none.
        UsageError: some folders are named as splits, and it is not clear whether they are.
    """
    if not pictures:
        raise DataCorrupt(
            what="there are no images in it", where=where, hint="images end in .png, .jpg, .tif, .bmp, .pgm or .webp"
        )
    stage = _Stage(where, wanted.size, notes, colours=wanted.colours)

    def offer(key: str, members: list[Picture]) -> Offer:
        def pieces() -> Iterator[NDArray[np.uint8]]:
            with watched(watch, f"decode {key}".strip(), len(members), "images"):
                for i, picture in enumerate(members, start=1):
                    content = picture.content()
                    seen(picture, content)
                    yield stage.decoded(picture.name, content)
                    watch.update(i)

        def read(scratch: Scratch) -> NDArray[Any]:
            images = pieces()
            first = next(images)

            def all_of_them() -> Iterator[NDArray[np.uint8]]:
                yield first
                yield from images

            return scratch.array(all_of_them(), (-1, *first.shape), np.dtype(np.uint8), where=where)

        return Offer(key, (), f"{len(members):,} images", read)

    return [offer(key, members) for key, members in _by_split(pictures, where, notes).items()]


def _by_split(pictures: list[Picture], where: str, notes: list[str]) -> dict[str, list[Picture]]:
    """The images by their top folder, where top folders are named as splits; else all under an empty name."""
    for depth in (0, 1):
        groups: dict[str, list[Picture]] = {}
        for picture in pictures:
            parts = picture.name.split("/")
            groups.setdefault(parts[depth] if len(parts) > depth + 1 else "", []).append(picture)
        named = {key: split for key in groups if (split := split_named(key))}
        if len(named) == len(groups):
            return groups
        if named:
            return _kept(groups, named, where, notes)
        # An archive often holds one folder that holds everything.
        if len({picture.name.split("/")[0] for picture in pictures}) > 1:
            break
    deeper = {part for picture in pictures for part in picture.name.split("/")[:-1] if split_named(part)}
    if deeper:
        notes.append(f"all images were put together: {_folders(deeper)} further down were not taken as splits")
    return {"": pictures}


def _kept(
    groups: dict[str, list[Picture]], named: dict[str, Split], where: str, notes: list[str]
) -> dict[str, list[Picture]]:
    """The folders named as splits, where other images lie beside them."""
    others = {key: members for key, members in groups.items() if key not in named}
    # Training and testing together are no coincidence; one of them alone may be a class of images called so.
    if not {Split.TRAIN, Split.TEST} <= set(named.values()):
        beside = " and ".join(
            ([_folders(key for key in others if key)] if any(others) else []) + (["loose images"] * ("" in others))
        )
        raise UsageError(
            what=f"some folders are named as a split is ({_folders(named)}), and beside them there are others "
            f"({beside}): it is not clear whether the source is split",
            where=where,
            hint="put the images into train/ and test/ (and valid/), or rename the folder so that all are split by "
            "seed",
        )
    told = [
        f"{key}/ ({_images(members)})" if key else f"{_images(members)} in no folder"
        for key, members in others.items()
    ]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    notes.append(f"left out: {', '.join(told[:_SHOWN])}{more}")
    return {key: members for key, members in groups.items() if key in named}


def _folders(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(f"{name}/" for name in ordered[:_SHOWN]) + more


def _images(members: list[Picture]) -> str:
    return f"{len(members):,} image{'s' if len(members) != 1 else ''}"


class _Stage:
    """Decodes images one by one, and remembers what it did to them."""

    def __init__(self, where: str, size: Size | None, notes: list[str], *, colours: bool = False) -> None:
        self._where, self._size, self._notes, self._colours = where, size, notes, colours
        self._first: tuple[str, Size] | None = None

    def decoded(self, name: str, content: bytes) -> NDArray[np.uint8]:
        where = f"{self._where}, {name}"
        if not content:
            raise DataCorrupt(what="an image file is empty", where=where)
        image = decode_image(content, where=where, formats=_FORMATS)
        with decoding(where):
            if (frames := getattr(image, "n_frames", 1)) != 1:
                raise DataCorrupt(what=f"the file holds {frames} images, not one", where=where)
            plain = self._plain(self._upright(image), where)
        if self._size is not None and (plain.height, plain.width) != self._size:
            from torchvision.transforms import functional

            self._note(f"resized to {self._size[0]} x {self._size[1]}, with antialiasing")
            plain = cast("Any", functional).resize(plain, list(self._size), antialias=True)
        found = (plain.height, plain.width)
        self._first = self._first or (name, found)
        if found != self._first[1]:
            (other, (height, width)) = self._first
            raise DataCorrupt(
                what=f"the images are not of one size: {name} is {found[0]} x {found[1]}, {other} is "
                f"{height} x {width} (height x width)",
                where=self._where,
                hint=f"bring them to one with --resize {height}x{width}",
            )
        pixels = np.asarray(plain, dtype=np.uint8)
        return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) if self._colours else pixels

    def _upright(self, image: "Image") -> "Image":
        """Cameras keep the image as the sensor had it, and say which side is up."""
        from PIL import ExifTags, ImageOps

        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        self._note("images were turned upright, as their EXIF orientation says")
        return ImageOps.exif_transpose(image)

    def _plain(self, image: "Image", where: str) -> "Image":
        """One 8-bit channel, or where colours are kept three of them, whatever the image has."""
        from PIL import Image

        if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
            # Pillow's own conversion would cut off all above 255.
            self._note("16-bit grey levels were reduced to 8 bits")
            levels = np.asarray(image).astype(np.uint32)
            image = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
        if image.mode in ("I", "F"):
            raise DataCorrupt(
                what=f"the image has 32 bits a pixel (mode {image.mode}), and no white is known for them",
                where=where,
                hint="convert the images to 8 bits, or import them as an array (.npy)",
            )
        if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            lowest, _ = cast("tuple[int, int]", image.getchannel("A").getextrema())
            if lowest < 255:
                self._note("transparent pixels were laid over white")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
        if self._colours:
            return image.convert("RGB")
        if image.mode not in ("1", "L"):
            coloured = image.convert("RGB")
            red, green, blue = coloured.split()
            if red.tobytes() != green.tobytes() or red.tobytes() != blue.tobytes():
                self._note(TO_GREY)
                self._note("--channels keep keeps the colours")
        return image.convert("L")

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
