"""Thumbnails and files: cached by content, and never in the way when the disk is not willing."""

from __future__ import annotations

import errno
import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from peyda.errors import ImageRefused
from peyda.server.files import browser_media_type, open_photo
from peyda.server.problems import Problem
from peyda.server.thumbnails import ThumbnailCache, thumbnail
from peyda.types import Photo

HASH = "0123456789abcdef0123456789abcdef"


def make_photo(path: Path, *, content_hash: str = HASH, size: tuple[int, int] = (400, 200)) -> Photo:
    Image.new("RGB", size, (200, 30, 30)).save(path)
    status = path.stat()
    return Photo(1, str(path), status.st_size, status.st_mtime_ns, content_hash, "JPEG", *size, "", "file")


@pytest.fixture
def cache(tmp_path: Path) -> ThumbnailCache:
    return ThumbnailCache(str(tmp_path / "thumbnails"))


def cached_files(cache: ThumbnailCache) -> list[str]:
    return sorted(name for _, _, names in os.walk(cache.directory) for name in names)


def test_a_thumbnail_is_made_once_and_then_comes_from_the_cache(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    made = thumbnail(cache, photo, 160)
    with Image.open(BytesIO(made)) as image:
        assert (image.format, max(image.size)) == ("JPEG", 160)
    assert cached_files(cache) == [f"{HASH}-160.jpg"]
    os.unlink(photo.path)
    assert thumbnail(cache, photo, 160) == made


def test_sizes_and_contents_do_not_share_an_entry(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    other = make_photo(tmp_path / "b.jpg", content_hash=HASH[::-1], size=(100, 300))
    results = {thumbnail(cache, photo, 160), thumbnail(cache, photo, 320), thumbnail(cache, other, 160)}
    assert len(results) == len(cached_files(cache)) == 3


def test_a_file_that_changed_since_is_shown_but_not_kept(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    Image.new("RGB", (300, 300), (1, 2, 3)).save(photo.path)
    with Image.open(BytesIO(thumbnail(cache, photo, 160))) as image:
        assert image.size == (160, 160)
    assert cached_files(cache) == []


def test_without_a_place_to_keep_them_thumbnails_are_still_made(tmp_path: Path) -> None:
    blocked = tmp_path / "thumbnails"
    blocked.write_text("a file where the folder should be")
    photo = make_photo(tmp_path / "a.jpg")
    assert thumbnail(ThumbnailCache(str(blocked)), photo, 160)


def test_a_full_disk_leaves_no_part_of_a_file(
    tmp_path: Path, cache: ThumbnailCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert thumbnail(cache, make_photo(tmp_path / "a.jpg"), 160)
    assert cached_files(cache) == []


def test_an_empty_entry_that_a_crash_left_is_made_again(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    thumbnail(cache, photo, 160)
    entry = Path(cache.directory) / HASH[:2] / f"{HASH}-160.jpg"
    entry.write_bytes(b"")
    assert len(thumbnail(cache, photo, 160)) > 100
    assert entry.stat().st_size > 100


@pytest.mark.parametrize("bad", ["../../etc/passwd", "", "ABCDEF0123456789", "0123"])
def test_a_hash_that_is_none_names_no_file(cache: ThumbnailCache, bad: str) -> None:
    with pytest.raises(ValueError, match="content hash"):
        cache.put(bad, 160, b"x")


def test_a_vanished_file_is_said_plainly(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    os.unlink(photo.path)
    for look in (lambda: thumbnail(cache, photo, 160), lambda: open_photo(photo)):
        with pytest.raises(Problem) as caught:
            look()
        assert (caught.value.kind, caught.value.status) == ("PhotoVanished", 404)
        assert photo.path not in caught.value.detail


def test_a_file_that_is_no_photograph_any_more_is_refused(tmp_path: Path, cache: ThumbnailCache) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    Path(photo.path).write_text("root:x:0:0:root:/root:/bin/sh\n" * 20)
    assert open_photo(photo) is None  # nothing to send as it is
    with pytest.raises(ImageRefused):
        thumbnail(cache, photo, 160)


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    os.unlink(photo.path)
    os.mkfifo(photo.path)
    with pytest.raises(Problem):
        open_photo(photo)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", None),
        ("PPM", None),
    ],
)
def test_media_types_come_from_the_content(kind: str, media_type: str | None) -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    assert browser_media_type(file.getvalue()[:32]) == media_type


@pytest.mark.parametrize("head", [b"", b"<svg xmlns=", b"<!doctype html>", b"BM plain text that begins so", b"RIFF"])
def test_text_and_stumps_are_no_media(head: bytes) -> None:
    assert browser_media_type(head) is None
