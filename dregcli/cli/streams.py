"""Standard output and standard error, made safe: no character and no full disk causes a traceback.

All output passes through these streams: the program's own consoles, Typer's help, and warnings of libraries.
"""

import errno
import os
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, TextIO, cast

from dregcli.errors import OutputLost
from dregcli.wording import encodable


class ReaderLeft(Exception):
    """The reader of the program's output is gone, like ``head`` after its lines.

    This is not a BrokenPipeError, because Typer would turn that into exit code 1, which means that a check failed.
    """


class _Stream:
    """A stream with safe writing; everything else is passed on to the stream below.

    Args:
        below: the stream to write to; None if it was closed before the program began.
        name: name of the stream in messages.
    """

    def __init__(self, below: TextIO | None, name: str) -> None:
        self.below, self.name = below, name
        self.lost: OutputLost | None = None
        self.works = True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        # The buffer of bytes is hidden, because Typer would write UTF-8 to it in every encoding.
        if self.below is None or name == "buffer":
            raise AttributeError(name)
        return getattr(self.below, name)

    @property
    def encoding(self) -> str:
        """The encoding of the stream below."""
        return getattr(self.below, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.below is not None and self.below.isatty()

    def write(self, text: str) -> int:
        """Write text; a character that the encoding lacks is replaced."""
        try:
            if self.below is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self.below.write(encodable(text, self.encoding))
        except OSError as error:
            self.failed(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream below."""
        try:
            if self.below is not None:
                self.below.flush()
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError) -> None:
        """Note that writing failed.

        Raises:
            ReaderLeft: the reader is gone.
            OutputLost: writing failed for another reason.
        """
        self.works = False
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        reason = error.strerror or str(error)
        self.lost = self.lost or OutputLost(
            f"{self.name} cannot be written: {reason}. "
            "Free some space there, or send the output to another place; all files that dreg keeps are complete."
        )

    def abandon(self) -> None:
        """Send the unwritten text nowhere, so that the stream does not fail again when the process ends."""
        with suppress(OSError, AttributeError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, cast("TextIO", self.below).fileno())
            os.close(nowhere)


class _Output(_Stream):
    """Standard output: a failure to write ends the command, because the output is its result."""

    def failed(self, error: OSError) -> NoReturn:
        super().failed(error)
        raise cast("OutputLost", self.lost)


class Streams:
    """Replaces the two streams of the process while a command runs, and restores them afterwards.

    Lost messages do not end the work: training continues when the disk under its log is full.
    """

    def __enter__(self) -> "Streams":
        self._before = sys.stdout, sys.stderr
        self.out = _Output(sys.stdout, "Standard output")
        # A user who closes standard error wants to see no messages.
        self.err = None if cast("TextIO | None", sys.stderr) is None else _Stream(sys.stderr, "Standard error")
        sys.stdout = cast("TextIO", self.out)
        sys.stderr = cast("TextIO", self.err)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._all():
            if not stream.works:
                stream.abandon()
        sys.stdout, sys.stderr = self._before

    def end(self) -> OutputLost | None:
        """Flush both streams.

        Returns:
            The error about lost messages, if messages were lost.

        Raises:
            ReaderLeft: the reader is gone.
            OutputLost: results cannot be written.
        """
        for stream in self._all():
            stream.flush()
        return self.err and self.err.lost

    def _all(self) -> list[_Stream]:
        return [self.out, *([self.err] if self.err else [])]
