"""Downloads one file from one address; after a break, the next request continues where the last one ended."""

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
"""The longest wait in seconds that a server may ask for; if it asks for more, the next mirror is tried instead."""


@dataclass(frozen=True)
class DownloadProgress:
    """The progress of one file.

    Attributes:
        file: its usual name.
        done: bytes so far, including the bytes of an earlier call.
        total: bytes in all, or None where the server does not say.
    """

    file: str
    done: int
    total: int | None


OnProgress = Callable[[DownloadProgress], None]


@dataclass(frozen=True)
class Patience(Pace):
    """Limits on a server: how slow it may be, and how often it is asked again.

    Attributes:
        requests: the most requests for a file; every request except one must bring some bytes.
        pause: seconds before the second request; doubled before each further request, up to 16 times as long.
    """

    requests: int = 10
    pause: float = 0.5


class _WrongRange(Exception):
    """The server answered with another range than requested, or with a range of another file."""


def fetch_file(file: SourceFile, url: str, folder: Path, *, on_progress: OnProgress, patience: Patience) -> Fetched:
    """Download a file, continuing what an earlier call downloaded.

    Args:
        file: the file to get.
        url: its address.
        folder: the folder for it: under its published name once it is verified, and as a part until then.
        on_progress: called as bytes arrive.
        patience: limits on a slow or failing server.

    Returns:
        The verified file.

    Raises:
        MirrorFailed: the server does not give the file; the bytes that came are kept.
        DataCorrupt: the server's content is not the file; nothing is kept.
        StoreWriteError: the folder cannot be written.
    """
    with claimed(folder, file.published_name, url) as part:
        transfer = _Transfer(file, url, part, on_progress, patience)
        try:
            verified = transfer.verified()
        except DataCorrupt:
            part.clear()
            # Pieces that do not fit together may be the only fault: try once more from the first byte.
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
    """Downloads the bytes of one address into one part."""

    def __init__(self, file: SourceFile, url: str, part: Part, on_progress: OnProgress, patience: Patience) -> None:
        self._file, self._url, self._part = file, url, part
        self._on_progress, self._patience = on_progress, patience
        self.pieced = False
        """Whether the bytes come from more than one answer."""
        self.sha256 = ""
        """Digest of the file as it came, once it is verified."""

    def verified(self) -> Verified:
        """Download the missing bytes and check the whole file."""
        try:
            self._complete()
        except CutShort:
            # The server may have promised more bytes than the file has; the checksum decides.
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
        """Send requests until all bytes are here, while each brings some; one request without bytes is allowed."""
        best, forgiven = self._part.size, False
        for request in range(1, self._patience.requests + 1):
            try:
                self._ask()
            except CutShort as error:
                after = error.after if isinstance(error, Unanswered) else 0
                if request == self._patience.requests or after > _LONGEST_WAIT:
                    raise
                # Compared with the best so far, because a server without ranges starts from the beginning each time.
                if self._part.size <= best:
                    if forgiven or (self._part.size and not isinstance(error, Unanswered)):
                        raise
                    forgiven = True
                best = max(best, self._part.size)
                time.sleep(max(self._patience.pause * min(2 ** (request - 1), 16), after))
            else:
                return

    def _ask(self) -> None:
        """Send one request for the missing bytes, or for the whole file if it has changed on the server."""
        done, origin = self._usable(), self._part.origin
        if done and origin:
            self.pieced = True
            if done == origin.total:
                # An earlier process ended just after the last byte.
                self._report(origin.total)
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
                    self._report(done)
                    return
            except _WrongRange:
                pass
            self._part.clear()
        with answer_of(self._url, {}, self._patience) as answer:
            self._begin(answer)

    def _usable(self) -> int:
        """Return the number of bytes that are here and can be continued."""
        part = self._part
        # Where the server gives no version of its file, only a checksum can show that the pieces belong together.
        if part.origin and (part.origin.validator or self._file.checksums) and part.size <= self._file.packed_limit:
            return part.size
        part.clear()
        return 0

    def _begin(self, answer: Any) -> None:  # noqa: ANN401 - an HTTPResponse
        """Receive a whole file, from its first byte."""
        if answer.status != _OK:
            message = f"the server answered a plain request with HTTP {answer.status} {answer.reason}"
            raise MirrorFailed(message)
        self.pieced = False
        total = number(answer.headers.get("Content-Length"))
        tags = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        self._part.begin(Origin(self._url, *tags, total))
        self._take(answer, total)

    def _take(self, answer: Any, total: int | None) -> None:  # noqa: ANN401 - an HTTPResponse
        """Write the bytes of an answer to the part as they come."""
        part = self._part
        self._report(total)
        while chunk := receive(answer):
            if part.size + len(chunk) > self._file.packed_limit:
                raise DataCorrupt(what=f"the answer is larger than {self._file.name} can be")
            part.append(chunk)
            self._report(total)
        if total is not None and part.size < total:
            message = f"the answer ended after {part.size:,} of {total:,} bytes"
            raise CutShort(message)
        if total is not None and part.size > total:
            raise DataCorrupt(what=f"the answer has {part.size:,} bytes, not the {total:,} that it promised")

    def _continued(self, answer: Any, done: int, origin: Origin) -> int | None:  # noqa: ANN401 - an HTTPResponse
        """Check that an answer continues the same file at the right byte; return the file's total number of bytes.

        Raises:
            _WrongRange: it does not, or that cannot be known.
        """
        between, total = content_range(answer.headers.get("Content-Range"))
        etag, date = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        # A header may be missing from the answer, but it may not differ.
        if between is None or between[0] != done or _differ(total, origin.total):
            raise _WrongRange
        if _differ(etag, origin.etag) or _differ(date, origin.last_modified):
            raise _WrongRange
        # Without a checksum to decide in the end, the answer itself must name the version that was asked for.
        if not self._file.checksums and Origin(self._url, etag, date, None).validator != origin.validator:
            raise _WrongRange
        return total if total is not None else origin.total

    def _report(self, total: int | None) -> None:
        self._on_progress(DownloadProgress(self._file.name, self._part.size, total))


def _differ(said: str | int | None, known: str | int | None) -> bool:
    """Whether both values are there and differ."""
    return said is not None and known is not None and said != known
