"""One request to a web server, and what its answer says. http and https only, redirects included."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

_CHUNK: Final = 1 << 18
_SCHEMES: Final = ("http", "https")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)
_RANGE_NOT_SATISFIABLE: Final = 416


class MirrorFailed(Exception):
    """The mirror cannot give the file, and asking it again would not help."""


class NotThere(MirrorFailed):
    """The server answers, and has no file at this address; another spelling may be right."""


class Stalled(MirrorFailed):
    """Not a byte came for as long as we wait."""


class CutShort(MirrorFailed):
    """The answer ended too early, or the connection broke; the rest may be had by asking again."""


class NoSuchRange(MirrorFailed):
    """The server has nothing beyond the bytes that are here.

    Args:
        total: how many bytes it says there are.
    """

    def __init__(self, total: int | None) -> None:
        super().__init__("HTTP 416 Range Not Satisfiable")
        self.total = total


class _WebRedirects(HTTPRedirectHandler):
    """Redirects, but to nothing else than the web: urllib's own would also follow one to ftp."""

    def redirect_request(self, *args: Any, **options: Any) -> Request | None:  # noqa: ANN401 - urllib's own arguments
        request = super().redirect_request(*args, **options)
        if request is not None and request.type not in _SCHEMES:
            message = f"a redirect to {request.type}:// is not allowed"
            raise URLError(message)
        return request


def address(base: str, name: str) -> str:
    """The address of a file in a web folder; what follows a ``?`` in the folder's address follows the file's."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{name}", parts.query, ""))


@contextmanager
def answer_of(url: str, headers: Mapping[str, str], timeout: float) -> Generator[Any]:
    """An open answer to a GET request for ``url``, which is http or https.

    Args:
        url: the address.
        headers: what to ask beside.
        timeout: seconds without an answer or a byte, after which it is given up.

    Raises:
        MirrorFailed: there is no good answer; a subclass says more.
    """
    try:
        opener: OpenerDirector = build_opener(_WebRedirects)
        answer: IO[bytes] = opener.open(Request(url, headers={"User-Agent": "dreg", **headers}), timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE:
            raise NoSuchRange(content_range(error.headers.get("Content-Range"))[1]) from error
        told = f"HTTP {error.code} {error.reason}"
        # S3 says 403 for a file that is not there.
        raise (NotThere if error.code in {403, 404, 410} else MirrorFailed)(told) from error
    except URLError as error:
        raise _failure(error.reason) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(error) from error
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
        raise _failure(error) from error


def content_range(header: str | None) -> tuple[tuple[int, int] | None, int | None]:
    """First and last byte, and how many there are in all, as far as the header says."""
    found = _CONTENT_RANGE.fullmatch((header or "").strip())
    if not found:
        return None, None
    first, last, total = found.groups()
    between = (int(first), int(last)) if first is not None else None
    return between, None if total == "*" else int(total)


def _failure(reason: object) -> MirrorFailed:
    """What a network failure says of itself, without its error number."""
    told = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
    if isinstance(reason, TimeoutError):
        return Stalled(told)
    if isinstance(reason, ConnectionError | HTTPException):
        return CutShort(told)
    return MirrorFailed(told)
