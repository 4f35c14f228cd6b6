"""Sends one request to a web server and reads its answer. http and https only, redirects included."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from dregcli.data.fetching.pace import Pace, paced_handlers

_CHUNK: Final = 1 << 18
_SCHEMES: Final = ("http", "https")
# 18 digits are enough for any file, and Python refuses to convert thousands of digits.
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_RANGE_NOT_SATISFIABLE: Final = 416
_NOT_NOW: Final = (429, 502, 503, 504)


class MirrorFailed(Exception):
    """The mirror cannot give the file, and asking it again would not help."""


class NotThere(MirrorFailed):
    """The server has no file at this address; another spelling may be right."""


class Stalled(MirrorFailed):
    """No byte came within the time limit."""


class CutShort(MirrorFailed):
    """The answer ended too early, or the connection broke; another request may bring the missing bytes."""


class Unanswered(CutShort):
    """There was no answer, or the server asks to try again later.

    Args:
        reason: the reason, in words.
        after: seconds to wait, where the server says so.
    """

    def __init__(self, reason: str, after: int = 0) -> None:
        super().__init__(reason)
        self.after = after


class NoSuchRange(MirrorFailed):
    """The server has no more bytes than are already here.

    Args:
        total: size of the file in bytes, as the server says.
    """

    def __init__(self, total: int | None) -> None:
        super().__init__("HTTP 416 Range Not Satisfiable")
        self.total = total


class WebRedirects(HTTPRedirectHandler):
    """Follows redirects only to http and https, never from https to http; urllib alone would allow that and ftp."""

    def redirect_request(self, *args: Any, **options: Any) -> Request | None:  # noqa: ANN401 - urllib's own arguments
        """Return the request that follows a redirect; urllib calls this."""
        request = super().redirect_request(*args, **options)
        if request is not None and request.type not in _SCHEMES:
            message = f"a redirect to {request.type}:// is not allowed"
            raise URLError(message)
        asked = cast("Request", args[0])
        if request is not None and (asked.type, request.type) == ("https", "http"):
            # Without https, anybody on the way could alter the answer, which the user's https:// address rules out.
            message = f"a redirect from https:// to {request.full_url} is not allowed"
            raise URLError(message)
        return request


def address(base: str, name: str) -> str:
    """Return the address of a file in a web folder; it keeps the query (``?...``) of the folder's address."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{name}", parts.query, ""))


@contextmanager
def answer_of(url: str, headers: Mapping[str, str], pace: Pace) -> Generator[Any]:
    """Send a GET request and yield the open answer.

    Args:
        url: the address, http or https.
        headers: further headers of the request.
        pace: limits on how slow the server may be.

    Raises:
        MirrorFailed: there is no usable answer; a subclass says why.
    """
    try:
        opener: OpenerDirector = build_opener(WebRedirects, *paced_handlers(pace))
        request = Request(url, headers={"User-Agent": "dreg", **headers})
        answer: IO[bytes] = opener.open(request, timeout=pace.timeout)
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE:
            raise NoSuchRange(content_range(error.headers.get("Content-Range"))[1]) from error
        reason = f"HTTP {error.code} {error.reason}"
        if error.code in _NOT_NOW:
            raise Unanswered(reason, number(error.headers.get("Retry-After")) or 0) from error
        # S3 answers 403 for a file that is not there.
        raise (NotThere if error.code in {403, 404, 410} else MirrorFailed)(reason) from error
    except URLError as error:
        raise _failure(error.reason, Unanswered) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(error, Unanswered) from error
    with answer:
        yield answer


def receive(answer: Any) -> bytes:  # noqa: ANN401 - an HTTPResponse, or a test's stand-in
    """Return the next bytes as they come; empty at the end.

    Raises:
        CutShort: the connection broke.
        Stalled: nothing came in time.
    """
    try:
        # read1 and not read: when the connection breaks, read would lose the bytes that came.
        return answer.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _failure(error, CutShort) from error


def number(header: str | None) -> int | None:
    """Return the number of bytes or seconds in a header, if it is valid."""
    found = _NUMBER.fullmatch((header or "").strip())
    return int(found.group()) if found else None


def content_range(header: str | None) -> tuple[tuple[int, int] | None, int | None]:
    """Return the (first, last) byte and the total number of bytes; None where the header does not say."""
    found = _CONTENT_RANGE.fullmatch((header or "").strip())
    if not found:
        return None, None
    first, last, total = found.groups()
    between = (int(first), int(last)) if first is not None else None
    return between, None if total == "*" else int(total)


def _failure(reason: object, broken: type[CutShort | Unanswered]) -> MirrorFailed:
    """Return the error for a network failure, without its error number; ``broken`` where the connection broke."""
    text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
    if isinstance(reason, TimeoutError):
        return Stalled(text)
    # A refused connection will be refused again in a moment.
    if isinstance(reason, ConnectionError | HTTPException) and not isinstance(reason, ConnectionRefusedError):
        return broken(text)
    return MirrorFailed(text)
