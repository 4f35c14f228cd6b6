"""One file from one address, in as many requests as it takes, each going on where the last one broke off."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dregcli.data.entries import SourceFile
from dregcli.data.fetching.kept import vouch
from dregcli.data.fetching.pace import Pace
from dregcli.data.fetching.parts import Origin, Part, claimed
from dregcli.data.fetching.sources import Fetched, Verified, check_file
from dregcli.data.fetching.web import (
    CutShort,
    MirrorFailed,
    NoSuchRange,
    Unanswered,
    answer_of,
    content_range,
    number,
    receive,
)
from dregcli.errors import DataCorrupt

_OK: Final = 200
_PARTIAL: Final = 206
_LONGEST_WAIT: Final = 5
"""Seconds that a server may ask us to wait; of one that asks for more, the next mirror is the better choice."""


@dataclass(frozen=True)
class DownloadProgress:
    """How far a file is.

    Attributes:
        file: its usual name.
        done: bytes so far, those of an earlier call included.
        total: bytes in all, or None where the server does not say.
    """

    file: str
    done: int
    total: int | None


OnProgress = Callable[[DownloadProgress], None]


@dataclass(frozen=True)
class Patience(Pace):
    """How long a server is borne with: how slow it may be, and how often it is asked again.

    Attributes:
        requests: the most requests for a file; each but one must have brought something.
        pause: seconds before the second request; doubled before each further one, up to 16 times as long.
    """

    requests: int = 10
    pause: float = 0.5


class _WrongRange(Exception):
    """The server answered with another range than it was asked for, or of another file."""


def fetch_file(file: SourceFile, url: str, folder: Path, *, on_progress: OnProgress, patience: Patience) -> Fetched:
    """Get a file, going on with what an earlier call got of it.

    Args:
        file: what it should be.
        url: where it is.
        folder: where to keep it: under its published name once it is verified, until then as a part.
        on_progress: called as bytes arrive.
        patience: how long the server is borne with.

    Returns:
        The verified file.

    Raises:
        MirrorFailed: the server does not give it; what has come is kept.
        DataCorrupt: what it gives is not the file; nothing is kept.
        StoreWriteError: the folder cannot be written.
    """
    with claimed(folder, file.published_name, url) as part:
        transfer = _Transfer(file, url, part, on_progress, patience)
        try:
            verified = transfer.verified()
        except DataCorrupt:
            part.clear()
            # Pieces that do not fit say nothing of the file itself: once more, from the first byte.
            if not transfer.pieced:
                raise
            try:
                verified = transfer.verified()
            except DataCorrupt:
                part.clear()
                raise
        fetched = Fetched(verified, url, part.size)
        path = folder / file.published_name
        vouch(path, url, transfer.sha256)
        part.keep_as(path)
    return fetched


class _Transfer:
    """What brings the bytes of one address into one part."""

    def __init__(self, file: SourceFile, url: str, part: Part, on_progress: OnProgress, patience: Patience) -> None:
        self._file, self._url, self._part = file, url, part
        self._on_progress, self._patience = on_progress, patience
        self.pieced = False
        """Whether the bytes are of more than one answer."""
        self.sha256 = ""
        """Of the file as it came, once it is verified."""

    def verified(self) -> Verified:
        """Bring what is missing, and check the whole."""
        try:
            self._complete()
        except CutShort:
            # The server may have promised more than there is: a checksum knows better than it does.
            if not (self._file.checksums and self._part.size):
                raise
            with suppress(DataCorrupt):
                return self._checked()
            raise
        return self._checked()

    def _checked(self) -> Verified:
        raw = self._part.read_back()
        self.sha256 = hashlib.sha256(raw).hexdigest()
        return check_file(self._file, raw, where=self._url)

    def _complete(self) -> None:
        """Ask until all bytes are here, as long as every request brings some; one that brings none is forgiven."""
        best, forgiven = self._part.size, False
        for request in range(1, self._patience.requests + 1):
            try:
                self._ask()
            except CutShort as error:
                after = error.after if isinstance(error, Unanswered) else 0
                if request == self._patience.requests or after > _LONGEST_WAIT:
                    raise
                # Measured by how far it came: a server that knows no ranges begins anew each time.
                if self._part.size <= best:
                    if forgiven or (self._part.size and not isinstance(error, Unanswered)):
                        raise
                    forgiven = True
                best = max(best, self._part.size)
                time.sleep(max(self._patience.pause * min(2 ** (request - 1), 16), after))
            else:
                return

    def _ask(self) -> None:
        """One request, for what is missing; for all of it where the server has changed its mind."""
        done, origin = self._usable(), self._part.origin
        if done and origin:
            self.pieced = True
            if done == origin.total:
                # The process that brought the last byte ended before it could say so.
                self._told(origin.total)
                return
            headers = {"Range": f"bytes={done}-"}
            if origin.validator:
                headers["If-Range"] = origin.validator
            try:
                with answer_of(self._url, headers, self._patience) as answer:
                    if answer.status == _PARTIAL:
                        self._take(answer, self._continued(answer, done, origin))
                    else:
                        self._begin(answer)
                return
            except NoSuchRange as error:
                if error.total == done:
                    self._told(done)
                    return
            except _WrongRange:
                pass
            self._part.clear()
        with answer_of(self._url, {}, self._patience) as answer:
            self._begin(answer)

    def _usable(self) -> int:
        """How many of the bytes that are here can be gone on from."""
        part = self._part
        # Of a server that names no version of its file only a checksum can tell whether the pieces are of one.
        if part.origin and (part.origin.validator or self._file.checksums) and part.size <= self._file.packed_limit:
            return part.size
        part.clear()
        return 0

    def _begin(self, answer: Any) -> None:  # noqa: ANN401 - an HTTPResponse
        """Take a whole file, from its first byte."""
        if answer.status != _OK:
            message = f"HTTP {answer.status} {answer.reason} to a plain request"
            raise MirrorFailed(message)
        self.pieced = False
        total = number(answer.headers.get("Content-Length"))
        tags = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        self._part.begin(Origin(self._url, *tags, total))
        self._take(answer, total)

    def _take(self, answer: Any, total: int | None) -> None:  # noqa: ANN401 - an HTTPResponse
        """Keep what comes, as it comes."""
        part = self._part
        self._told(total)
        while chunk := receive(answer):
            if part.size + len(chunk) > self._file.packed_limit:
                raise DataCorrupt(what=f"the answer is larger than {self._file.name} can be")
            part.append(chunk)
            self._told(total)
        if total is not None and part.size < total:
            message = f"the answer ended after {part.size:,} of {total:,} bytes"
            raise CutShort(message)
        if total is not None and part.size > total:
            raise DataCorrupt(what=f"the answer has {part.size:,} bytes and not the {total:,} that it promised")

    def _continued(self, answer: Any, done: int, origin: Origin) -> int | None:  # noqa: ANN401 - an HTTPResponse
        """How many bytes there are in all, if the answer goes on where we are, with the same file.

        Raises:
            _WrongRange: it does not, or nothing could tell.
        """
        between, total = content_range(answer.headers.get("Content-Range"))
        etag, date = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        # Each header may be missing from a part's answer, but none may be another.
        if between is None or between[0] != done or _differ(total, origin.total):
            raise _WrongRange
        if _differ(etag, origin.etag) or _differ(date, origin.last_modified):
            raise _WrongRange
        # Where no checksum tells in the end, the server must say of what it sends that it is what was asked for.
        if not self._file.checksums and Origin(self._url, etag, date, None).validator != origin.validator:
            raise _WrongRange
        return total if total is not None else origin.total

    def _told(self, total: int | None) -> None:
        self._on_progress(DownloadProgress(self._file.name, self._part.size, total))


def _differ(said: str | int | None, known: str | int | None) -> bool:
    """Whether both are there, and not the same."""
    return said is not None and known is not None and said != known
