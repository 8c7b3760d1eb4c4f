"""Fetching photographs from a service that misbehaves in every way we could think of; a local one."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from peyda.demo import fetch_photos, read_credits
from peyda.demo.fetcher import Fetcher, is_web_address
from peyda.errors import DataError, StorageError


def photo(width: int = 32, height: int = 24, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 90, 30)).save(buffer, kind)
    return buffer.getvalue()


def entry(name: object, **other: object) -> dict[str, object]:
    return {
        "id": name,
        "author": f"Author {name}",
        "width": 4000,
        "height": 3000,
        "url": f"https://example.org/{name}",
    } | other


class Service(ThreadingHTTPServer):
    """A Lorem Picsum of our own. `photos[id]` answers for one id; the default is a good photograph."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.listing: list[object] = []
        self.photos: dict[str, Callable[[Handler], None]] = {}
        self.list_answer: Callable[[Handler], None] | None = None
        self.asked: Counter[str] = Counter()
        self.active = 0
        self.most_active = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        with self.server.lock:
            self.server.asked[parts.path] += 1
            self.server.active += 1
            self.server.most_active = max(self.server.most_active, self.server.active)
        try:
            self.answer(parts.path, parse_qs(parts.query))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.server.lock:
                self.server.active -= 1

    def answer(self, path: str, query: dict[str, list[str]]) -> None:
        if path == "/v2/list":
            if self.server.list_answer:
                self.server.list_answer(self)
                return
            page, limit = int(query["page"][0]), int(query["limit"][0])
            chosen = self.server.listing[(page - 1) * limit : page * limit]
            self.reply(json.dumps(chosen).encode(), "application/json; charset=utf-8")
            return
        name = path.split("/")[2]
        self.server.photos.get(name, lambda handler: handler.reply(photo()))(self)

    def reply(
        self, body: bytes, kind: str = "image/jpeg", status: int = 200, length: int | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def impatient(**other: float) -> Fetcher:
    return Fetcher(**{"timeout_s": 5.0, "deadline_s": 10.0, "tries": 2, "backoff_s": 0.01} | other)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_photographs_come_with_author_licence_and_source(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("10"), entry("11", author="زهرا"), entry("12", license="CC0")]
    states: list[tuple[int, int]] = []
    folder = tmp_path / "دمو"
    summary = fetch_photos(
        str(folder), service=service.address + "/", progress=lambda state, total: states.append((state.photos, total))
    )
    assert (summary.fetched, summary.already_there, summary.failed) == (3, 0, 0)
    assert files(folder) == {"10.jpg", "11.jpg", "12.jpg", "LICENSES.csv"}
    assert (folder / "10.jpg").read_bytes() == photo()
    assert summary.fetched_bytes == 3 * len(photo())
    assert states[0] == (0, 3)
    assert states[-1] == (3, 3)
    with (folder / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["11.jpg"]["author"] == "زهرا"
    assert rows["12.jpg"]["licence"] == "CC0"
    assert "Unsplash" in rows["10.jpg"]["licence"]
    assert rows["10.jpg"]["source"] == "https://example.org/10"
    assert service.asked["/id/10/640/480"] == 1, "scaled to fit, the ratio kept"


def test_a_second_run_asks_for_nothing_that_is_there(service: Service, tmp_path: Path) -> None:
    service.listing = [entry(n) for n in range(3)]
    fetch_photos(str(tmp_path), service=service.address)
    (tmp_path / "1.jpg").unlink()
    service.asked.clear()
    summary = fetch_photos(str(tmp_path), service=service.address)
    assert (summary.fetched, summary.already_there) == (1, 2)
    assert [path for path in service.asked if path.startswith("/id/")] == ["/id/1/640/480"]


def test_pages_are_turned_until_there_are_enough_and_duplicates_count_once(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("0")] * 60 + [entry(n) for n in range(100)]
    summary = fetch_photos(str(tmp_path), count=70, service=service.address)
    assert summary.fetched == 70
    assert service.asked["/v2/list"] == 2


def test_no_more_than_four_requests_at_a_time(service: Service, tmp_path: Path) -> None:
    service.listing = [entry(n) for n in range(40)]
    fetch_photos(str(tmp_path), service=service.address)
    assert service.most_active <= 4


def test_every_bad_answer_costs_one_photograph_and_has_a_reason(service: Service, tmp_path: Path) -> None:
    good = photo()
    bad: dict[str, tuple[Callable[[Handler], None], str]] = {
        "missing": (lambda h: h.reply(b"", status=404), "status 404"),
        "page": (lambda h: h.reply(b"<html>", "text/html"), "another type"),
        "notimage": (lambda h: h.reply(b"GIF89a nonsense"), "cannot be decoded"),
        "cut": (lambda h: h.reply(good[:-40], length=len(good)), "broke off"),
        "cutquietly": (lambda h: h.reply(good[: len(good) // 2]), "cannot be decoded"),
        "huge": (lambda h: h.reply(good, length=10**9), "more bytes"),
        "wide": (lambda h: h.reply(photo(3000, 10)), "another size"),
        "down": (lambda h: h.reply(b"", status=503), "status 503"),
        "elsewhere": (lambda h: h.reply(b"", status=302, Location="ftp://127.0.0.1/x"), "not safe"),
        "round": (lambda h: h.reply(b"", status=302, Location=h.path), "status 302"),
        "empty": (lambda h: h.reply(b""), "cannot be decoded"),
    }
    service.photos = {name: answer for name, (answer, _) in bad.items()}
    names = [name for pair in zip(bad, (f"good{n}" for n in range(len(bad))), strict=True) for name in pair]
    service.listing = [entry(name) for name in names]
    summary = fetch_photos(str(tmp_path), service=service.address, fetcher=impatient())
    assert summary.fetched == len(bad)
    assert summary.failed == len(bad)
    assert {name for name in files(tmp_path) if name.endswith(".jpg")} == {f"good{n}.jpg" for n in range(len(bad))}
    for _, words in bad.values():
        assert any(words in reason for reason in summary.reasons), (words, summary.reasons)
    assert not [name for name in files(tmp_path) if "part" in name]


def test_an_endless_answer_is_cut_off(service: Service, tmp_path: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b"\xff\xd8" * 50_000)

    service.listing = [entry("1"), entry("2")]
    service.photos["1"] = endless
    summary = fetch_photos(str(tmp_path), service=service.address, fetcher=impatient())
    assert (summary.fetched, summary.failed) == (1, 1)


def test_a_dripping_answer_meets_the_deadline(service: Service, tmp_path: Path) -> None:
    is_over = threading.Event()

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.end_headers()
        for _ in range(2000):
            handler.wfile.write(b"\xff")
            handler.wfile.flush()
            if is_over.wait(0.01):
                return

    service.listing = [entry("1"), entry("2")]
    service.photos["1"] = drip
    summary = fetch_photos(str(tmp_path), service=service.address, fetcher=impatient(deadline_s=0.2, tries=1))
    is_over.set()
    assert (summary.fetched, summary.reasons) == (1, {"the service is too slow": 1})


def test_passing_trouble_is_tried_again(service: Service, tmp_path: Path) -> None:
    turns = Counter[str]()

    def busy_once(handler: Handler) -> None:
        turns["1"] += 1
        if turns["1"] == 1:
            handler.reply(b"", status=429, Retry_After="0")
        else:
            handler.reply(photo())

    service.listing = [entry("1")]
    service.photos["1"] = busy_once
    assert fetch_photos(str(tmp_path), service=service.address, fetcher=impatient()).fetched == 1
    assert turns["1"] == 2


def test_a_wait_longer_than_reason_is_not_waited(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("1"), entry("2")]
    service.photos["1"] = lambda handler: handler.reply(b"", status=429, Retry_After="86400")
    summary = fetch_photos(str(tmp_path), service=service.address, fetcher=impatient())
    assert summary.reasons == {"the service answered with status 429": 1}
    assert service.asked["/id/1/640/480"] == 1


def test_a_dead_service_is_left_alone_after_a_dozen_failures(service: Service, tmp_path: Path) -> None:
    service.listing = [entry(n) for n in range(90)]
    service.photos = {str(n): lambda handler: handler.reply(b"", status=404) for n in range(5, 90)}
    summary = fetch_photos(str(tmp_path), service=service.address)
    assert summary.fetched == 5
    assert 12 <= summary.failed < 40, "those already under way may still fail"


@pytest.mark.parametrize(
    "hostile",
    [
        entry("../../etc/passwd"),
        entry("a/b"),
        entry(""),
        entry("x" * 65),
        entry("٣"),
        entry("1", width=0),
        entry("1", height=-5),
        entry("1", width="100"),
        entry("1", width=True),
        entry("1", width=10**9),
        ["1", 2, 3],
        None,
        "1",
    ],
)
def test_hostile_entries_are_passed_by(service: Service, tmp_path: Path, hostile: object) -> None:
    service.listing = [hostile, entry("good")]
    summary = fetch_photos(str(tmp_path / "in"), service=service.address)
    assert summary.fetched == 1
    assert files(tmp_path) == {"in"}
    assert files(tmp_path / "in") == {"good.jpg", "LICENSES.csv"}


def test_credits_are_one_printable_line(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("1", author="a\x1b[2J\nb\u202e" + "x" * 500, url="javascript:alert(1)")]
    fetch_photos(str(tmp_path), service=service.address)
    credit = read_credits(str(tmp_path))["1.jpg"]
    assert credit.author.isprintable()
    assert len(credit.author) <= 200
    assert credit.source == ""


def test_the_suffix_says_what_the_bytes_are(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("1")]
    service.photos["1"] = lambda handler: handler.reply(photo(kind="PNG"), "image/jpeg")
    fetch_photos(str(tmp_path), service=service.address)
    assert files(tmp_path) == {"1.png", "LICENSES.csv"}
    assert set(read_credits(str(tmp_path))) == {"1.png"}
    assert fetch_photos(str(tmp_path), service=service.address).already_there == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda h: h.reply(b"{}", "application/json"), "not a list"),
        (lambda h: h.reply(b"[", "application/json"), "not JSON"),
        (lambda h: h.reply(b"[" * 100_000, "application/json"), "not JSON"),
        (lambda h: h.reply(b"blocked", "text/html"), "another type"),
        (lambda h: h.reply(b"", status=403), "status 403"),
        (lambda h: h.reply(b"[]", "application/json"), "its list is empty"),
    ],
)
def test_an_unusable_list_names_the_way_without_a_network(
    service: Service, tmp_path: Path, answer: Callable[[Handler], None], words: str
) -> None:
    service.list_answer = answer
    with pytest.raises(DataError, match=words) as caught:
        fetch_photos(str(tmp_path), service=service.address, fetcher=impatient())
    assert "make demo" in caught.value.hint


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_offline_without_earlier_photographs_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is there a network") as caught:
        fetch_photos(str(tmp_path), service=f"http://127.0.0.1:{closed_port()}", fetcher=impatient())
    assert "make demo" in caught.value.hint


def test_offline_with_earlier_photographs_uses_them(service: Service, tmp_path: Path) -> None:
    service.listing = [entry("1"), entry("2")]
    fetch_photos(str(tmp_path), service=service.address)
    summary = fetch_photos(str(tmp_path), service=f"http://127.0.0.1:{closed_port()}", fetcher=impatient())
    assert summary.is_offline
    assert summary.photos == 2
    assert set(read_credits(str(tmp_path))) == {"1.jpg", "2.jpg"}


NOT_WEB = ["file:///etc", "picsum.photos", "ftp://x/y", "http://", "http://h:99999", "http://a b"]


@pytest.mark.parametrize("address", NOT_WEB)
def test_only_web_addresses_are_services(tmp_path: Path, address: str) -> None:
    assert not is_web_address(address)
    with pytest.raises(DataError, match="no address of a photo service"):
        fetch_photos(str(tmp_path), service=address)


def test_interrupt_stops_asking_and_keeps_what_came(service: Service, tmp_path: Path) -> None:
    service.listing = [entry(n) for n in range(60)]

    def interrupt(state: object, total: int) -> None:
        if getattr(state, "fetched", 0) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_photos(str(tmp_path), service=service.address, progress=interrupt)
    assert 5 <= len(files(tmp_path)) - 1 <= 12
    assert fetch_photos(str(tmp_path), service=service.address).photos == 60


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write demo photographs"):
        fetch_photos(os.path.join(tmp_path, "file", "in"), service="http://127.0.0.1:1")
