"""What a source is, told by its first bytes and not by its name."""

import contextlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dregcli.commands import quoted
from dregcli.data.formats.archives import open_archive
from dregcli.data.formats.unpack import GZIP_MAGIC
from dregcli.data.importing.hdf5 import MAGIC as HDF5_MAGIC
from dregcli.data.importing.hdf5 import hdf5_offers
from dregcli.data.importing.npy import npy_offers, npz_offers
from dregcli.data.importing.offers import Found
from dregcli.data.importing.others import idx_offers, mat_offers
from dregcli.data.importing.picture_sources import folder_found, is_picture, zip_offers
from dregcli.data.importing.plain import Plain, Stamp, opened, unpacked
from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.shapes import Size
from dregcli.data.importing.text import text_offers
from dregcli.data.importing.text_layout import layout_of
from dregcli.data.importing.watch import Watch
from dregcli.errors import DataCorrupt, UsageError

FORMATS: Final = ".npy, .npz, .h5, .mat, IDX, .amat or .csv (text of numbers), or a folder or zip of images"
_HEAD: Final = 1024
_IDX_TYPES: Final = b"\x08\x09\x0b\x0c\x0d\x0e"


@contextmanager
def found_in(request: ImportRequest, scratch: Scratch, watch: Watch) -> Generator[Found]:
    """Look at a source. What it offers can be read until the block is left.

    Args:
        request: what is asked for: its source is a file or a folder of images.
        scratch: where unpacked content lies.
        watch: told of progress.

    Yields:
        What it is.

    Raises:
        UsageError: it is not there or may not be read.
        DataCorrupt: it is none of the formats, damaged or hostile.
    """
    path, resize = request.source, request.resize
    if path.is_dir():
        yield folder_found(path, watch, resize)
        return
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(opened(path))
        stamp = Stamp(plain, watch)
        packed = plain.head(2) == GZIP_MAGIC
        if packed:
            plain = unpacked(plain, scratch, watch)
        found = Found("", plain.where, [], stamp)
        if not _fill(found, plain, path, stack, watch, resize):
            layout = layout_of(plain)
            if layout is None:
                raise _unknown(plain.head(_HEAD), path)
            found.format, found.is_text = "text", True
            found.offers = text_offers(plain, layout, watch, found, request)
        if packed:
            found.format += ", gzipped"
        yield found


def _fill(
    found: Found, plain: Plain, path: Path, stack: contextlib.ExitStack, watch: Watch, resize: Size | None
) -> bool:
    """Tell the format by its first bytes and ask its reader; false where they are of none."""
    head = plain.head(_HEAD)
    if head.startswith(b"\x93NUMPY"):
        found.format, found.offers = ".npy", npy_offers(plain)
    elif head.startswith(b"PK"):
        archive = stack.enter_context(open_archive(plain.stream, where=plain.where))
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if names and all(name.endswith(".npy") for name in names):
            found.format, found.offers = ".npz", npz_offers(plain, archive)
        else:
            found.format, found.is_images = "zip of images", True
            found.offers = zip_offers(plain, archive, found, watch, resize)
    elif head.startswith(HDF5_MAGIC) or head[512:].startswith(HDF5_MAGIC):
        is_matlab = head.startswith(b"MATLAB 7.3")
        found.format = ".mat (version 7.3)" if is_matlab else "HDF5"
        found.offers = stack.enter_context(hdf5_offers(plain, watch, is_matlab=is_matlab))
    elif head.startswith(b"MATLAB") or path.suffix.lower() == ".mat":
        found.format, found.offers = ".mat", mat_offers(plain)
    elif head[:2] == b"\x00\x00" and head[2:3] and head[2] in _IDX_TYPES:
        found.format, found.offers = "IDX", idx_offers(plain)
    else:
        return False
    return True


def _unknown(head: bytes, path: Path) -> DataCorrupt | UsageError:
    if is_picture(path.name):
        return UsageError(
            what="this is one image, and a data set needs many",
            where=str(path),
            hint=f"name the folder: {quoted(path.parent)}",
        )
    if not head.strip():
        return DataCorrupt(what="there are no numbers in it", where=str(path), hint=f"known formats: {FORMATS}")
    return DataCorrupt(
        what=f"its format is not known: it starts with {head[:8].hex(' ')}",
        where=str(path),
        hint=f"known formats: {FORMATS}",
    )
