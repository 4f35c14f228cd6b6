"""Where images to import lie: the files of a folder or a zip archive."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, cast

from dregcli.data.formats.archives import member_content
from dregcli.data.importing.archive import checked_entries
from dregcli.data.importing.offers import Found, Offer
from dregcli.data.importing.pictures import Picture, Wanted, picture_offers
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.scratch import reading
from dregcli.data.importing.watch import Watch
from dregcli.errors import DataCorrupt

_LARGEST_FILE: Final = 256 << 20


def is_picture(name: str) -> bool:
    """Whether a name ends as torchvision's ``ImageFolder`` wants."""
    # Imported here: torchvision takes seconds.
    from torchvision.datasets.folder import IMG_EXTENSIONS

    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(cast("tuple[str, ...]", IMG_EXTENSIONS))


def folder_found(folder: Path, watch: Watch, wanted: Wanted) -> Found:
    """A folder of images as a source; other files in it are left out.

    Args:
        folder: looked through with all folders in it.
        watch: told of progress.
        wanted: what the images are brought to.

    Raises:
        UsageError: it is not clear whether it is split.
        DataCorrupt: it cannot be read, or there are no images in it.
    """
    pictures, others = _pictures_in(folder)
    digests: dict[str, bytes] = {}
    size = 0

    def seen(picture: Picture, content: bytes) -> None:
        nonlocal size
        digests[picture.name] = hashlib.sha256(content).digest()
        size += len(content)

    notes = _others_note(others)
    offers = picture_offers(pictures, where=str(folder), wanted=wanted, notes=notes, watch=watch, seen=seen)

    def stamp() -> tuple[int, str]:
        return size, _digest((picture for picture in pictures if picture.name in digests), digests)

    return Found("folder of images", str(folder), offers, stamp, notes, is_images=True)


def zip_offers(plain: Plain, archive: zipfile.ZipFile, found: Found, watch: Watch, wanted: Wanted) -> list[Offer]:
    """The images of a zip archive; other files in it are left out.

    Args:
        plain: the file.
        archive: the same, opened.
        found: the source, which gets notes.
        watch: told of progress.
        wanted: what the images are brought to.

    Raises:
        UsageError: it is not clear whether it is split.
        DataCorrupt: it is damaged or hostile, or there are no images in it.
    """
    entries = checked_entries(archive, plain)

    def picture(info: zipfile.ZipInfo) -> Picture:
        where = f"{plain.where}, {info.filename}"
        if info.file_size > _LARGEST_FILE:
            raise DataCorrupt(what=f"an image file is larger than {_LARGEST_FILE:,} bytes", where=where)
        return Picture(info.filename, lambda: b"".join(member_content(archive, info, where=where)))

    pictures = [picture(info) for info in entries if is_picture(info.filename)]
    found.notes += _others_note(len(entries) - len(pictures))
    return picture_offers(
        sorted(pictures, key=lambda picture: picture.name),
        where=plain.where,
        wanted=wanted,
        notes=found.notes,
        watch=watch,
        seen=lambda _picture, _content: None,
    )


def _pictures_in(folder: Path) -> tuple[list[Picture], int]:
    """The images under a folder, by path, and how many other files there are.

    Raises:
        DataCorrupt: the folder cannot be read, or links in it go round in a circle.
    """

    def complain(error: OSError) -> None:
        raise error

    def reader(path: Path) -> Callable[[], bytes]:
        def read() -> bytes:
            with reading(str(path)):
                # Asked before it is opened: opening a pipe would wait for whoever writes to it.
                if not path.is_file():
                    raise DataCorrupt(what="it is not a file", where=str(path))
                with path.open("rb") as stream:
                    content = stream.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                raise DataCorrupt(what=f"an image file is larger than {_LARGEST_FILE:,} bytes", where=str(path))
            return content

        return read

    found: list[Picture] = []
    others = 0
    seen: set[tuple[int, int]] = set()
    with reading(str(folder)):
        for place, _, names in os.walk(folder, onerror=complain, followlinks=True):
            state = Path(place).stat()
            if (state.st_dev, state.st_ino) in seen:
                raise DataCorrupt(what="links lead to the same folder twice", where=place, hint="remove the link")
            seen.add((state.st_dev, state.st_ino))
            for name in names:
                path = Path(place) / name
                inside = path.relative_to(folder).as_posix()
                if is_picture(inside):
                    found.append(Picture(inside, reader(path)))
                else:
                    others += 1
    return sorted(found, key=lambda picture: picture.name), others


def _digest(pictures: Iterable[Picture], digests: dict[str, bytes]) -> str:
    """SHA-256 over the sorted names and the digests of the contents."""
    whole = hashlib.sha256(b"dreg images 1\n")
    for picture in pictures:
        whole.update(os.fsencode(picture.name) + b"\0" + digests[picture.name])
    return whole.hexdigest()


def _others_note(count: int) -> list[str]:
    return [f"{count:,} other file{'s' if count != 1 else ''} left out"] if count else []
