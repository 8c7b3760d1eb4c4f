"""`peyda.Gallery`: the facade over a real gallery, and its choice between a server and a local search."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import peyda
from peyda import errors
from peyda.gallery.locks import ServerInfo, ServerPresence
from peyda.search import parse_where
from peyda.types import Hit, IndexSummary

MARKER = Hit(1, 0.5, "/from/the/server.jpg", 99)
LATER = "2100"


@pytest.fixture
def gallery(tmp_path: Path, tiny_model_dir: Path, photo_dir: Path, private_home: Path) -> Iterator[peyda.Gallery]:
    with peyda.Gallery.create(tmp_path / "gallery", model=str(tiny_model_dir)) as made:
        assert made.index([photo_dir], workers=1).added == 12
        yield made


Reply = Callable[[str], tuple[int, str, object]]


class Server:
    """Holds a gallery as `peyda serve` does and answers every search with `MARKER`."""

    def __init__(self, gallery: peyda.Gallery, *, model: str | None = None) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.reply: Reply = lambda path: (200, "application/json", {"hits": [MARKER.to_dict()]})
        manifest = gallery.directory.manifest
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/api/health":
                    health = {"gallery_id": manifest.gallery_id, "model": model or manifest.model}
                    status, kind, value = 200, "application/json", health
                else:
                    outer.asked.append(self.path)
                    outer.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                    status, kind, value = outer.reply(self.path)  # type: ignore[assignment]
                data = json.dumps(value).encode("ascii")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        url = f"http://127.0.0.1:{self.http.server_port}"
        self.presence = ServerPresence(gallery.directory.path, ServerInfo(url, os.getpid(), manifest.gallery_id))
        self.presence.__enter__()

    def vanish(self) -> None:
        """Stop answering, as after a kill: the lock goes with the process."""
        self.presence.__exit__()
        self.stop_listening()

    def stop_listening(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(gallery: peyda.Gallery) -> Iterator[Server]:
    held = Server(gallery)
    yield held
    held.vanish()


def _names(hits: list[Hit]) -> list[str]:
    return [os.path.basename(hit.path).partition(".")[0] for hit in hits]


def test_persian_words_find_their_colours(gallery: peyda.Gallery) -> None:
    assert len(gallery) == 12
    for word, name in (("قرمز", "red"), ("آبي", "blue"), ("yellow", "yellow")):
        hits = gallery.search(word, 2)
        assert _names(hits) == [name, name]
        assert [hit.rank for hit in hits] == [1, 2]
    assert len(gallery.search("سبز", 100)) == 12


def test_filters(gallery: peyda.Gallery, photo_dir: Path) -> None:
    inside = gallery.search("قرمز", 100, folder=photo_dir / "first")
    assert {os.path.dirname(hit.path) for hit in inside} == {str(photo_dir / "first")}
    assert len(inside) == 6
    assert gallery.search("قرمز", after=LATER) == []
    assert len(gallery.search("قرمز", 100, before=date(2100, 1, 1))) == 12
    best = gallery.search("قرمز", 1)[0].score
    assert _names(gallery.search("قرمز", min_score=best)) == ["red"]


def test_photographs_like_one(gallery: peyda.Gallery, photo_dir: Path) -> None:
    path = photo_dir / "second" / "blue.png"
    by_path = gallery.search_like(path, 3)
    assert _names(by_path)[:2] == ["blue", "blue"]
    assert by_path == gallery.search_like(str(path), 3) == gallery.search_like(path.read_bytes(), 3)
    with Image.open(path) as image:
        assert gallery.search_like(image, 3) == by_path
    itself = by_path[0].photo_id if by_path[0].path == str(path) else by_path[1].photo_id
    assert _names(gallery.similar(itself, 1)) == ["blue"]
    assert itself not in {hit.photo_id for hit in gallery.similar(itself, 100)}
    assert gallery.photo(itself).path == str(path)  # type: ignore[union-attr]


def test_a_file_that_is_no_photograph_is_refused_by_name(gallery: peyda.Gallery, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no image")
    with pytest.raises(errors.ImageRefused, match=r"notes\.jpg: ") as refusal:
        gallery.search_like(text)
    assert refusal.value.reason == "not_an_image"
    with pytest.raises(errors.ImageRefused, match=r"missing\.jpg") as refusal:
        gallery.search_like(tmp_path / "missing.jpg")
    assert refusal.value.reason == "vanished"
    with pytest.raises(errors.ImageRefused):
        gallery.search_like(b"no image")


def test_what_a_gallery_tells_of_itself(gallery: peyda.Gallery, photo_dir: Path, tmp_path: Path) -> None:
    (photo_dir / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    gallery.index(workers=1)
    stats = gallery.stats()
    assert json.loads(json.dumps(stats)) == stats
    assert (stats["photos"], stats["skipped"], stats["path"]) == (12, 1, str(tmp_path / "gallery"))
    assert [os.path.basename(one.path) for one in gallery.skipped()] == ["broken.jpg"]
    assert gallery.verify().is_sound


def test_indexing_shows_at_once_in_an_open_gallery(gallery: peyda.Gallery, photo_dir: Path) -> None:
    other = peyda.Gallery.open(gallery.directory.path)
    assert len(other.search("red", 100)) == 12
    Image.new("RGB", (40, 40), (220, 30, 30)).save(photo_dir / "new.png")
    (photo_dir / "first" / "black.jpg").unlink()
    seen: list[object] = []
    summary = gallery.index(photo_dir, progress=seen.append, workers=1)  # type: ignore[arg-type]
    assert (summary.added, summary.removed, len(seen) > 0) == (1, 1, True)
    names = _names(other.search("red", 100))
    assert names.count("new") == 1
    assert names.count("black") == 1
    other.close()


def test_opening_and_making(tmp_path: Path, tiny_model_dir: Path, private_home: Path, monkeypatch: Any) -> None:
    with pytest.raises(errors.GalleryNotFound) as refusal:
        peyda.Gallery.open(tmp_path / "none")
    assert "peyda index" in refusal.value.hint
    monkeypatch.setenv("PEYDA_GALLERY", str(tmp_path / "chosen"))
    monkeypatch.setenv("PEYDA_MODEL", str(tiny_model_dir))
    with peyda.Gallery.create() as made:
        assert made.directory.path == tmp_path / "chosen"
        assert made.directory.manifest.model == str(tiny_model_dir)
        assert made.search("قرمز") == []
        assert len(made) == 0
    with peyda.Gallery.open() as opened:
        assert opened.directory.path == tmp_path / "chosen"
    with pytest.raises(errors.GalleryError, match="already"):
        peyda.Gallery.create()


def test_another_model_is_refused(gallery: peyda.Gallery, other_model_dir: Path, photo_dir: Path) -> None:
    with peyda.Gallery.open(gallery.directory.path, model=str(other_model_dir)) as opened:
        with pytest.raises(errors.GalleryMismatch, match="was made with") as refusal:
            opened.search("قرمز")
        assert "--model" in refusal.value.hint
        with pytest.raises(errors.GalleryMismatch):
            opened.index([photo_dir])


def test_a_closed_gallery_is_a_programmers_mistake(gallery: peyda.Gallery) -> None:
    gallery.close()
    gallery.close()
    for use in (lambda: gallery.search("x"), lambda: len(gallery), lambda: gallery.stats()):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_server_that_holds_the_gallery_is_asked(gallery: peyda.Gallery, server: Server, photo_dir: Path) -> None:
    assert gallery.search("كتاب", 3, min_score=0.1, folder="/عکس", after="۲۰۲۰", before=date(2021, 2, 3)) == [MARKER]
    from urllib.parse import parse_qs, urlsplit

    given = {name: values[0] for name, values in parse_qs(urlsplit(server.asked[0]).query).items()}
    assert given.pop("q") == "کتاب"
    where = parse_where(given.pop("folder"), given.pop("after"), given.pop("before"))
    assert where == parse_where("/عکس", "2020", "2021-02-03")
    assert given == {"k": "3", "min_score": "0.1"}
    red = photo_dir / "first" / "red.jpg"
    assert gallery.search_like(red) == gallery.search_like(red.read_bytes()) == [MARKER]
    assert server.bodies[-2:] == [red.read_bytes()] * 2


def test_not_asked_when_told_not_to(gallery: peyda.Gallery, server: Server) -> None:
    with peyda.Gallery.open(gallery.directory.path, via_server=False) as opened:
        assert _names(opened.search("قرمز", 1)) == ["red"]
    assert server.asked == []


def test_a_pil_image_and_bad_files_are_judged_here(gallery: peyda.Gallery, server: Server, tmp_path: Path) -> None:
    assert _names(gallery.search_like(Image.new("RGB", (9, 9), (30, 40, 220)), 1)) == ["blue"]
    with pytest.raises(errors.ImageRefused, match=r"missing\.jpg"):
        gallery.search_like(tmp_path / "missing.jpg")
    with pytest.raises(errors.ImageRefused):
        gallery.search_like(tmp_path)
    assert server.asked == []


def test_bad_arguments_never_reach_the_server(gallery: peyda.Gallery, server: Server) -> None:
    for bad in ({"query": " "}, {"query": "x", "k": 0}, {"query": "x", "after": "soon"}):
        with pytest.raises(errors.QueryError):
            gallery.search(**bad)  # type: ignore[arg-type]
    assert server.asked == []


def test_errors_of_the_server_are_raised_here(gallery: peyda.Gallery, server: Server, photo_dir: Path) -> None:
    problem = {"type": "ImageRefused", "detail": "bad picture", "hint": "mend it", "reason": "truncated"}
    server.reply = lambda path: (422, "application/problem+json", problem)
    with pytest.raises(errors.ImageRefused, match=r"red\.jpg: bad picture") as refusal:
        gallery.search_like(photo_dir / "first" / "red.jpg")
    assert (refusal.value.reason, refusal.value.hint) == ("truncated", "mend it")


def test_what_the_server_cannot_answer_is_answered_here(gallery: peyda.Gallery, server: Server) -> None:
    server.reply = lambda path: (500, "application/problem+json", {"type": "InternalError"})
    assert _names(gallery.search("قرمز", 1)) == ["red"]
    server.reply = lambda path: (200, "application/json", {"hits": [MARKER.to_dict()]})
    assert gallery.search("قرمز", 1) == [MARKER], "one odd answer is no reason to leave the server alone"


def test_a_server_that_dies_is_not_missed(gallery: peyda.Gallery) -> None:
    server = Server(gallery)
    assert gallery.search("قرمز", 1) == [MARKER]
    server.vanish()
    assert _names(gallery.search("قرمز", 1)) == ["red"]
    successor = Server(gallery)
    try:
        assert gallery.search("قرمز", 1) == [MARKER], "a new server at a new address is found"
    finally:
        successor.vanish()


def test_a_server_that_listens_no_more_is_left_alone_for_a_while(
    gallery: peyda.Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(gallery)
    server.stop_listening()  # the lock is still held
    from peyda.client import remote

    tries: list[str] = []
    real = remote.RemoteGallery.search

    def counted(self: remote.RemoteGallery, query: str, params: Any) -> list[Hit]:
        tries.append(query)
        return real(self, query, params)

    monkeypatch.setattr(remote.RemoteGallery, "search", counted)
    try:
        for _ in range(3):
            assert _names(gallery.search("قرمز", 1)) == ["red"]
    finally:
        server.presence.__exit__()
    assert len(tries) == 1


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "http://example.com", "nonsense"])
def test_a_server_json_that_names_another_machine_is_ignored(gallery: peyda.Gallery, url: str) -> None:
    info = ServerInfo(url, 1, gallery.directory.manifest.gallery_id)
    with ServerPresence(gallery.directory.path, info):
        assert _names(gallery.search("قرمز", 1)) == ["red"]


def test_a_server_of_another_gallery_is_ignored(gallery: peyda.Gallery, server: Server) -> None:
    url = f"http://127.0.0.1:{server.http.server_port}"
    server.presence.__exit__()
    with ServerPresence(gallery.directory.path, ServerInfo(url, 1, "another")):
        assert _names(gallery.search("قرمز", 1)) == ["red"]
    assert server.asked == []


def test_a_server_with_another_model_is_not_asked(gallery: peyda.Gallery, tiny_model_dir: Path) -> None:
    server = Server(gallery, model="another")
    try:
        with peyda.Gallery.open(gallery.directory.path, model=str(tiny_model_dir)) as opened:
            assert _names(opened.search("قرمز", 1)) == ["red"]
        assert server.asked == []
    finally:
        server.vanish()


def test_bytes_of_any_kind_of_stream(gallery: peyda.Gallery) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (5, 5), (30, 200, 40, 255)).save(buffer, "PNG")
    assert _names(gallery.search_like(buffer.getvalue(), 1)) == ["green"]


def test_searches_go_on_while_photographs_come_and_go(gallery: peyda.Gallery, photo_dir: Path) -> None:
    for number in range(60):
        Image.new("RGB", (24, 24), (number, 2 * number, 255 - number)).save(photo_dir / f"more-{number}.png")
    for colour in ("red", "green"):
        (photo_dir / "second" / f"{colour}.png").unlink()
    summaries: list[IndexSummary] = []

    def index() -> None:
        with peyda.Gallery.open(gallery.directory.path) as other:
            summaries.append(other.index(workers=1))

    indexer = threading.Thread(target=index)
    indexer.start()
    counts = []
    while indexer.is_alive() or not counts:
        hits = gallery.search("آبی", 1000)
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        counts.append(len(hits))
    indexer.join()
    assert (summaries[0].added, summaries[0].removed) == (60, 2)
    assert min(counts) >= 10
    assert len(gallery.search("آبی", 1000)) == 70
