"""The walk: never fails, never loops, leaves out what nobody means, and tells a lost disk from a deleted photograph."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peyda.gallery import reasons
from peyda.gallery import scan as module
from peyda.gallery.scan import Found, Presence, Scope, distinct_roots, walk
from peyda.types import Skipped

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def make(root: Path, *names: str | bytes, data: bytes = JPEG) -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def found(*roots: Path | str) -> list[str]:
    return sorted(one.path for one in walk([str(root) for root in roots]) if isinstance(one, Found))


def skipped(*roots: Path | str) -> dict[str, str]:
    return {one.path: one.reason for one in walk([str(root) for root in roots]) if isinstance(one, Skipped)}


def names(root: Path, paths: list[str]) -> list[str]:
    return [os.path.relpath(path, root) for path in paths]


def test_photographs_are_told_by_suffix_in_any_case(tmp_path: Path) -> None:
    make(tmp_path, "a.JPG", "b/c.HeIc", "d/e/f.jpeg", "movie.mp4", "notes.txt", "g.jpg.part")
    assert names(tmp_path, found(tmp_path)) == ["a.JPG", "b/c.HeIc", "d/e/f.jpeg"]


def test_size_and_time_come_along(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", data=b"12345")
    os.utime(tmp_path / "a.jpg", ns=(5, 1_234_567_890_123_456_789))
    assert list(walk([str(tmp_path)])) == [Found(str(tmp_path / "a.jpg"), 5, 1_234_567_890_123_456_789)]


def test_without_a_suffix_the_content_decides(tmp_path: Path) -> None:
    make(tmp_path, "IMG_0001", "عکس")
    make(tmp_path, "README", data=b"hello")
    make(tmp_path, "empty", data=b"")
    assert names(tmp_path, found(tmp_path)) == ["IMG_0001", "عکس"]


def test_any_name_the_disk_allows(tmp_path: Path) -> None:
    odd = [b"\xd8\xb3\xda\xaf.jpg", "🐕.jpg".encode(), b"a\nb.jpg", b"\xff\xfe\x80.jpg", b" .jpg", b"-rf.jpg"]
    make(tmp_path, *odd)
    assert {os.fsencode(path).rpartition(b"/")[2] for path in found(tmp_path)} == set(odd)


def test_hidden_things_and_junk_are_left_out(tmp_path: Path) -> None:
    make(
        tmp_path, ".git/a.jpg", ".thumbnails/a.jpg", "@eaDir/a.jpg", "$Recycle.Bin/a.jpg", ".a.jpg", "__MACOSX/._a.jpg"
    )
    assert found(tmp_path) == []
    assert skipped(tmp_path) == {}
    assert names(tmp_path, found(tmp_path / ".git", tmp_path / ".a.jpg")) == [".a.jpg", ".git/a.jpg"]


def test_a_gallery_inside_the_folder_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "gallery/thumbnails/1.jpg", "gallery/manifest.json", "gallery/catalog.sqlite")
    assert names(tmp_path, found(tmp_path)) == ["a.jpg"]


def test_links_to_files_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.jpg", "outside/b.jpg")
    root = tmp_path / "photos"
    (root / "again").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "link.jpg").symlink_to(tmp_path / "outside" / "b.jpg")
    (root / "self.jpg").symlink_to(root / "self.jpg")
    (root / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    assert names(root, found(root)) == ["a.jpg", "link.jpg"]
    reasons = {os.path.relpath(path, root): reason for path, reason in skipped(root).items()}
    # A link back into what is indexed loses nothing; one that leads out is worth a word.
    assert reasons == {"up": "linked_folder", "self.jpg": "unreadable", "nowhere.jpg": "vanished"}


def test_what_is_not_a_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == []
    assert skipped(tmp_path) == {str(tmp_path / "pipe.jpg"): "not_a_file"}
    assert skipped(tmp_path / "pipe") == {str(tmp_path / "pipe"): "not_a_file"}


def test_a_folder_that_cannot_be_listed_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", refusing)
    assert names(tmp_path, found(tmp_path)) == ["a/1.jpg", "c/3.jpg"]
    assert skipped(tmp_path) == {str(tmp_path / "b"): "unreadable_folder"}


def test_a_disk_that_fails_halfway_through_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    scandir = os.scandir

    class Failing:
        def __init__(self, path: str) -> None:
            self.entries = scandir(path)

        def __enter__(self) -> Iterator[Any]:
            yield_one = iter([next(self.entries)])

            def iterate() -> Iterator[Any]:
                yield from yield_one
                raise OSError(5, "Input/output error")

            return iterate()

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(module.os, "scandir", Failing)
    assert len(found(tmp_path)) == 1
    assert skipped(tmp_path) == {str(tmp_path): "unreadable_folder"}


def test_roots_that_are_missing_or_files(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.xyz")
    assert found(tmp_path / "a.jpg", tmp_path / "b.xyz") == [str(tmp_path / "a.jpg"), str(tmp_path / "b.xyz")]
    assert skipped(tmp_path / "gone") == {str(tmp_path / "gone"): "missing_folder"}


def test_deep_folders_need_no_deep_stack(tmp_path: Path) -> None:
    # Deeper than a path may be long, so that the walk meets its end, and than Python may recurse.
    depth = 1500
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            os.mkdir("ddd")
            os.chdir("ddd")
        os.chdir(tmp_path)
        make(tmp_path, "a.jpg")
        assert names(tmp_path, found(tmp_path)) == ["a.jpg"]
        assert set(skipped(tmp_path).values()) == {"unreadable_folder"}
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "ddd")], check=True)  # shutil.rmtree would recurse


def test_overlapping_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/b/1.jpg", "a/.hidden/2.jpg", "ab/3.jpg")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "ab")
    monkeypatch.chdir(tmp_path)
    given = ["a", "a/b", "a/../a/", "ab", "a/.hidden", "a/link"]
    assert [os.path.relpath(root) for root in distinct_roots(given)] == ["a", "ab", "a/.hidden", "a/link"]


def test_scope() -> None:
    scope = Scope(["/a/b", "/a", "/c/d.jpg"])
    assert scope.root_of("/a/b/c") == "/a"
    assert scope.covers("/c/d.jpg")
    assert not scope.covers("/ab")
    assert not scope.covers("/c")
    assert Scope(["/"]).covers("/anything")
    assert not Scope([]).covers("/a")


def test_presence_tells_a_lost_disk_from_a_deleted_photo(tmp_path: Path) -> None:
    make(tmp_path, "disk/album/1.jpg", "disk/album/2.jpg", "loose/3.jpg", "loose/4.jpg")
    presence = Presence([str(tmp_path / "disk")])
    album = tmp_path / "disk" / "album"
    assert not presence.is_gone(str(album / "1.jpg"))
    os.remove(album / "1.jpg")
    assert presence.is_gone(str(album / "1.jpg"))
    os.remove(tmp_path / "loose" / "3.jpg")
    assert presence.is_gone(str(tmp_path / "loose" / "3.jpg"))
    os.rename(tmp_path / "disk", tmp_path / "unplugged")
    assert not presence.is_gone(str(album / "1.jpg"))
    os.mkdir(tmp_path / "disk")  # the empty folder it was mounted on
    assert not presence.is_gone(str(album / "1.jpg"))
    os.remove(tmp_path / "loose" / "4.jpg")
    assert not presence.is_gone(str(tmp_path / "loose" / "4.jpg"))


def test_every_reason_has_a_sentence() -> None:
    own = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert len(own) >= 6
    assert own | reasons.FLEETING_REASONS | reasons.UNLISTED_REASONS <= set(reasons.REASONS)
