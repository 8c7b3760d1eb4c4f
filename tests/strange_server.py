"""A web server that misbehaves on purpose, each path with its own vice: for tests of what asks strangers' servers."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

Route = Callable[["Request"], None]


def picture(
    colour: tuple[int, int, int] = (200, 30, 30), *, size: tuple[int, int] = (64, 48), kind: str = "JPEG"
) -> bytes:
    """A small picture file of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


class Request(BaseHTTPRequestHandler):
    """One request; `server.routes` says what to do with it."""

    server: StrangeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked(self)

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked(self)

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bytes, kind: str = "image/jpeg", *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        sent = {"Content_Type": kind, "Content_Length": str(len(body))} | headers
        for name, value in sent.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    @property
    def count(self) -> int:
        """How often this path was asked for, this time included."""
        return self.server.counts[self.path]


class StrangeServer(ThreadingHTTPServer):
    """Counts requests by path, and how many run at a time."""

    daemon_threads = True

    def __init__(self, routes: dict[str, Route]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.routes = routes
        self.counts: Counter[str] = Counter()
        self.starts: list[float] = []
        self.most_at_once = 0
        self.patience = threading.Event()
        self._running = 0
        self._guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, request: Request) -> None:
        with self._guard:
            self.counts[request.path] += 1
            self.starts.append(time.monotonic())
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            route = self.routes.get(request.path.split("?")[0])
            if route is None:
                prefix = next(
                    (one for one in self.routes if one.endswith("*") and request.path.startswith(one[:-1])), ""
                )
                route = self.routes.get(prefix, lambda one: one.reply(b"nothing here", "text/plain", status=404))
            route(request)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            request.close_connection = True
            with self._guard:
                self._running -= 1

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what many tests are about."""


@contextmanager
def strange_server(routes: dict[str, Route]) -> Iterator[StrangeServer]:
    """The server, running; everything that hangs ends with the block."""
    server = StrangeServer(routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.patience.set()
        server.shutdown()
        server.server_close()
        thread.join()


def hang(request: Request) -> None:
    """Never answers."""
    request.server.patience.wait(20)


def drip(request: Request) -> None:
    """Answers a byte at a time, never silent for long."""
    request.send_response(200)
    request.send_header("Content-Type", "image/jpeg")
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while not request.server.patience.wait(0.05):
        request.wfile.write(b"x")
        request.wfile.flush()


def drip_headers(request: Request) -> None:
    """Never comes to the end of its headers."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not request.server.patience.wait(0.05):
        request.wfile.write(b"X")
        request.wfile.flush()


def endless(request: Request) -> None:
    """A body without an announced length and without an end."""
    request.send_response(200)
    request.send_header("Content-Type", "image/jpeg")
    request.end_headers()
    while not request.server.patience.is_set():
        request.wfile.write(b"x" * 65_536)


def garbage(request: Request) -> None:
    """No HTTP at all."""
    request.wfile.write(b"\x00\x01SSH-2.0\r\n\r\n")


def cut_short(request: Request) -> None:
    """Announces more than it sends."""
    data = picture()
    request.send_response(200)
    request.send_header("Content-Type", "image/jpeg")
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[: len(data) // 2])
    request.close_connection = True


def hang_up(request: Request) -> None:
    """Closes without a word."""
    request.close_connection = True
