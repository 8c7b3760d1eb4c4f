"""The client's side of HTTP against servers that misbehave; none of it may reach beyond this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from peyda import errors
from peyda.client import remote
from peyda.client.remote import NotAnswered, RemoteGallery
from peyda.types import Hit

Reply = tuple[int, str, bytes]
HIT = Hit(1, 0.25, "/عکس/caf\udce9.jpg", 7, 4, 3, "2024-03-20T10:00:00", None, 51.4)


class FakeServer:
    """Answers health as asked and everything else by `self.answer`; remembers targets, bodies and connections."""

    def __init__(self) -> None:
        self.gallery_id = "the-gallery"
        self.answer: Callable[[str], Reply] = lambda target: _json({"hits": [HIT.to_dict()]})
        self.targets: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.closes = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                if self.path == "/api/health":
                    reply = _json({"gallery_id": outer.gallery_id, "model": "mini"})
                else:
                    outer.targets.append(self.path)
                    outer.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                    reply = outer.answer(self.path)
                status, kind, data = reply
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                if outer.closes and self.path != "/api/health":
                    self.close_connection = True  # without saying so, as a server that restarts does

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def _json(value: object, status: int = 200, kind: str = "application/json") -> Reply:
    return status, kind, json.dumps(value).encode("ascii")


def _problem(kind: str, status: int = 400, **extra: object) -> Reply:
    body = {"type": kind, "title": "x", "status": status, "detail": "what happened", "hint": "what to do", **extra}
    return _json(body, status, "application/problem+json")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def gallery(server: FakeServer) -> Iterator[RemoteGallery]:
    opened = RemoteGallery(server.url, server.gallery_id)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:8000",
        "http://192.168.1.2:8000",
        "http://10.0.0.1",
        "http://0.0.0.0:8000",
        "https://127.0.0.1:8000",
        "file:///etc/passwd",
        "http://127.0.0.1.evil.example",
        "http://[::ffff:10.0.0.1]:80",
        "http://127.0.0.1:99999",
        "",
        "127.0.0.1:8000",
    ],
)
def test_only_this_machine_is_ever_asked(url: str) -> None:
    with pytest.raises(NotAnswered, match="not one of this machine's own"):
        RemoteGallery(url, "the-gallery")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000", "http://127.9.9.9"]
)
def test_addresses_of_this_machine_are_taken_without_asking_them(url: str) -> None:
    RemoteGallery(url, "the-gallery").close()


def test_a_query_travels_whole_and_hits_come_back_equal(server: FakeServer, gallery: RemoteGallery) -> None:
    query = 'سگ & گربه + "برف" #? 100%\u200c'
    assert gallery.search(query, {"k": "3", "folder": "/عکس/caf\udce9"}) == [HIT]
    parts = urlsplit(server.targets[0])
    assert parts.path == "/api/search"
    given = parse_qs(parts.query, errors="surrogateescape")
    assert given == {"q": [query], "k": ["3"], "folder": ["/عکس/caf\udce9"]}


def test_bytes_and_ids_travel(server: FakeServer, gallery: RemoteGallery) -> None:
    data = bytes(range(256)) * 100
    assert gallery.search_like(data, {"k": "3"}) == [HIT]
    assert (server.targets[-1], server.bodies[-1]) == ("/api/search/image?k=3", data)


def test_fields_of_a_newer_server_are_ignored(server: FakeServer, gallery: RemoteGallery) -> None:
    server.answer = lambda target: _json({"hits": [{**HIT.to_dict(), "mood": "happy"}], "more": 1})
    assert gallery.search("x", {}) == [HIT]


def test_a_connection_is_kept_and_a_dropped_one_replaced(server: FakeServer, gallery: RemoteGallery) -> None:
    for _ in range(3):
        gallery.search("x", {})
    assert server.connections == 1
    server.closes = True
    for _ in range(3):
        assert gallery.search("x", {}) == [HIT]
    assert len(server.targets) == 6


TREE = [value for value in vars(errors).values() if isinstance(value, type) and value is not errors.ImageRefused]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_its_own_class(
    kind: type[errors.PeydaError], server: FakeServer, gallery: RemoteGallery
) -> None:
    server.answer = lambda target: _problem(kind.__name__)
    with pytest.raises(kind) as raised:
        gallery.search("x", {})
    assert type(raised.value) is kind
    assert (raised.value.message, raised.value.hint) == ("what happened", "what to do")


def test_a_refused_image_keeps_its_reason(server: FakeServer, gallery: RemoteGallery) -> None:
    server.answer = lambda target: _problem("ImageRefused", 422, reason="truncated")
    with pytest.raises(errors.ImageRefused) as raised:
        gallery.search_like(b"x", {})
    assert raised.value.reason == "truncated"


@pytest.mark.parametrize(
    "reply",
    [
        _problem("InternalError", 500),
        _problem("HostRefused", 421),
        _problem("annotations"),
        _problem("Exception"),
        (302, "text/html", b""),
        (200, "text/html", b"<html>"),
        (200, "application/json", b"{"),
        (200, "text/plain", b"{}"),
        (404, "application/json", b"{}"),
        _json([]),
        _json({"hits": 3}),
        _json({"hits": [{"rank": 1}]}),
        _json({"hits": ["x"]}),
    ],
    ids=str,
)
def test_what_no_peyda_server_says_means_search_locally(
    reply: Reply, server: FakeServer, gallery: RemoteGallery
) -> None:
    server.answer = lambda target: reply
    with pytest.raises(NotAnswered):
        gallery.search("x", {})


def test_another_gallery_on_the_same_port_is_noticed(server: FakeServer, gallery: RemoteGallery) -> None:
    server.gallery_id = "another"
    with pytest.raises(NotAnswered) as raised:
        gallery.search("x", {})
    assert raised.value.is_gone
    assert server.targets == []


def test_nobody_there(server: FakeServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gallery = RemoteGallery(f"http://127.0.0.1:{free.getsockname()[1]}", "the-gallery")
        with pytest.raises(NotAnswered) as raised:
            gallery.search("x", {})
    assert raised.value.is_gone


def test_a_stuck_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "HEALTH_TIMEOUT_S", 0.05)
    with socket.socket() as stuck:
        stuck.bind(("127.0.0.1", 0))
        stuck.listen()
        gallery = RemoteGallery(f"http://127.0.0.1:{stuck.getsockname()[1]}", "the-gallery")
        with pytest.raises(NotAnswered) as raised:
            gallery.search("x", {})
    assert raised.value.is_gone


def test_a_server_that_gets_stuck_later_is_given_up(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SEARCH_TIMEOUT_S", 0.05)
    release = threading.Event()

    def stuck(target: str) -> Reply:
        release.wait(10)
        return _json({"hits": []})

    gallery = RemoteGallery(server.url, server.gallery_id)
    assert gallery.search("x", {}) == [HIT]
    server.answer = stuck
    try:
        with pytest.raises(NotAnswered) as raised:
            gallery.search("x", {})
    finally:
        release.set()
    assert raised.value.is_gone
    gallery.close()


def test_what_is_too_long_for_an_address_is_not_sent(server: FakeServer, gallery: RemoteGallery) -> None:
    for params in ({"q": "سگ" * 50_000}, {"folder": "/\ud800"}):
        with pytest.raises(NotAnswered) as raised:
            gallery.search("x", params)
        assert not raised.value.is_gone
    with pytest.raises(NotAnswered):
        gallery.search_like(bytes(remote.BODY_LIMIT_BYTES + 1), {})
    assert server.targets == []


def test_threads_do_not_share_a_connection(server: FakeServer, gallery: RemoteGallery) -> None:
    server.answer = lambda target: _json(
        {"hits": [{**HIT.to_dict(), "path": parse_qs(urlsplit(target).query)["q"][0]}]}
    )
    wrong: list[str] = []

    def ask(name: str) -> None:
        wrong.extend(name for _ in range(20) if gallery.search(name, {})[0].path != name)

    threads = [threading.Thread(target=ask, args=(f"query-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.targets) == 120
