"""Crawling advertisements from a local server that answers in the shapes of the real one, and misbehaves like it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.strange_server import Request, StrangeServer, hang_up, picture, strange_server

from peyda.captions import open_reader
from peyda.captions.crawl import CrawlOptions, CrawlSummary, crawl_divar
from peyda.captions.crawl.titles import cleaned, refusal
from peyda.captions.web import Politeness, WebClient
from peyda.errors import DataError

POLITE = Politeness(concurrency=2, per_host=2, tries=2, backoff_s=0.01)

TITLES = {
    "gXa1": "مبل راحتی هفت نفره",
    "gXa2": "فرش دستباف  شش متری\n",
    "gXa3": "فروش فوری ۰۹۱۲-۱۲۳-۴۵۶۷",
    "gXa4": "iPhone 13 Pro",
    "gXa5": "بدون عکس",
    "gXb1": "یخچال دوقلو سفید",
    "gXb2": "آگهی بی‌جزئیات",
    "gXb3": "گلدان سفالی",
}
PAGES = {0: ["gXa1", "gXa2", "gXa3", "gXa4", "gXa5"], 1650: ["gXb1", "gXb2", "gXb3", "gXa1"], 1600: []}
NEXT = {0: 1650, 1650: 1600}


class Divar:
    """The server's side: pages of advertisements, their details, their pictures."""

    def __init__(self) -> None:
        self.shape = "web_widgets"
        self.bodies: list[dict[str, Any]] = []
        self.routes = {
            "/v8/web-search/1/home-kitchen": self.search,
            "/v8/posts-v2/web/*": self.details,
            "/static/*": self.photograph,
        }

    def search(self, request: Request) -> None:
        body = json.loads(request.body)
        self.bodies.append(body)
        mark = body["last-post-date"]
        rows = [self.row(request, token) for token in PAGES[mark]]
        noise = [{"widget_type": "BLOCKING_VIEW", "data": {"title": "تبلیغ"}}, {"widget_type": "X"}, "?"]
        posts = {
            "web_widgets": {"web_widgets": {"post_list": noise + rows}},
            "widget_list": {"widget_list": rows},
            "list_widgets": {"list_widgets": rows},
        }[self.shape]
        if mark in NEXT:
            posts |= (
                {"pagination": {"data": {"last_post_date": NEXT[mark]}}}
                if self.shape == "list_widgets"
                else {"last_post_date": NEXT[mark]}
            )
        self.send(request, posts)

    def row(self, request: Request, token: str) -> dict[str, Any]:
        url = request.server.url
        cover: Any = f"{url}/static/thumbnails/{token}.webp" if token != "gXa5" else ""
        return {
            "widget_type": "POST_ROW",
            "data": {
                "title": TITLES[token],
                "token": token,
                "image_url": [{"src": cover}] if self.shape == "web_widgets" and cover else cover,
                "image_count": 2 if cover else 0,
                "middle_description_text": "۱۲٬۰۰۰٬۰۰۰ تومان",
                "bottom_description_text": "لحظاتی پیش در ستارخان",
                "action": {"payload": {"token": token, "web_info": {"district_persian": "ستارخان"}}},
            },
        }

    def details(self, request: Request) -> None:
        token = request.path.rsplit("/", 1)[1]
        if token == "gXb2":
            request.reply(b"", status=404)
            return
        url = request.server.url
        items = [{"image": {"url": f"{url}/static/photo/{token}-{at}.jpg"}} for at in range(2)]
        self.send(
            request,
            {
                "sections": [
                    {"section_name": "IMAGE", "widgets": [{"widget_type": "IMAGE_CAROUSEL", "data": {"items": items}}]},
                    {"section_name": "DESCRIPTION", "widgets": [{"data": {"text": "تماس: 09121234567"}}]},
                    "?",
                ],
                "contact": {"phone": "09121234567"},
                "city": "تهران",
            },
        )

    def photograph(self, request: Request) -> None:
        red, green, blue = hashlib.sha256(request.path.encode()).digest()[:3]
        request.reply(picture((red, green, blue), size=(900, 600)))

    @staticmethod
    def send(request: Request, value: Any) -> None:
        request.reply(json.dumps(value).encode(), "application/json; charset=utf-8")


@pytest.fixture
def divar() -> Divar:
    return Divar()


@pytest.fixture
def server(divar: Divar) -> Iterator[StrangeServer]:
    with strange_server(dict(divar.routes)) as running:
        yield running


def crawl(folder: Path, server: StrangeServer, **options: Any) -> CrawlSummary:
    asking = WebClient(timeout_s=2, deadline_s=4, allow_private=True)
    return crawl_divar(folder, CrawlOptions(**{"base": server.url, "politeness": POLITE} | options), client=asking)


@pytest.mark.parametrize("shape", ["web_widgets", "widget_list", "list_widgets"])
def test_titles_and_photographs_come_from_every_known_shape(
    tmp_path: Path, divar: Divar, server: StrangeServer, shape: str
) -> None:
    divar.shape = shape
    summary = crawl(tmp_path / "out", server)
    with open_reader(tmp_path / "out/captions.jsonl") as reader:
        rows = list(reader)
    assert {row["caption_fa"] for row in rows} == {
        "مبل راحتی هفت نفره",
        "فرش دستباف شش متری",
        "یخچال دوقلو سفید",
        "گلدان سفالی",
    }
    assert {row["engine"] for row in rows} == {"divar"}
    assert {row["category"] for row in rows} == {"home-kitchen"}
    assert all(row["split"] in {"train", "val", "test"} for row in rows)
    for row in rows:
        with Image.open(tmp_path / "out/images" / row["image"]) as image:
            assert image.size == (768, 512)
    assert (summary.pages, summary.photos, summary.fetched, summary.known_ads) == (3, 4, 4, 1)
    assert dict(summary.reasons) == {"personal_data": 1, "not_persian": 1, "no_photograph": 1, "http_404": 1}
    assert [body["last-post-date"] for body in divar.bodies] == [0, 1650, 1600]
    assert divar.bodies[0]["json_schema"] == {"category": {"value": "home-kitchen"}}


def test_nothing_personal_is_kept(tmp_path: Path, server: StrangeServer) -> None:
    crawl(tmp_path / "out", server, photos_per_ad=2)
    texts = [one.read_text(encoding="utf-8") for one in (tmp_path / "out").iterdir() if one.is_file()]
    names = [one.name for one in (tmp_path / "out").rglob("*")]
    for secret in ("0912", "۰۹۱۲", "ستارخان", "تومان", "تهران", server.url, *TITLES):
        assert not any(secret in text for text in [*texts, *names]), secret


def test_a_second_run_goes_on_and_asks_nothing_twice(tmp_path: Path, divar: Divar, server: StrangeServer) -> None:
    first = crawl(tmp_path / "out", server, limit=2)
    assert (first.photos, first.pages) == (2, 1)
    details = {path: count for path, count in server.counts.items() if "posts-v2" in path}
    second = crawl(tmp_path / "out", server)
    assert (second.photos, second.fetched) == (4, 2)
    assert all(server.counts[path] == count for path, count in details.items())
    server.counts.clear()
    third = crawl(tmp_path / "out", server)
    assert (third.photos, third.fetched) == (4, 0)
    assert not [path for path in server.counts if "posts-v2" in path or "static" in path]
    assert [body["last-post-date"] for body in divar.bodies][-1] == 1600
    crawl(tmp_path / "out", server, from_newest=True, pages=1)
    assert divar.bodies[-1]["last-post-date"] == 0


def test_a_crawl_that_is_killed_loses_nothing_that_it_wrote(tmp_path: Path, server: StrangeServer) -> None:
    def stop(summary: CrawlSummary) -> None:
        if summary.photos == 1:
            raise KeyboardInterrupt

    asking = WebClient(timeout_s=2, deadline_s=4, allow_private=True)
    options = CrawlOptions(base=server.url, politeness=Politeness(concurrency=1, per_host=1))
    with pytest.raises(KeyboardInterrupt):
        crawl_divar(tmp_path / "out", options, client=asking, progress=stop)
    table = tmp_path / "out/captions.jsonl"
    table.write_bytes(table.read_bytes() + b'{"image": "half')
    summary = crawl(tmp_path / "out", server)
    assert summary.photos == 4
    with open_reader(table) as reader:
        images = [row["image"] for row in reader]
        assert reader.skipped == []
    assert len(set(images)) == len(images) == 4


def test_photographs_of_one_advertisement_are_in_one_split(tmp_path: Path, server: StrangeServer) -> None:
    crawl(tmp_path / "out", server, photos_per_ad=2)
    splits: dict[str, set[str]] = {}
    for row in open_reader(tmp_path / "out/captions.jsonl"):
        splits.setdefault(row["caption_fa"], set()).add(row["split"])
    assert {len(one) for one in splits.values()} == {1}
    assert len(list((tmp_path / "out/images").iterdir())) == 8


def test_the_same_picture_again_is_no_pair(tmp_path: Path, server: StrangeServer) -> None:
    server.routes["/static/*"] = lambda request: request.reply(picture())
    summary = crawl(tmp_path / "out", server)
    assert (summary.photos, summary.reasons["same_picture"]) == (1, 3)


def test_robots_are_obeyed(tmp_path: Path, server: StrangeServer) -> None:
    rules = b"User-agent: *\nDisallow: /v8/\n"
    server.routes["/robots.txt"] = lambda request: request.reply(rules, "text/plain")
    with pytest.raises(DataError, match="disallowed"):
        crawl(tmp_path / "out", server)
    assert set(server.counts) == {"/robots.txt"}
    assert crawl(tmp_path / "out", server, obey_robots=False).photos == 4


def test_robots_that_cannot_be_had_allow_nothing(tmp_path: Path, server: StrangeServer) -> None:
    server.routes["/robots.txt"] = lambda request: request.reply(b"", status=500)
    with pytest.raises(DataError, match="http_500"):
        crawl(tmp_path / "out", server)


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (lambda request: request.reply(b"", status=403), "http_403"),
        (lambda request: request.reply(b"<html>ban</html>", "text/html"), "wrong_type"),
        (lambda request: request.reply(b"{", "application/json"), "bad_json"),
        (lambda request: request.reply(b'{"error": "captcha"}', "application/json"), "bad_json"),
        (hang_up, "unreachable"),
    ],
)
def test_an_interface_that_refuses_is_a_clear_error(
    tmp_path: Path, server: StrangeServer, route: Any, reason: str
) -> None:
    server.routes["/v8/web-search/1/home-kitchen"] = route
    with pytest.raises(DataError, match=reason) as caught:
        crawl(tmp_path / "out", server)
    assert "same command" in caught.value.hint


def test_a_ban_in_the_middle_keeps_what_there_is_and_the_page(tmp_path: Path, server: StrangeServer) -> None:
    good = server.routes["/v8/posts-v2/web/*"]

    def ban(request: Request) -> None:
        if sum("posts-v2" in path for path in server.counts) > 1:
            request.reply(b"", status=429, Retry_After="9999")
        else:
            good(request)

    server.routes["/v8/posts-v2/web/*"] = ban
    rules = Politeness(concurrency=1, per_host=1, longest_wait_s=1)
    with pytest.raises(DataError, match="http_429"):
        crawl(tmp_path / "out", server, politeness=rules)
    assert len(list(open_reader(tmp_path / "out/captions.jsonl"))) == 1
    server.routes["/v8/posts-v2/web/*"] = good
    assert crawl(tmp_path / "out", server).photos == 4


def test_a_state_that_is_newer_or_damaged(tmp_path: Path, server: StrangeServer) -> None:
    crawl(tmp_path / "out", server, limit=1)
    state = tmp_path / "out/state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"version": 99}))
    with pytest.raises(DataError, match="newer Peyda"):
        crawl(tmp_path / "out", server)
    state.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        crawl(tmp_path / "out", server)


def test_slugs_only(tmp_path: Path, server: StrangeServer) -> None:
    with pytest.raises(ValueError, match="slugs"):
        crawl(tmp_path / "out", server, categories=["../../x"])


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("دوچرخه کوهستان ۲۶ اینچ", ""),
        ("پژو ۲۰۶ مدل ۱۳۹۸", ""),
        ("آپارتمان ۱۲۰ متری ۳ خوابه", ""),
        ("تماس ۰۲۱ ۸۸ ۷۷ ۶۶ ۵۵", "personal_data"),
        ("فروش 0912.345.67.89", "personal_data"),
        ("٠٩١٢٣٤٥٦٧٨٩ فروشی", "personal_data"),
        ("کانال تلگرام ما", "personal_data"),
        ("فروشگاه mysite.ir", "personal_data"),
        ("صفحه @shop_tehran را ببینید", "personal_data"),
        ("🌸🌸", "not_persian"),
        ("", "not_persian"),
        ("س" * 301, "not_persian"),
    ],
)
def test_titles(title: str, reason: str) -> None:
    assert refusal(cleaned(title)) == reason
