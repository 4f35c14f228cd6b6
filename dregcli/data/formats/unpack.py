"""Unpacks gzip and zlib with a limit, so that a small file cannot fill the memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, Final

from dregcli.errors import DataCorrupt

GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE: Final = 1 << 20


def unpack(raw: bytes, *, limit: int, where: str) -> bytes:
    """Return the content of a file that is gzipped or plain; its first bytes decide, not its name.

    Args:
        raw: the bytes of the file, from the disk or the network.
        limit: the most bytes that the content may have; at most one piece more than that is unpacked.
        where: the file's name, for messages.

    Returns:
        The unpacked content.

    Raises:
        DataCorrupt: the gzip stream is cut short or damaged, or the content is larger than ``limit``.
    """
    content = bytearray()
    # Unpacks to the end, where the CRC is checked, or at most one piece past the limit.
    for piece in gunzipped(io.BytesIO(raw), where=where) if raw.startswith(GZIP_MAGIC) else (raw,):
        content += piece
        if len(content) > limit:
            raise DataCorrupt(what=f"the unpacked content exceeds the {limit:,} bytes it may have", where=where)
    return bytes(content)


def inflated_size(packed: bytes, *, limit: int) -> int:
    """Return the number of bytes that a zlib stream unpacks to; just above ``limit`` where there are more.

    Args:
        packed: the stream, which may be cut short.
        limit: limit on the bytes; at most one byte or one piece more is unpacked.

    Raises:
        zlib.error: the stream is damaged.
    """
    stream, count, rest = zlib.decompressobj(), 0, packed
    while count <= limit and not stream.eof:
        piece = stream.decompress(rest, min(_PIECE, limit + 1))
        rest = stream.unconsumed_tail
        if not piece and not rest:
            break
        count += len(piece)
    return count


def gunzipped(packed: IO[bytes], *, where: str) -> Iterator[bytes]:
    """Yield the content of a gzip stream, piece by piece.

    Args:
        packed: an open file, at the beginning of the stream.
        where: its name, for messages.

    Raises:
        DataCorrupt: the stream is cut short or damaged.
    """
    try:
        with gzip.GzipFile(fileobj=packed, mode="rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except EOFError as error:
        raise DataCorrupt(what="the gzip stream ends before its end marker: truncated", where=where) from error
    except (OSError, zlib.error) as error:
        raise DataCorrupt(what=f"the gzip stream is damaged: {error}", where=where) from error
