"""A gallery's manifest: made last, replaced whole, and refused when it belongs to something else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peyda.errors import (
    GalleryCorrupt,
    GalleryError,
    GalleryMismatch,
    GalleryNotFound,
    GalleryTooNew,
    StorageError,
)
from peyda.gallery import directory as module
from peyda.gallery.directory import GalleryDirectory, write_json_atomically

TOWER = SimpleNamespace(name="tower", embed_dim=8, visual_fingerprint="aa" * 16)


def _edit(path: Path, **values: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **values}))


def test_what_is_created_can_be_opened(tmp_path: Path) -> None:
    made = GalleryDirectory.create(tmp_path / "deep" / "gallery", TOWER)
    opened = GalleryDirectory.open(tmp_path / "deep" / "gallery")
    assert opened.manifest == made.manifest
    assert opened.manifest.model == "tower"
    opened.check(TOWER)
    with opened.catalog(readonly=True) as catalog:
        assert catalog.count() == 0
    store = opened.store(readonly=True)
    assert len(store.ids()) == 0
    store.close()


def test_roots_keep_any_bytes_and_their_order(tmp_path: Path) -> None:
    gallery = GalleryDirectory.create(tmp_path / "g", TOWER)
    odd = os.fsdecode(b"/photos/\xff\n\xd8\xb9")
    gallery.add_roots(["/b", odd])
    gallery.add_roots(["/a", "/b"])
    assert GalleryDirectory.open(tmp_path / "g").manifest.roots == ("/b", odd, "/a")


def test_no_gallery_names_the_command(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(GalleryNotFound) as caught:
            GalleryDirectory.open(path)
        assert f"peyda index PHOTOS --gallery {path}" in caught.value.hint


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"visual_fingerprint": "bb" * 16}, "--model tower"),
        ({"embed_dim": 16}, "16-d"),
        ({"normalizer_version": "0"}, "normaliser"),
    ],
)
def test_another_tower_or_normaliser_is_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    GalleryDirectory.create(tmp_path / "g", TOWER)
    _edit(tmp_path / "g", **changed)
    with pytest.raises(GalleryMismatch) as caught:
        GalleryDirectory.open(tmp_path / "g").check(TOWER)
    assert says in caught.value.message + caught.value.hint
    assert "peyda index PHOTOS" in caught.value.hint
    with pytest.raises(GalleryMismatch):
        GalleryDirectory.open_or_create(tmp_path / "g", TOWER)


def test_another_text_tower_is_welcome(tmp_path: Path) -> None:
    GalleryDirectory.create(tmp_path / "g", TOWER)
    renamed = SimpleNamespace(name="retrained", embed_dim=8, visual_fingerprint=TOWER.visual_fingerprint)
    assert GalleryDirectory.open_or_create(tmp_path / "g", renamed).manifest.model == "tower"


def test_a_newer_schema_is_refused_whatever_else_it_says(tmp_path: Path) -> None:
    GalleryDirectory.create(tmp_path / "g", TOWER)
    (tmp_path / "g" / "manifest.json").write_text(json.dumps({"schema_version": module.SCHEMA_VERSION + 1}))
    with pytest.raises(GalleryTooNew) as caught:
        GalleryDirectory.open(tmp_path / "g")
    assert "pip install --upgrade peyda" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"schema_version": 1}', '{"schema_version": "x"}', "سلام"])
def test_a_damaged_manifest_is_corrupt_and_no_bug(tmp_path: Path, text: str) -> None:
    GalleryDirectory.create(tmp_path / "g", TOWER)
    (tmp_path / "g" / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(GalleryCorrupt) as caught:
        GalleryDirectory.open(tmp_path / "g")
    assert caught.value.hint


def test_a_folder_of_photographs_is_not_turned_into_a_gallery(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(GalleryError, match=r"holiday\.jpg"):
        GalleryDirectory.create(tmp_path, TOWER)
    assert os.listdir(tmp_path) == ["holiday.jpg"]


def test_a_create_that_was_killed_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            GalleryDirectory.create(tmp_path / "g", TOWER)
    with pytest.raises(GalleryNotFound):
        GalleryDirectory.open(tmp_path / "g")
    GalleryDirectory.create(tmp_path / "g", TOWER)
    with pytest.raises(GalleryError, match="already"):
        GalleryDirectory.create(tmp_path / "g", TOWER)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "value.json"
    write_json_atomically(target, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        write_json_atomically(target, 2)
    assert "No space left" in caught.value.message
    assert caught.value.hint
    assert json.loads(target.read_text()) == 1
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_place_that_cannot_be_a_gallery_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        GalleryDirectory.create(tmp_path / "file" / "g", TOWER)


def test_unknown_keys_of_a_manifest_are_ignored(tmp_path: Path) -> None:
    made = GalleryDirectory.create(tmp_path / "g", TOWER)
    _edit(tmp_path / "g", colour="green")
    assert GalleryDirectory.open(tmp_path / "g").manifest == made.manifest


def test_the_default_place_comes_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEYDA_CONFIG", "")
    monkeypatch.setenv("PEYDA_GALLERY", str(tmp_path / "mine"))
    assert module.default_gallery_dir() == tmp_path / "mine"
