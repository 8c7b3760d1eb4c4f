"""The public search of divar.ir, as far as titles and photographs go: requests to make, replies to read.

A search gives a page of advertisements, newest first, and a mark (`last_post_date`) to ask for the next page with. Of
an advertisement only its token, its title and its photographs are read: neither description, price, district nor
anything about who placed it ever leaves this module. Replies have changed shape over the years; the ones that are known
are all read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peyda.captions.web.client import WebClient
from peyda.captions.web.failures import WebFailure

DEFAULT_BASE = "https://api.divar.ir"

_PAGE_LIMIT_BYTES = 8_000_000
_TOKEN = re.compile(r"[A-Za-z0-9_-]{4,64}")
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Ad:
    """One advertisement of a page: `cover` is the address of its small picture, "" where none is named."""

    token: str
    title: str
    cover: str
    has_photographs: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search; `mark` asks for the next one, and is None at the end."""

    ads: tuple[Ad, ...]
    mark: int | None


class DivarApi:
    """Asks the search interface.

    Args:
        client: Who asks.
        base: Where the interface is.
    """

    def __init__(self, client: WebClient, base: str = DEFAULT_BASE) -> None:
        self._client = client
        self._base = base.rstrip("/")

    def search_url(self, city: str, category: str) -> str:
        """Where a search is asked for.

        Raises:
            ValueError: City or category are no slug.
        """
        if not _SLUG.fullmatch(city) or not _SLUG.fullmatch(category):
            raise ValueError(f"city and category are slugs such as 1 and home-kitchen, not {city!r} and {category!r}")
        return f"{self._base}/v8/web-search/{city}/{category}"

    def ad_url(self, token: str) -> str:
        """Where one advertisement is asked for."""
        return f"{self._base}/v8/posts-v2/web/{token}"

    def search(self, city: str, category: str, mark: int) -> Page:
        """One page of a search.

        Args:
            city: Number or slug of a city.
            category: Slug of a category.
            mark: 0, or `Page.mark` of the page before.

        Raises:
            WebFailure: It could not be had; "bad_json" where it has none of the known shapes.
        """
        body = {"json_schema": {"category": {"value": category}}, "last-post-date": mark}
        reply = self._client.post_json(self.search_url(city, category), body, limit_bytes=_PAGE_LIMIT_BYTES).json()
        widgets = _post_list(reply)
        if widgets is None:
            raise WebFailure("bad_json", "the search has answered in a shape that is not known")
        ads = {ad.token: ad for ad in map(_ad, widgets) if ad is not None}
        return Page(tuple(ads.values()), _mark(reply))

    def photographs(self, token: str) -> list[str]:
        """The addresses of an advertisement's photographs, in its order.

        Raises:
            WebFailure: It could not be had.
        """
        reply = self._client.get(self.ad_url(token), limit_bytes=_PAGE_LIMIT_BYTES, kinds=("application/json",)).json()
        return list(dict.fromkeys(_carousel(reply)))


def _post_list(reply: Any) -> list[Any] | None:
    if not isinstance(reply, dict):
        return None
    web = reply.get("web_widgets")
    places = (
        web.get("post_list") if isinstance(web, dict) else None,
        reply.get("widget_list"),
        reply.get("list_widgets"),
    )
    return next((place for place in places if isinstance(place, list)), None)


def _ad(widget: Any) -> Ad | None:
    """The advertisement of a widget; None for headings, banners and whatever else stands between them."""
    data = widget.get("data") if isinstance(widget, dict) else None
    if not isinstance(data, dict):
        return None
    action = data.get("action")
    payload = action.get("payload") if isinstance(action, dict) else None
    token = data.get("token") or (payload.get("token") if isinstance(payload, dict) else None)
    title = data.get("title")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(title, str):
        return None
    cover = data.get("image_url") or data.get("image")
    if isinstance(cover, list):  # of several sizes, the last is the largest
        cover = cover[-1].get("src") if cover and isinstance(cover[-1], dict) else None
    count = data.get("image_count")
    return Ad(
        token, title, cover if isinstance(cover, str) else "", bool(cover) or (isinstance(count, int) and count > 0)
    )


def _mark(reply: dict[str, Any]) -> int | None:
    pagination = reply.get("pagination")
    inner = pagination.get("data") if isinstance(pagination, dict) else None
    found = reply.get("last_post_date") or (inner.get("last_post_date") if isinstance(inner, dict) else None)
    if isinstance(found, str) and found.isascii() and found.isdecimal():
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _carousel(reply: Any) -> Iterator[str]:
    """The pictures of the widgets that are picture carousels; the older shape is a plain list of addresses."""
    if not isinstance(reply, dict):
        return
    for one in _list(reply.get("images")):
        if isinstance(one, str):
            yield one
    for section in _list(reply.get("sections")):
        for widget in _list(section.get("widgets")) if isinstance(section, dict) else []:
            if not isinstance(widget, dict) or widget.get("widget_type") != "IMAGE_CAROUSEL":
                continue
            data = widget.get("data")
            for item in _list(data.get("items")) if isinstance(data, dict) else []:
                image = item.get("image") if isinstance(item, dict) else None
                url = image.get("url") if isinstance(image, dict) else None
                if isinstance(url, str):
                    yield url


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
