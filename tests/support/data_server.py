"""A real web server on this machine that gives good and bad answers, and keeps what it was asked."""

import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ranges(Enum):
    """What the server does when it is asked for a part."""

    IGNORED = auto()
    """It sends the whole, as servers do that know no ranges."""
    HONOURED = auto()
    WRONG_START = auto()
    """It sends another part than it was asked for, and says so."""
    WRONG_BYTES = auto()
    """It says the right part and sends other bytes."""
    WRONG_TOTAL = auto()
    """It says that the whole is larger than before."""
    UNSAID = auto()
    """It sends the part without saying which it is."""
    CARELESS = auto()
    """It sends the part without looking at If-Range."""
    REFUSED = auto()
    """It says 416 whatever it is asked for."""


@dataclass(frozen=True)
class Answer:
    """What the server says to one path.

    Attributes:
        body: what it sends.
        status: the HTTP status.
        promised: the Content-Length it states for the whole; None leaves the header out.
        location: where it redirects to.
        silent_s: seconds of silence before the body.
        cut: bytes after which it hangs up.
        stall_at: bytes after which it is silent for ``silent_s`` instead of before the first.
        drip_s: seconds between every tenth of the body, or every ``drip_bytes`` of it.
        drip_bytes: bytes at a time.
        endless_headers_s: seconds between one header and the next, of which there is no end.
        reset: whether it breaks the connection: after ``cut`` bytes of the body, or without a word if none is set.
        chunked: whether the body is sent as one chunk, which ends too early after ``cut`` bytes.
        headers: what it says beside, or instead of what it would say.
        ranges: what it does with a Range header.
        etag: its name for the content.
        last_modified: when it says that the content changed.
    """

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    location: str | None = None
    silent_s: float = 0.0
    cut: int | None = None
    stall_at: int | None = None
    drip_s: float = 0.0
    drip_bytes: int | None = None
    endless_headers_s: float | None = None
    reset: bool = False
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])
    ranges: Ranges = Ranges.IGNORED
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    range: str | None
    if_range: str | None


@dataclass
class Site:
    """Answers by path, and what was asked for; of several answers to a path one after the other, the last again."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict[str, "Answer | list[Answer]"])
    requests: list[Asked] = field(default_factory=list[Asked])

    @property
    def asked(self) -> list[str]:
        """The paths, in order."""
        return [each.path for each in self.requests]

    def put(self, path: str, body: bytes) -> None:
        """Answer ``path`` with ``body``, as a good server does."""
        self.answers[path] = Answer(body, promised=len(body))

    def next_answer(self, path: str) -> Answer:
        found = self.answers.get(path, Answer(status=404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


@contextmanager
def serving() -> Generator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = Asked(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
            site.requests.append(asked)
            answer = site.next_answer(self.path)
            # A client that has seen enough hangs up.
            with suppress(ConnectionError):
                first = None if answer.reset and answer.cut is None else self._start(answer, asked)
                if first is not None:
                    self._send(answer, first)
            self.close_connection = True
            if answer.reset:
                # Closed without lingering, which is a reset; the files over the socket would keep it open.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()

        def _start(self, answer: Answer, asked: Asked) -> int | None:
            """Send status and headers; from which byte on the body follows."""
            size = len(answer.body)
            first = 0
            unchanged = asked.if_range in (None, answer.etag, answer.last_modified)
            unchanged = unchanged or answer.ranges is Ranges.CARELESS
            if asked.range and answer.status == 200 and answer.ranges is not Ranges.IGNORED and unchanged:
                first = int(asked.range.removeprefix("bytes=").removesuffix("-"))
                if answer.ranges is Ranges.REFUSED or first >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    self.end_headers()
                    return None
                if answer.ranges is Ranges.WRONG_START:
                    first -= 1
                total = size + 7 if answer.ranges is Ranges.WRONG_TOTAL else size
                self.send_response(206)
                if answer.ranges is not Ranges.UNSAID and "Content-Range" not in answer.headers:
                    self.send_header("Content-Range", f"bytes {first}-{size - 1}/{total}")
            else:
                self.send_response(answer.status)
            if answer.promised is not None and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(answer.promised - first))
            for name in ("location", "etag", "last_modified"):
                if (value := getattr(answer, name)) is not None:
                    self.send_header(name.replace("_", "-"), value)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            if answer.endless_headers_s is not None:
                while not stopped.wait(answer.endless_headers_s):
                    self.send_header("X-More", "yes")
                    self.flush_headers()
            self.end_headers()
            return first

        def _send(self, answer: Answer, first: int) -> None:
            body = answer.body[first : answer.cut]
            if answer.chunked:
                self.wfile.write(b"%x\r\n" % len(answer.body[first:]) + body)
                self.wfile.write(b"\r\n0\r\n\r\n" if answer.cut is None else b"")
                return
            if answer.ranges is Ranges.WRONG_BYTES and first:
                body = bytes(byte ^ 1 for byte in body)
            if answer.stall_at is not None:
                self.wfile.write(body[: answer.stall_at])
                body = body[answer.stall_at :]
            stopped.wait(answer.silent_s)
            step = answer.drip_bytes or max(1, len(body) // 10) if answer.drip_s else max(1, len(body))
            for at in range(0, len(body), step):
                self.wfile.write(body[at : at + step])
                stopped.wait(answer.drip_s)

        def log_message(self, format: str, *args: object) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
