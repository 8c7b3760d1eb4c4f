"""The HTTP API over a real socket, on a real (tiny) gallery: what is answered, what is refused, and how."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image

from peyda._version import __version__
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import ServerPresence
from peyda.gallery.pipeline import index_photos
from peyda.search import Searcher
from peyda.server import create_app, running
from peyda.server.api import BODY_LIMIT_BYTES
from peyda.server.service import Service

BAD_NAME = os.fsdecode(b"caf\xe9 \xd8\xb3\xda\xaf.jpg")
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (250, 250, 250)}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> tuple[int, str]:
        """Status and type, once the reply is known to be a whole problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        assert set(self.json) >= {"type", "title", "status", "detail", "hint"}
        assert self.json["status"] == self.status
        assert self.json["detail"]
        return self.status, self.json["type"]


class Client:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def ask(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection(str(self.host), self.port, timeout=30)
        try:
            target = path + ("?" + urlencode(params) if params else "")
            connection.request(method, target, body, dict(headers or {}))
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "عکس‌ها").mkdir()
    rng = np.random.default_rng(5)
    for name, rgb in COLOURS.items():
        for part, suffix in ((folder, "jpg"), (folder / "عکس‌ها", "png")):
            pixels = np.clip(np.asarray(rgb) + rng.integers(-8, 9, (60, 90, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(part / f"{name}.{suffix}")
    Image.new("RGB", (40, 30), (200, 190, 10)).save(folder / "scan.tif")
    Image.new("RGB", (40, 30), (230, 210, 20)).save(os.fsdecode(os.fsencode(folder / "x")[:-1]) + BAD_NAME, "JPEG")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 that is all")
    return folder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, photos: Path, tiny_encoder: Any) -> GalleryDirectory:
    directory = GalleryDirectory.create(tmp_path_factory.mktemp("gallery"), tiny_encoder)
    assert index_photos(directory, tiny_encoder, [str(photos)]).photos == 10
    return directory


@pytest.fixture(scope="module")
def client(gallery: GalleryDirectory, tiny_encoder: Any) -> Iterator[Client]:
    with running(gallery, encoder=tiny_encoder) as url:
        yield Client(url)


def photo_id(client: Client, name: str) -> int:
    hits = client.ask("/api/search", {"q": "red", "k": 100}).json["hits"]
    return int(next(hit["photo_id"] for hit in hits if hit["path"].endswith(name)))


# Health, search


def test_health_says_what_is_served(client: Client, gallery: GalleryDirectory) -> None:
    health = client.ask("/api/health").json
    assert health["status"] == "ok"
    assert health["version"] == __version__
    assert health["gallery_id"] == gallery.manifest.gallery_id
    assert health["photos"] == 10
    assert health["model"] == gallery.manifest.model
    assert str(gallery.path) in health["index_command"]


@pytest.mark.parametrize("query", ["قرمز", "red", "قرمز آبی", "یک جملهٔ دیگر"])
def test_search_answers_what_the_searcher_answers(
    client: Client, gallery: GalleryDirectory, tiny_encoder: Any, query: str
) -> None:
    with Searcher(gallery, tiny_encoder) as searcher:
        expected = [hit.to_dict() for hit in searcher.search(query, 7)]
    reply = client.ask("/api/search", {"q": query, "k": 7})
    assert reply.json["hits"] == expected
    assert (reply.json["query"], reply.json["photos"]) == (query, 10)
    assert reply.json["took_ms"] >= 0


def test_the_best_hits_have_the_colour_that_was_asked_for(client: Client) -> None:
    hits = client.ask("/api/search", {"q": "سبز", "k": 2}).json["hits"]
    assert {os.path.basename(hit["path"]) for hit in hits} == {"green.jpg", "green.png"}
    assert [hit["rank"] for hit in hits] == [1, 2]


def test_replies_are_ascii_and_carry_any_file_name(client: Client) -> None:
    reply = client.ask("/api/search", {"q": "زرد", "k": 100})
    assert reply.body.isascii()
    assert reply.headers["content-type"] == "application/json"
    assert any(hit["path"].endswith(BAD_NAME) for hit in reply.json["hits"])


def test_filters_reach_the_search(client: Client, photos: Path) -> None:
    inner = client.ask("/api/search", {"q": "red", "k": 100, "folder": str(photos / "عکس‌ها")}).json["hits"]
    assert sorted(os.path.basename(hit["path"]) for hit in inner) == sorted(f"{name}.png" for name in COLOURS)
    assert client.ask("/api/search", {"q": "red", "before": "۱۹۹۰-۰۱-۰۱"}).json["hits"] == []
    best = client.ask("/api/search", {"q": "red", "k": 1}).json["hits"][0]
    above = client.ask("/api/search", {"q": "red", "k": 100, "min_score": best["score"]}).json["hits"]
    assert above
    assert all(hit["score"] >= best["score"] for hit in above)


def test_a_folder_whose_name_is_not_utf8_can_be_asked_for(tmp_path: Path, tiny_encoder: Any) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"photos", b"caf\xe9")
    os.makedirs(folder)
    Image.new("RGB", (20, 20), (200, 0, 0)).save(os.fsdecode(folder) + "/inside.png")
    Image.new("RGB", (20, 20), (0, 0, 200)).save(os.fsdecode(os.path.dirname(folder)) + "/outside.png")
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    index_photos(directory, tiny_encoder, [str(tmp_path / "photos")])
    with running(directory, encoder=tiny_encoder) as url:
        reply = Client(url).ask(f"/api/search?q=red&folder={quote(folder)}")
    assert [os.path.basename(hit["path"]) for hit in reply.json["hits"]] == ["inside.png"]


def test_a_query_of_ten_thousand_letters_is_answered(client: Client) -> None:
    reply = client.ask("/api/search", {"q": "سگ در برف " * 1000, "k": 3})
    assert reply.status == 200
    assert len(reply.json["hits"]) == 3


@pytest.mark.parametrize(
    ("params", "status", "kind"),
    [
        ({"q": ""}, 400, "QueryError"),
        ({"q": " \u200c\u200f "}, 400, "QueryError"),
        ({}, 422, "RequestError"),
        ({"q": "red", "k": 0}, 400, "QueryError"),
        ({"q": "red", "k": 10**9}, 400, "QueryError"),
        ({"q": "red", "k": "many"}, 422, "RequestError"),
        ({"q": "red", "min_score": "nan"}, 400, "QueryError"),
        ({"q": "red", "after": "tomorrow"}, 400, "QueryError"),
        ({"q": "red", "after": "2024-01-02", "before": "2024-01-01"}, 400, "QueryError"),
        ({"q": "red", "folder": "a\0b"}, 400, "QueryError"),
    ],
)
def test_bad_searches_are_refused_with_a_reason(client: Client, params: dict[str, Any], status: int, kind: str) -> None:
    assert client.ask("/api/search", params).problem() == (status, kind)


# Similar photographs, and searching by one


def test_similar_leaves_the_photograph_itself_out(client: Client) -> None:
    mine = photo_id(client, "blue.jpg")
    hits = client.ask(f"/api/photos/{mine}/similar", {"k": 100}).json["hits"]
    assert os.path.basename(hits[0]["path"]) == "blue.png"
    assert len(hits) == 9
    assert mine not in {hit["photo_id"] for hit in hits}


@pytest.mark.parametrize("path", ["", "/similar", "/thumbnail", "/file"])
@pytest.mark.parametrize("number", [0, 999, -1, 2**63, 10**30])
def test_an_unknown_id_is_not_found(client: Client, path: str, number: int) -> None:
    assert client.ask(f"/api/photos/{number}{path}").problem() == (404, "PhotoNotFound")


def test_only_numbers_name_photographs(client: Client) -> None:
    for wrong in ("..%2f..%2fetc%2fpasswd", "1.5", "red.jpg"):
        assert client.ask(f"/api/photos/{wrong}").status in {404, 422}
        assert client.ask(f"/api/photos/{wrong}/file").status in {404, 422}


def jpeg(rgb: tuple[int, int, int], size: tuple[int, int] = (50, 40)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, rgb).save(file, "JPEG")
    return file.getvalue()


def test_searching_by_a_photograph(client: Client) -> None:
    reply = client.ask("/api/search/image", {"k": 2}, method="POST", body=jpeg((225, 25, 35)))
    assert {os.path.basename(hit["path"]) for hit in reply.json["hits"]} == {"red.jpg", "red.png"}
    assert reply.json["query"] == ""


@pytest.mark.parametrize("body", [b"not a photograph", b"\xff\xd8\xff\xe0", jpeg((1, 2, 3))[:300]])
def test_what_is_no_photograph_is_refused_with_its_reason(client: Client, body: bytes) -> None:
    reply = client.ask("/api/search/image", method="POST", body=body)
    assert reply.problem() == (422, "ImageRefused")
    assert reply.json["reason"]


def test_an_empty_body_is_refused(client: Client) -> None:
    assert client.ask("/api/search/image", method="POST", body=b"").problem() == (400, "RequestError")


def test_an_announced_giant_is_refused_before_it_is_sent(client: Client) -> None:
    connection = http.client.HTTPConnection(str(client.host), client.port, timeout=30)
    connection.putrequest("POST", "/api/search/image")
    connection.putheader("Content-Length", str(BODY_LIMIT_BYTES + 1))
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 413
    assert json.loads(reply.read())["type"] == "BodyTooLarge"
    connection.close()


def test_a_giant_that_does_not_say_so_is_stopped_on_its_way(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peyda.server.api.BODY_LIMIT_BYTES", 100_000)
    connection = http.client.HTTPConnection(str(client.host), client.port, timeout=30)
    chunks = (b"\xff" * 20_000 for _ in range(6))
    connection.request("POST", "/api/search/image", chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    reply = connection.getresponse()
    assert reply.status == 413
    connection.close()


# Pictures


def test_thumbnails_are_jpegs_of_the_size_asked_for(client: Client, gallery: GalleryDirectory) -> None:
    mine = photo_id(client, "white.jpg")
    reply = client.ask(f"/api/photos/{mine}/thumbnail", {"size": 160})
    assert reply.headers["content-type"] == "image/jpeg"
    with Image.open(BytesIO(reply.body)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 160
        assert image.size[0] / image.size[1] == pytest.approx(90 / 60, abs=0.05)
    assert list(gallery.thumbnails.rglob("*-160.jpg"))


@pytest.mark.parametrize("size", [1, 161, 100_000, -320])
def test_other_sizes_are_refused(client: Client, size: int) -> None:
    mine = photo_id(client, "white.jpg")
    assert client.ask(f"/api/photos/{mine}/thumbnail", {"size": size}).problem() == (422, "RequestError")


@pytest.mark.parametrize("name", ["red.jpg", "red.png", "scan.tif"])
@pytest.mark.parametrize("kind", ["thumbnail", "file"])
def test_a_browser_that_has_a_picture_is_not_sent_it_again(client: Client, name: str, kind: str) -> None:
    path = f"/api/photos/{photo_id(client, name)}/{kind}"
    first = client.ask(path)
    again = client.ask(path, headers={"If-None-Match": f'W/"other", {first.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.ask(path, headers={"If-None-Match": '"other"'}).status == 200


def test_files_are_sent_as_they_are(client: Client, photos: Path) -> None:
    for name, media_type in (("red.jpg", "image/jpeg"), ("red.png", "image/png")):
        path = photos / name if name.endswith("jpg") else photos / "عکس‌ها" / name
        reply = client.ask(f"/api/photos/{photo_id(client, name)}/file")
        assert reply.headers["content-type"] == media_type
        assert reply.body == path.read_bytes()


def test_formats_that_browsers_do_not_show_leave_as_jpeg(client: Client) -> None:
    reply = client.ask(f"/api/photos/{photo_id(client, 'scan.tif')}/file")
    assert reply.headers["content-type"] == "image/jpeg"
    with Image.open(BytesIO(reply.body)) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))


def test_a_file_whose_name_is_not_utf8_is_sent(client: Client) -> None:
    reply = client.ask(f"/api/photos/{photo_id(client, BAD_NAME)}/file")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")


def test_part_of_a_file_can_be_asked_for(client: Client) -> None:
    reply = client.ask(f"/api/photos/{photo_id(client, 'red.jpg')}/file", headers={"Range": "bytes=0-9"})
    assert (reply.status, len(reply.body)) == (206, 10)


def test_one_photograph(client: Client) -> None:
    mine = photo_id(client, "scan.tif")
    photo = client.ask(f"/api/photos/{mine}").json
    assert (photo["id"], photo["width_px"], photo["height_px"]) == (mine, 40, 30)
    assert photo["size_bytes"] > 0


# The rest


def test_stats_and_skipped(client: Client) -> None:
    stats = client.ask("/api/stats").json
    assert (stats["photos"], stats["skipped"]) == (10, 1)
    ledger = client.ask("/api/skipped").json
    assert ledger["total"] == 1
    assert ledger["skipped"][0]["path"].endswith("broken.jpg")
    assert ledger["skipped"][0]["reason"]
    assert client.ask("/api/skipped", {"reason": "no such reason"}).json == {"skipped": [], "total": 0}
    assert client.ask("/api/skipped", {"offset": 5}).json["skipped"] == []


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages(client: Client, path: str, method: str) -> None:
    reply = client.ask(path, method=method)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")


def test_every_reply_carries_the_security_headers(client: Client) -> None:
    for path in ("/", "/docs", "/static/main.js", "/api/health", "/api/nowhere", "/api/photos/1/thumbnail"):
        headers = client.ask(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert not any(name.startswith("access-control-") for name in headers)


def test_static_files_cannot_be_left(client: Client) -> None:
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert client.ask(path).problem()[0] == 404


def test_strange_hosts_are_refused(client: Client) -> None:
    reply = client.ask("/api/health", headers={"Host": "evil.example"})
    assert reply.problem() == (421, "HostRefused")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert client.ask("/api/health", headers={"Host": f"localhost:{client.port}"}).status == 200


def test_pages_of_other_sites_are_refused(client: Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.ask("/api/photos/1/file", headers=headers).problem() == (403, "OriginRefused")


def test_the_description_of_the_api_names_every_address(client: Client) -> None:
    document = client.ask("/openapi.json").json
    assert set(document["paths"]) == {
        "/api/health",
        "/api/search",
        "/api/search/image",
        "/api/photos/{photo_id}",
        "/api/photos/{photo_id}/similar",
        "/api/photos/{photo_id}/thumbnail",
        "/api/photos/{photo_id}/file",
        "/api/stats",
        "/api/skipped",
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]


def test_replies_have_the_shape_that_is_described(client: Client) -> None:
    document = client.ask("/openapi.json").json
    schemas = document["components"]["schemas"]

    def names(schema: str) -> set[str]:
        return set(schemas[schema]["properties"])

    reply = client.ask("/api/search", {"q": "red"}).json
    assert names("SearchReply") == set(reply)
    assert names("HitReply") == set(reply["hits"][0])
    assert names("HealthReply") == set(client.ask("/api/health").json)
    assert names("PhotoReply") == set(client.ask(f"/api/photos/{reply['hits'][0]['photo_id']}").json)
    ledger = client.ask("/api/skipped").json
    assert names("SkippedListReply") == set(ledger)
    assert names("SkippedReply") == set(ledger["skipped"][0])
    assert names("ProblemReply") == set(client.ask("/api/search", {"q": ""}).json)


def test_many_at_once_get_the_same_answer(client: Client) -> None:
    queries = ["قرمز", "آبی", "سبز"] * 8
    expected = {query: client.ask("/api/search", {"q": query}).json["hits"] for query in set(queries)}
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda query: client.ask("/api/search", {"q": query}).json["hits"], queries))
    assert replies == [expected[query] for query in queries]


def test_photographs_indexed_meanwhile_are_found(tmp_path: Path, tiny_encoder: Any) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    with running(directory, encoder=tiny_encoder) as url:
        client = Client(url)
        assert client.ask("/api/search", {"q": "red"}).json["hits"] == []
        assert client.ask("/api/health").json["photos"] == 0
        Image.new("RGB", (20, 20), (200, 0, 0)).save(folder / "new.png")
        index_photos(directory, tiny_encoder, [str(folder)])
        reply = client.ask("/api/search", {"q": "red"}).json
        assert [os.path.basename(hit["path"]) for hit in reply["hits"]] == ["new.png"]
        assert (reply["photos"], client.ask("/api/health").json["photos"]) == (1, 1)
        os.unlink(folder / "new.png")
        mine = reply["hits"][0]["photo_id"]
        for kind in ("thumbnail", "file"):
            gone = client.ask(f"/api/photos/{mine}/{kind}")
            assert gone.problem() == (404, "PhotoVanished")
            assert "peyda index" in gone.json["hint"]


def server_threads() -> int:
    return sum(thread.name == "peyda-server" for thread in threading.enumerate())


def test_presence_lasts_as_long_as_the_server(tmp_path: Path, tiny_encoder: Any) -> None:
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    before = server_threads()
    with running(directory, encoder=tiny_encoder) as url:
        found = ServerPresence.find(directory.path)
        assert found is not None
        assert (found.url, found.pid, found.gallery_id) == (url, os.getpid(), directory.manifest.gallery_id)
    assert ServerPresence.find(directory.path) is None
    assert server_threads() == before


def test_create_app_opens_the_gallery_by_its_path_and_closes_it(gallery: GalleryDirectory, tiny_encoder: Any) -> None:
    app = create_app(str(gallery.path), tiny_encoder)

    async def live() -> Service:
        async with app.router.lifespan_context(app):
            service: Service = app.state.service
            assert service.health()["photos"] == 10
            return service

    service = asyncio.run(live())
    assert service.is_stopping.is_set()
    with pytest.raises(sqlite3.ProgrammingError):  # closed
        service.catalog.count()


def test_an_upload_that_never_ends_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peyda.server.api.BODY_TIMEOUT_S", 0.05)
    connection = http.client.HTTPConnection(str(client.host), client.port, timeout=30)
    connection.putrequest("POST", "/api/search/image")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"only this")
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())["type"]) == (408, "RequestError")
    connection.close()
