"""A source that is one file: opened once, digested, unpacked from gzip if need be, and watched for changes."""

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from dregcli.commands import command
from dregcli.data.formats.unpack import gunzipped
from dregcli.data.importing.limits import check_promise
from dregcli.data.importing.scratch import Scratch, reading, size_of
from dregcli.data.importing.watch import Watch, watched
from dregcli.errors import DataCorrupt, UsageError

_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Plain:
    """Unpacked content in an open file.

    Attributes:
        stream: the file, at its beginning when a reader gets it.
        size: its bytes.
        where: the source's path, for messages.
    """

    stream: IO[bytes]
    size: int
    where: str

    def head(self, size: int) -> bytes:
        """Its first bytes; the stream is at its beginning afterwards."""
        with reading(self.where):
            self.stream.seek(0)
            found = self.stream.read(size)
            self.stream.seek(0)
        return found


@contextmanager
def opened(path: Path) -> Generator[Plain]:
    """Open a source.

    Raises:
        UsageError: it is not a file, or may not be read.
        DataCorrupt: it is empty.
    """
    try:
        # Asked before it is opened: opening a pipe would wait for whoever writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(what="the source is neither a file nor a folder", where=str(path), hint="name a file")
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(
            what=f"the source cannot be read: {reason}",
            where=str(path),
            hint=command("data", "import", "FILE", "--name", "NAME"),
        ) from error
    with stream:
        size = size_of(stream)
        if size == 0:
            raise DataCorrupt(what="the source is empty", where=str(path), hint="write or fetch it again")
        yield Plain(stream, size, str(path))


class Stamp:
    """The digest of a source, and the proof that nobody wrote to it meanwhile.

    Args:
        plain: the source as it lies on the disk.
        watch: told of progress.
    """

    def __init__(self, plain: Plain, watch: Watch) -> None:
        self._plain = plain
        self._before = self._state()
        digest, done = hashlib.sha256(), 0
        with watched(watch, "digest", plain.size, "bytes"), reading(plain.where):
            plain.stream.seek(0)
            while piece := plain.stream.read(_PIECE):
                digest.update(piece)
                done += len(piece)
                watch.update(done)
        self._sha256 = digest.hexdigest()

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._plain.stream.fileno())
        return state.st_size, state.st_mtime_ns

    def __call__(self) -> tuple[int, str]:
        """Its size and SHA-256.

        Raises:
            DataCorrupt: it was written to since it was opened.
        """
        if self._state() != self._before:
            raise DataCorrupt(
                what="the source was written to while it was read",
                where=self._plain.where,
                hint="repeat the command when it is finished",
            )
        return self._plain.size, self._sha256


def unpacked(plain: Plain, scratch: Scratch, watch: Watch) -> Plain:
    """The content of a gzipped source, in a file without a name.

    Raises:
        DataCorrupt: the stream is damaged, cut short or a bomb.
    """

    def pieces() -> Iterator[bytes]:
        for piece in gunzipped(plain.stream, where=plain.where):
            yield piece
            watch.update(plain.stream.tell())

    plain.stream.seek(0)
    with watched(watch, "unpack", plain.size, "bytes"):
        out, size = scratch.fill(pieces(), most=lambda size: check_promise(size, plain.size, where=plain.where))
    if size == 0:
        raise DataCorrupt(what="nothing is packed in the source", where=plain.where)
    out.seek(0)
    return Plain(out, size, plain.where)
