"""Zip archives from anywhere: what may be in them, and content that never exceeds what was promised."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from dregcli.data.importing.limits import check_promise
from dregcli.data.importing.plain import Plain
from dregcli.errors import DataCorrupt

_PIECE: Final = 1 << 20
_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def open_archive(plain: Plain) -> zipfile.ZipFile:
    """The archive in a file.

    Raises:
        DataCorrupt: its directory is damaged.
    """
    try:
        return zipfile.ZipFile(plain.stream)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise DataCorrupt(
            what=f"the zip archive is damaged or cut short ({error})",
            where=plain.where,
            hint="fetch or make it again",
        ) from error


def checked_entries(archive: zipfile.ZipFile, plain: Plain) -> list[zipfile.ZipInfo]:
    """Its files, folders left out.

    Raises:
        DataCorrupt: a name leaves the archive, is there twice, or is that of a link; an entry is encrypted or
            packed in an unusual way; or more would come out than can be honest.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        where = f"{plain.where}, {info.filename!r}"
        if reason := _why_not(info):
            raise DataCorrupt(what=f"the archive {reason}", where=where)
        if info.is_dir():
            continue
        if info.filename in found:
            raise DataCorrupt(what="the archive has two files of one name", where=where)
        found[info.filename] = info
        # Several entries may share the same packed bytes, so it is the sum that is held against the whole file.
        total += info.file_size
        check_promise(info.file_size, info.compress_size, where=where)
        check_promise(total, plain.size, where=plain.where)
    return list(found.values())


def _why_not(info: zipfile.ZipInfo) -> str | None:
    name = info.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
        return "has a path that leaves it"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "has a link or another special file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return f"packs in a way that is not known (method {info.compress_type})"
    return None


def entry_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, where: str) -> Iterator[bytes]:
    """The content of an entry piece by piece, checked against its CRC at the end.

    Raises:
        DataCorrupt: it is damaged, or longer or shorter than the directory says.
    """
    size = 0
    try:
        with archive.open(info) as stream:
            while piece := stream.read(_PIECE):
                size += len(piece)
                if size > info.file_size:
                    break
                yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise DataCorrupt(what=f"the archive is damaged ({error})", where=where) from error
    if size != info.file_size:
        raise DataCorrupt(what=f"{size:,} bytes come out, and {info.file_size:,} were promised", where=where)
