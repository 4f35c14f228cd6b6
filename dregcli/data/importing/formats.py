"""What a source is, told by its first bytes and not by its name."""

import contextlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dregcli.commands import quoted
from dregcli.data.formats.archives import open_archive
from dregcli.data.formats.unpack import GZIP_MAGIC
from dregcli.data.importing.foreign import H5AD, TORCH, Foreign, foreign, refusal
from dregcli.data.importing.hdf5 import MAGIC as HDF5_MAGIC
from dregcli.data.importing.hdf5 import hdf5_offers
from dregcli.data.importing.npy import npy_offers, npz_offers
from dregcli.data.importing.offers import Found
from dregcli.data.importing.others import idx_offers, mat_offers
from dregcli.data.importing.picture_sources import folder_found, is_picture, zip_offers
from dregcli.data.importing.pictures import Wanted
from dregcli.data.importing.plain import Plain, Stamp, opened, unpacked
from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.text import text_offers
from dregcli.data.importing.text_layout import layout_of
from dregcli.data.importing.watch import Watch
from dregcli.errors import DataCorrupt, UsageError

FORMATS: Final = ".npy, .npz, .h5, .mat, IDX, .amat or .csv (text of numbers), or a folder or zip of images"
_HEAD: Final = 1024
_IDX_TYPES: Final = b"\x08\x09\x0b\x0c\x0d\x0e"


class _IsForeign(Exception):
    """The source is of a format that is not imported."""

    def __init__(self, format: Foreign) -> None:
        super().__init__(format.what)
        self.format = format


@contextmanager
def found_in(
    request: ImportRequest, scratch: Scratch, watch: Watch, *, wanted: Wanted, then: Callable[[str], str]
) -> Generator[Found]:
    """Look at a source. What it offers can be read until the block is left.

    Args:
        request: what is asked for: its source is a file or a folder of images.
        scratch: where unpacked content lies.
        watch: told of progress.
        wanted: what images are brought to.
        then: the command that imports another file in its place.

    Yields:
        What it is.

    Raises:
        UsageError: it is not there or may not be read.
        DataCorrupt: it is none of the formats, damaged or hostile.
    """
    path = request.source
    if path.is_dir():
        if other := foreign(path, b""):
            raise refusal(other, path, then)
        yield folder_found(path, watch, wanted)
        return
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(opened(path))
        stamp = Stamp(plain, watch)
        packed = plain.head(2) == GZIP_MAGIC
        if packed:
            plain = unpacked(plain, scratch, watch)
        found = Found("", plain.where, [], stamp)
        try:
            if not _fill(found, plain, path, stack, watch, wanted):
                layout = layout_of(plain)
                if layout is None:
                    raise _unknown(plain.head(_HEAD), path)
                found.format, found.is_text = "text", True
                found.offers = text_offers(plain, layout, watch, found, request)
        except _IsForeign as other:
            raise refusal(other.format, path, then) from None
        if packed:
            found.format += ", gzipped"
        yield found


def _fill(found: Found, plain: Plain, path: Path, stack: contextlib.ExitStack, watch: Watch, wanted: Wanted) -> bool:
    """Tell the format by its first bytes and ask its reader; false where they are of none, as those of a text."""
    head = plain.head(_HEAD)
    if head.startswith(b"\x93NUMPY"):
        found.format, found.offers = ".npy", npy_offers(plain)
    elif head.startswith(b"PK"):
        archive = stack.enter_context(open_archive(plain.stream, where=plain.where))
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if names and all(name.endswith(".npy") for name in names):
            found.format, found.offers = ".npz", npz_offers(plain, archive)
        elif any(name.endswith("/data.pkl") for name in names):
            raise _IsForeign(TORCH)
        elif other := foreign(path, b""):
            raise _IsForeign(other)
        else:
            found.format, found.is_images = "zip of images", True
            found.offers = zip_offers(plain, archive, found, watch, wanted)
    elif head.startswith(HDF5_MAGIC) or head[512:].startswith(HDF5_MAGIC):
        is_matlab = head.startswith(b"MATLAB 7.3")
        found.format = ".mat (version 7.3)" if is_matlab else "HDF5"
        found.offers = stack.enter_context(hdf5_offers(plain, watch, is_matlab=is_matlab))
        has_matrix = any(offer.key == "X" and len(offer.shape) == 2 for offer in found.offers)
        if not has_matrix and foreign(path, b"") is H5AD:
            raise _IsForeign(H5AD)
    elif head.startswith(b"MATLAB") or path.suffix.lower() == ".mat":
        found.format, found.offers = ".mat", mat_offers(plain)
    elif head[:2] == b"\x00\x00" and head[2:3] and head[2] in _IDX_TYPES:
        found.format, found.offers = "IDX", idx_offers(plain)
    elif other := foreign(path, head):
        raise _IsForeign(other)
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
