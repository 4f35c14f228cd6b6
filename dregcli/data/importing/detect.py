"""Recognises a source by its first bytes, not by its name; opens it once, digests it, and notices changes."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from dregcli.commands import command, quoted
from dregcli.data.formats.archives import checked_members, open_archive
from dregcli.data.formats.unpack import GZIP_MAGIC, gunzipped
from dregcli.data.importing.contract import Scratch, Source, Watch, changed_meanwhile, check_promise, watched
from dregcli.data.importing.foreign import H5AD, TORCH, foreign, refusal
from dregcli.data.importing.hdf5 import hdf5_arrays
from dregcli.data.importing.idx import idx_arrays
from dregcli.data.importing.images import folder_arrays, is_picture, zip_arrays
from dregcli.data.importing.mat import mat_arrays
from dregcli.data.importing.npy import npy_arrays, npz_arrays
from dregcli.data.importing.request import ImportRequest
from dregcli.data.importing.text import layout_of, text_arrays
from dregcli.data.owner import HDF5_MAGIC
from dregcli.errors import DataCorrupt, DregError, UsageError

_FORMATS: Final = ".npy, .npz, .h5, .mat, IDX, .amat or .csv (text of numbers), or a folder or zip of images"
_HEAD: Final = 1024
_IDX_TYPES: Final = b"\x08\x09\x0b\x0c\x0d\x0e"
_PIECE: Final = 1 << 20


def found_in(request: ImportRequest, data_dir: Path, stack: ExitStack, watch: Watch) -> Source:
    """Open a source and find its arrays, which can be read as long as the stack is open.

    Args:
        request: the user's request; its source is a file or a folder of images.
        data_dir: the folder for unpacked content.
        stack: closes what is opened here.
        watch: receives the progress.

    Raises:
        UsageError: the source does not exist or cannot be read.
        DataCorrupt: the source has no known format, or is damaged or hostile.
    """
    path, source = request.source, Source(request, Scratch(data_dir, stack), watch)
    if path.is_dir():
        if other := foreign(path):
            raise refusal(other, source)
        source.arrays = folder_arrays(source)
        return source
    source.stream = stack.enter_context(_opened(path))
    size = source.size = os.fstat(source.stream.fileno()).st_size
    if not size:
        raise DataCorrupt(what="the source is empty", hint="write or fetch it again")
    source.stamp = _stamp(source)
    if is_packed := source.head(2) == GZIP_MAGIC:
        with watched(watch, "unpack", size, "bytes"):
            source.stream, source.size = source.scratch.fill(_unpacked(source), packed=size)
        if not source.size:
            raise DataCorrupt(what="the packed content of the source is empty")
    head = source.head(_HEAD)
    if not _read(source, head):
        raise refusal(other, source) if (other := foreign(path, head)) else _unknown(head, path)
    source.format += ", gzipped" * is_packed
    return source


def _opened(path: Path) -> IO[bytes]:
    try:
        # This comes before opening, because opening a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(what="the source is neither a file nor a folder", hint="name a file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        hint = command("data", "import", "FILE", "--name", "NAME")
        raise UsageError(what=f"the source cannot be read: {reason}", hint=hint) from error


def _unpacked(source: Source) -> Iterator[bytes]:
    stream = source.stream
    for piece in gunzipped(stream, where=source.where):
        yield piece
        source.watch.update(stream.tell())


def _stamp(source: Source) -> Callable[[], tuple[int, str]]:
    """Digest a source; the returned function checks that it has not changed since, and gives size and digest."""
    stream = source.stream

    def state() -> tuple[int, int]:
        found = os.fstat(stream.fileno())
        return found.st_size, found.st_mtime_ns

    before, digest = state(), hashlib.sha256()
    with watched(source.watch, "digest", source.size, "bytes"):
        for piece in iter(lambda: stream.read(_PIECE), b""):
            digest.update(piece)
            source.watch.update(stream.tell())

    def stamp() -> tuple[int, str]:
        if state() != before:
            raise changed_meanwhile()
        return before[0], digest.hexdigest()

    return stamp


def _read(source: Source, head: bytes) -> bool:
    """Recognise the format by the first bytes and call its reader; return False for an unknown format."""
    path = source.request.source
    if head.startswith(b"\x93NUMPY"):
        source.format, source.arrays = ".npy", npy_arrays(source)
    elif head.startswith((b"PK\3\4", b"PK\5\6")):
        archive = source.scratch.stack.enter_context(open_archive(source.stream, where=source.where))
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        is_npz = bool(names) and all(name.endswith(".npy") for name in names)
        other = TORCH if any(name.endswith("/data.pkl") for name in names) else foreign(path)
        if other and not is_npz:
            raise refusal(other, source)
        members = checked_members(archive, where=source.where)
        total = 0
        for member in members:
            # Several members may share the same packed bytes, so the sum is compared with the whole file.
            total += member.file_size
            check_promise(member.file_size, member.compress_size, where=f"{source.where}, {member.filename!r}")
            check_promise(total, source.size)
        if is_npz:
            source.format, source.arrays = ".npz", npz_arrays(source, archive, members)
        else:
            source.arrays = zip_arrays(source, archive, members)
    elif HDF5_MAGIC in (head[:8], head[512:520]):
        is_matlab = head.startswith(b"MATLAB 7.3")
        source.format = ".mat (version 7.3)" if is_matlab else "HDF5"
        source.arrays = hdf5_arrays(source, is_matlab=is_matlab)
        has_matrix = any(each.key == "X" and len(each.shape) == 2 for each in source.arrays)
        if not has_matrix and foreign(path) is H5AD:
            raise refusal(H5AD, source)
    elif head.startswith(b"MATLAB") and head[126:128] in (b"IM", b"MI"):
        source.format, source.arrays = ".mat", mat_arrays(source)
    elif head[:2] == b"\x00\x00" and head[2:3] and head[2] in _IDX_TYPES:
        source.format, source.arrays = "IDX", idx_arrays(source)
    # A name says less than numbers: programs write text as .xls, and MATLAB as .mat.
    elif layout := layout_of(source):
        source.format, source.is_text, source.arrays = "text", True, text_arrays(source, layout)
    # Version 4 begins with no mark.
    elif path.suffix.lower() == ".mat":
        source.format, source.arrays = ".mat", mat_arrays(source)
    else:
        return False
    return True


def _unknown(head: bytes, path: Path) -> DregError:
    if is_picture(path.name):
        return UsageError(
            "this is one image, and a data set needs many", hint=f"name the folder: {quoted(path.parent)}"
        )
    if not head.strip():
        return DataCorrupt("the source has no numbers", hint=f"known formats: {_FORMATS}")
    return DataCorrupt(
        f"its format is not known: it starts with {head[:8].hex(' ')}", hint=f"known formats: {_FORMATS}"
    )
