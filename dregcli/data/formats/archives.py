"""Reads zip archives that may be hostile: only allowed members, and never more content than the archive promises.

Nothing is ever unpacked to the disk. The whole directory is checked before a member is unpacked, and each member is
checked again while it is unpacked, because both can be wrong.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from dregcli.errors import DataCorrupt

_PIECE: Final = 1 << 20
_ENCRYPTED: Final = 0x1
_NAME_SHOWN: Final = 200

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # zipfile raises it for a compression that it does not know
    RuntimeError,
    OSError,
    ValueError,
)
"""The errors that ``zipfile`` raises on truncated, altered or hostile archives."""


@contextmanager
def _damage_reported(where: str) -> Generator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataCorrupt(
            what=f"the zip archive cannot be read: {error}", where=where, hint="fetch or make it again"
        ) from error


def open_archive(source: bytes | Path | IO[bytes], *, where: str) -> zipfile.ZipFile:
    """Open the zip archive in a file.

    Raises:
        DataCorrupt: the file is not a zip archive, or its directory is damaged.
    """
    with _damage_reported(where):
        return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)


def checked_members(archive: zipfile.ZipFile, *, where: str) -> list[zipfile.ZipInfo]:
    """Return the files of an archive, after checking that all members are safe to read.

    Args:
        archive: the open archive.
        where: its name, for messages.

    Raises:
        DataCorrupt: a member has an absolute path or "..", occurs twice, is encrypted or a link, or is packed with a
            rare method.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if reason := _why_not(member):
            raise DataCorrupt(what=f"the zip archive {reason}: '{name[:_NAME_SHOWN]}'", where=where)
        if name in found:
            raise DataCorrupt(what=f"the zip archive has a member twice: '{name[:_NAME_SHOWN]}'", where=where)
        found[name] = member
    return [member for member in found.values() if not member.is_dir()]


def _why_not(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    # ZipFile has already changed the platform's separators to "/"; a backslash or a drive may still be there.
    if name.startswith(("/", "\\")) or name[1:2] == ":" or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        return "has a member with a path outside the archive"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "has a link or another special file as a member"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    # Decompressors of other methods have no limit on what one step produces.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "has a member that is neither stored nor deflated"
    return None


def member_content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, where: str) -> Iterator[bytes]:
    """Yield the content of a member piece by piece; its CRC is checked at the end.

    Args:
        archive: the open archive.
        member: one of ``checked_members``.
        where: the member's name, for messages.

    Raises:
        DataCorrupt: the member is damaged, or longer or shorter than the directory says.
    """
    size = 0
    with _damage_reported(where), archive.open(member) as stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            if size > member.file_size:
                break
            yield piece
    if size != member.file_size:
        raise DataCorrupt(
            what=f"'{member.filename[:_NAME_SHOWN]}' does not unpack to the {member.file_size:,} bytes that the "
            "archive promises",
            where=where,
        )


@dataclass(frozen=True)
class ZipLimits:
    """Limits on the content of an archive.

    Attributes:
        count: the most wanted members.
        member_bytes: the most bytes of one member, unpacked.
        total_bytes: the most bytes of all wanted members, unpacked.
    """

    count: int
    member_bytes: int
    total_bytes: int


def zip_members(
    source: bytes | Path, *, where: str, limits: ZipLimits, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """Unpack members of a published archive in memory, in the order of their paths.

    Args:
        source: the whole file, or its path.
        where: its name, for messages.
        limits: limits on its content.
        wanted: whether to unpack the member with this path; folders are never unpacked.

    Yields:
        Path inside the archive and content of each wanted member.

    Raises:
        DataCorrupt: as for the functions above; or a wanted member is too large, or there are too many of them.
    """
    with open_archive(source, where=where) as archive:
        members = [member for member in checked_members(archive, where=where) if wanted(member.filename)]
        _check_promises(members, where, limits)
        for member in sorted(members, key=lambda member: member.filename):
            yield member.filename, b"".join(member_content(archive, member, where=where))


def _check_promises(members: list[zipfile.ZipInfo], where: str, limits: ZipLimits) -> None:
    if len(members) > limits.count:
        raise DataCorrupt(
            what=f"the zip archive holds {len(members):,} such files, more than {limits.count:,}", where=where
        )
    for member in members:
        if member.file_size > limits.member_bytes:
            raise DataCorrupt(
                what=f"the zip archive promises {member.file_size:,} bytes for '{member.filename[:_NAME_SHOWN]}', "
                f"more than {limits.member_bytes:,}",
                where=where,
            )
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise DataCorrupt(
            what=f"the zip archive promises {total:,} bytes in all, more than {limits.total_bytes:,}", where=where
        )
