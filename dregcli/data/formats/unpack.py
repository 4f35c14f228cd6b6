"""Unpack gzip with a bound, so that a small file cannot fill the memory."""

import gzip
import io
import zlib

from dregcli.errors import DataCorrupt

_GZIP_MAGIC = b"\x1f\x8b"


def unpack(raw: bytes, *, limit: int, where: str) -> bytes:
    """The content of a file that is gzipped or plain, told apart by its first bytes and not by its name.

    Args:
        raw: the file as it lies on the disk or came over the network.
        limit: the most bytes the content may have; never more than that (and one) is unpacked.
        where: the file's name, for messages.

    Returns:
        The unpacked content.

    Raises:
        DataCorrupt: the gzip stream is cut short or damaged, or the content is larger than ``limit``.
    """
    content = raw
    if raw.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                # One byte past the limit tells "too large" apart, and reaches the end where the CRC is checked.
                content = stream.read(limit + 1)
        except EOFError as error:
            raise DataCorrupt(what="the gzip stream ends before its end marker: truncated", where=where) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataCorrupt(what=f"the gzip stream is damaged: {error}", where=where) from error
    if len(content) > limit:
        raise DataCorrupt(what=f"the unpacked content exceeds the {limit:,} bytes it may have", where=where)
    return content
