"""Limits how slow a server may be; every byte of an answer passes here, its headers and framing too.

A time-out of the socket is not enough: a server that sends one byte just before each time-out would never end.
"""

import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, Request

_WANTED = (200, 206)


@dataclass(frozen=True)
class Pace:
    """Limits on how slow a server may be.

    Attributes:
        timeout: seconds without an answer or a byte, after which the request fails.
        least_bytes: the fewest bytes that must come in every ``timeout`` seconds of waiting.
        headers_s: the most seconds from the request until all headers of the answer are here.
    """

    timeout: float = 30.0
    least_bytes: int = 1024
    headers_s: float = 60.0


class _Paced(RawIOBase):
    """The bytes that a socket receives, with a limit on the time."""

    def __init__(self, inner: RawIOBase, pace: Pace) -> None:
        super().__init__()
        self._inner, self._pace = inner, pace
        self._waited, self._came = 0.0, 0
        self.deadline: float | None = time.monotonic() + pace.headers_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401 - whatever has room for bytes
        begun = time.monotonic()
        if self.deadline is not None and begun > self.deadline:
            message = f"timed out: the headers were not complete after {self._pace.headers_s:g} s"
            raise TimeoutError(message)
        if self._waited >= self._pace.timeout:
            if self._came < self._pace.least_bytes:
                message = f"timed out: only {self._came:,} bytes in {self._waited:.3g} s"
                raise TimeoutError(message)
            self._waited, self._came = 0.0, 0
        came = self._inner.readinto(buffer)
        # Our own time between two calls is not the server's fault.
        self._waited += time.monotonic() - begun
        self._came += came or 0
        return came

    def close(self) -> None:
        self._inner.close()
        super().close()


class _PacedAnswer(HTTPResponse):
    """An HTTP answer whose bytes must come in time."""

    def __init__(self, sock: Any, *args: Any, pace: Pace, **options: Any) -> None:  # noqa: ANN401 - http.client's own
        super().__init__(sock, *args, **options)
        inner: Any = self.fp
        self._paced = _Paced(inner.detach(), pace)
        self.fp = BufferedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.deadline = None
        if self.status not in _WANTED:
            # The body of a redirect or an error is not needed; urllib would read a redirect's whole body.
            self.length, self.chunked = 0, False


def paced_handlers(pace: Pace) -> list[BaseHandler]:
    """Return handlers for ``urllib.request.build_opener`` that enforce a pace."""

    def connection(kind: Any, host: str, **options: Any) -> Any:  # noqa: ANN401 - http.client's own
        made = kind(host, **options)
        made.response_class = partial(_PacedAnswer, pace=pace)
        return made

    class Http(HTTPHandler):
        def http_open(self, req: Request) -> Any:  # noqa: ANN401 - urllib's own
            return self.do_open(partial(connection, HTTPConnection), req)

    class Https(HTTPSHandler):
        def https_open(self, req: Request) -> Any:  # noqa: ANN401 - urllib's own
            return self.do_open(partial(connection, HTTPSConnection), req)

    return [Http(), Https()]
