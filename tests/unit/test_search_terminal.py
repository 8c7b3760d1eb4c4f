"""What `peyda search` prints: safe in a terminal, plain in a pipe; and the contact sheet."""

from __future__ import annotations

import io
import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peyda.cli import contact_sheet
from peyda.cli.contact_sheet import MAX_PHOTOS, write_contact_sheet
from peyda.cli.terminal import escaped, isolated, write_line
from peyda.errors import ImageRefused, StorageError
from peyda.types import Hit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/photos/sea.jpg", "/photos/sea.jpg"),
        ("/عکس‌ها/سگ.jpg", "/عکس‌ها/سگ.jpg"),
        ("👨‍👩‍👧.jpg", "👨‍👩‍👧.jpg"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x00\x7f\x9b31m", "\\x00\\x7f\\x9b31m"),
        ("gpj.\u202egpj", "gpj.\\u202egpj"),
        ("\u2068isolate\u2069", "\\u2068isolate\\u2069"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("line\u2028separator", "line\\u2028separator"),
    ],
)
def test_orders_to_the_terminal_become_text(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(st.characters(codec=None)))
def test_escaped_text_is_one_line_of_encodable_text_and_stays_so(text: str) -> None:
    shown = escaped(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert escaped(shown) == shown


def test_only_a_terminal_gets_isolates() -> None:
    assert isolated("/عکس/1.jpg", Terminal()) == "\u2068/عکس/1.jpg\u2069"
    assert isolated("/photos/1.jpg", Terminal()) == "/photos/1.jpg"
    assert isolated("/عکس/1.jpg", io.StringIO()) == "/عکس/1.jpg"
    closed = io.StringIO()
    closed.close()
    assert isolated("/عکس/1.jpg", closed) == "/عکس/1.jpg"


def test_a_stream_that_cannot_encode_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    write_line(stream, "سگ.jpg")
    stream.flush()
    assert raw.getvalue() == b"\\u0633\\u06af.jpg\n"


class Page(HTMLParser):
    """Texts, links and image sources of a page; fails on anything that would leave the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.tags: list[str] = []
        self.root: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "html":
            self.root = values
        if tag == "img":
            self.pictures.append(values["src"] or "")
        if tag == "a":
            self.links.append(values["href"] or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(autouse=True)
def _own_temporary_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def _hits(*paths: str) -> list[Hit]:
    return [Hit(rank, 0.5 / rank, path, rank) for rank, path in enumerate(paths, start=1)]


def test_the_sheet_is_a_private_self_contained_right_to_left_page() -> None:
    path = write_contact_sheet("سگ در برف", _hits("/photos/سگ.jpg", "/a b/#?.png"), lambda path, size: path.encode())
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.root == {"lang": "fa", "dir": "rtl"}
    assert "سگ در برف" in page.texts
    assert page.pictures == [
        "data:image/jpeg;base64,L3Bob3Rvcy/Ys9qvLmpwZw==",
        "data:image/jpeg;base64,L2EgYi8jPy5wbmc=",
    ]
    assert page.links == ["file:///photos/%D8%B3%DA%AF.jpg", "file:///a%20b/%23%3F.png"]
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://", text)
    assert "script" not in page.tags
    assert "۰٫۵۰۰" in page.texts


def test_names_are_data_and_not_markup() -> None:
    evil = '"><script>alert(1)</script>\n\udce9'
    page = Page(write_contact_sheet(evil, _hits("/" + evil), lambda path, size: b"").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.links == ["file:///%22%3E%3Cscript%3Ealert%281%29%3C/script%3E%0A%E9"]
    assert escaped(evil) in page.texts


def test_a_photo_that_is_gone_leaves_a_marked_gap() -> None:
    def thumbnail(path: str, size_px: int) -> bytes:
        if path == "/1":
            raise ImageRefused("vanished", "gone")
        if path == "/2":
            raise OSError("no disk")
        return b"jpeg"

    page = Page(write_contact_sheet("x", _hits("/1", "/2", "/3"), thumbnail).read_text(encoding="utf-8"))
    assert len(page.pictures) == 1
    assert sum("دیگر در جای خود نیست" in text for text in page.texts) == 2


def test_a_sheet_has_a_bounded_number_of_photos() -> None:
    hits = _hits(*(f"/{number}" for number in range(MAX_PHOTOS + 5)))
    page = Page(write_contact_sheet("x", hits, lambda path, size: b"").read_text(encoding="utf-8"))
    assert len(page.pictures) == MAX_PHOTOS
    assert "۳۰۰ عکس (از ۳۰۵)" in page.texts


def test_a_disk_that_takes_no_sheet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="contact sheet") as refusal:
        write_contact_sheet("x", [], lambda path, size: b"")
    assert "TMPDIR" in refusal.value.hint


def test_no_browser_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(url: str) -> bool:
        raise contact_sheet.webbrowser.Error("none")

    monkeypatch.setattr(contact_sheet.webbrowser, "open", fail)
    assert contact_sheet.open_in_browser(tmp_path / "page.html") is False
