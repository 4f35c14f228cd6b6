"""Standard output and standard error, made such that neither a character nor a full disk ends in a traceback.

Everything that is shown passes here, whoever prints it: the program's own consoles, Typer's help, warnings of others.
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
    """Who read our output is gone, as ``head`` is after its lines.

    Not a BrokenPipeError, which Typer would turn into exit code 1: that means that a check found something.
    """


class _Stream:
    """A stream that is written to with care; all else is that of the stream below.

    Args:
        below: the stream; None where it was closed before the program began.
        name: of it, for people.
    """

    def __init__(self, below: TextIO | None, name: str) -> None:
        self.below, self.name = below, name
        self.lost: OutputLost | None = None
        self.works = True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        # Without bytes below, for Typer would write UTF-8 to them whatever the encoding is.
        if self.below is None or name == "buffer":
            raise AttributeError(name)
        return getattr(self.below, name)

    @property
    def encoding(self) -> str:
        """How characters become bytes."""
        return getattr(self.below, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether people look at it."""
        return self.below is not None and self.below.isatty()

    def write(self, text: str) -> int:
        """Write text, in characters that the encoding has."""
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
        """Bring what was written to where it goes."""
        try:
            if self.below is not None:
                self.below.flush()
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError) -> None:
        """What was written did not get there.

        Raises:
            ReaderLeft: who read it is gone.
            OutputLost: it cannot be written for another reason.
        """
        self.works = False
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        reason = error.strerror or str(error)
        self.lost = self.lost or OutputLost(
            f"{self.name} cannot be written: {reason}. "
            "Free some space there, or send it to another place; what is kept in files is whole."
        )

    def abandon(self) -> None:
        """Let what is left in the stream go nowhere, so that it does not fail once more when the process ends."""
        with suppress(OSError, AttributeError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, cast("TextIO", self.below).fileno())
            os.close(nowhere)


class _Output(_Stream):
    """Standard output: what cannot be written there ends the command, which has nothing else to give."""

    def failed(self, error: OSError) -> NoReturn:
        super().failed(error)
        raise cast("OutputLost", self.lost)


class Streams:
    """The two streams of the process while a command runs; what was in their places comes back.

    Messages that are lost end no work: training goes on when the disk under its log is full.
    """

    def __enter__(self) -> "Streams":
        self._before = sys.stdout, sys.stderr
        self.out = _Output(sys.stdout, "Standard output")
        # Whoever closes standard error wants to see nothing of it.
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
        """Bring all that was shown to where it goes.

        Returns:
            Why messages were lost, if some were.

        Raises:
            ReaderLeft: who read it is gone.
            OutputLost: results cannot be written.
        """
        for stream in self._all():
            stream.flush()
        return self.err and self.err.lost

    def _all(self) -> list[_Stream]:
        return [self.out, *([self.err] if self.err else [])]
