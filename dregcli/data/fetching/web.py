"""One request to a web server, and what its answer says. http and https only, redirects included."""

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
# No file has more bytes than 18 digits say, and Python refuses to make a number of thousands of digits.
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_RANGE_NOT_SATISFIABLE: Final = 416
_NOT_NOW: Final = (429, 502, 503, 504)


class MirrorFailed(Exception):
    """The mirror cannot give the file, and asking it again would not help."""


class NotThere(MirrorFailed):
    """The server answers, and has no file at this address; another spelling may be right."""


class Stalled(MirrorFailed):
    """Not a byte came for as long as we wait."""


class CutShort(MirrorFailed):
    """The answer ended too early, or the connection broke; the rest may be had by asking again."""


class Unanswered(CutShort):
    """There was no answer, or one that says that there will be one later.

    Args:
        told: in words.
        after: seconds to wait, where the server says so.
    """

    def __init__(self, told: str, after: int = 0) -> None:
        super().__init__(told)
        self.after = after


class NoSuchRange(MirrorFailed):
    """The server has nothing beyond the bytes that are here.

    Args:
        total: how many bytes it says there are.
    """

    def __init__(self, total: int | None) -> None:
        super().__init__("HTTP 416 Range Not Satisfiable")
        self.total = total


class WebRedirects(HTTPRedirectHandler):
    """Redirects, but to nothing else than the web, and not from https to http: urllib's own follow ftp and both."""

    def redirect_request(self, *args: Any, **options: Any) -> Request | None:  # noqa: ANN401 - urllib's own arguments
        """The request to go on with, as urllib asks for it."""
        request = super().redirect_request(*args, **options)
        if request is not None and request.type not in _SCHEMES:
            message = f"a redirect to {request.type}:// is not allowed"
            raise URLError(message)
        asked = cast("Request", args[0])
        if request is not None and (asked.type, request.type) == ("https", "http"):
            # Anybody on the way could alter the answer, which the https:// of the address rules out.
            message = f"a redirect from https:// to {request.full_url} is not allowed"
            raise URLError(message)
        return request


def address(base: str, name: str) -> str:
    """The address of a file in a web folder; what follows a ``?`` in the folder's address follows the file's."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{name}", parts.query, ""))


@contextmanager
def answer_of(url: str, headers: Mapping[str, str], pace: Pace) -> Generator[Any]:
    """An open answer to a GET request for ``url``, which is http or https.

    Args:
        url: the address.
        headers: what to ask beside.
        pace: how slow the server may be.

    Raises:
        MirrorFailed: there is no good answer; a subclass says more.
    """
    try:
        opener: OpenerDirector = build_opener(WebRedirects, *paced_handlers(pace))
        request = Request(url, headers={"User-Agent": "dreg", **headers})
        answer: IO[bytes] = opener.open(request, timeout=pace.timeout)
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE:
            raise NoSuchRange(content_range(error.headers.get("Content-Range"))[1]) from error
        told = f"HTTP {error.code} {error.reason}"
        if error.code in _NOT_NOW:
            raise Unanswered(told, number(error.headers.get("Retry-After")) or 0) from error
        # S3 says 403 for a file that is not there.
        raise (NotThere if error.code in {403, 404, 410} else MirrorFailed)(told) from error
    except URLError as error:
        raise _failure(error.reason, Unanswered) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(error, Unanswered) from error
    with answer:
        yield answer


def receive(answer: Any) -> bytes:  # noqa: ANN401 - an HTTPResponse, or what a test has in its place
    """The bytes that have come, as they come; nothing at the end.

    Raises:
        CutShort: the connection broke.
        Stalled: nothing came in time.
    """
    try:
        # read1 and not read, which would throw away what has come when the rest does not.
        return answer.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _failure(error, CutShort) from error


def number(header: str | None) -> int | None:
    """The number of bytes or seconds that a header says, if it is a sensible one."""
    found = _NUMBER.fullmatch((header or "").strip())
    return int(found.group()) if found else None


def content_range(header: str | None) -> tuple[tuple[int, int] | None, int | None]:
    """First and last byte, and how many there are in all, as far as the header says."""
    found = _CONTENT_RANGE.fullmatch((header or "").strip())
    if not found:
        return None, None
    first, last, total = found.groups()
    between = (int(first), int(last)) if first is not None else None
    return between, None if total == "*" else int(total)


def _failure(reason: object, broken: type[CutShort | Unanswered]) -> MirrorFailed:
    """What a network failure says of itself, without its error number; ``broken`` where the connection broke."""
    told = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
    if isinstance(reason, TimeoutError):
        return Stalled(told)
    # Where nobody listens, nobody will in a moment.
    if isinstance(reason, ConnectionError | HTTPException) and not isinstance(reason, ConnectionRefusedError):
        return broken(told)
    return MirrorFailed(told)
