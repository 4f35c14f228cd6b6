"""A real web server on this machine that gives good and bad answers."""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What the server says to one path.

    Attributes:
        body: what it sends.
        status: the HTTP status.
        promised: the Content-Length it states; None leaves the header out.
        location: where it redirects to.
        silent_s: seconds of silence before the body.
    """

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    location: str | None = None
    silent_s: float = 0.0


@dataclass
class Site:
    """Answers by path, and the paths that were asked for."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[str] = field(default_factory=list[str])

    def put(self, path: str, body: bytes) -> None:
        """Answer ``path`` with ``body``, as a good server does."""
        self.answers[path] = Answer(body, promised=len(body))


@contextmanager
def serving() -> Generator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            answer = site.answers.get(self.path, Answer(status=404))
            self.send_response(answer.status)
            if answer.promised is not None:
                self.send_header("Content-Length", str(answer.promised))
            if answer.location is not None:
                self.send_header("Location", answer.location)
            self.end_headers()
            stopped.wait(answer.silent_s)
            # A client that has seen enough hangs up.
            with suppress(ConnectionError):
                self.wfile.write(answer.body)

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
