"""Changing a gallery's model: nothing is lost, nothing is embedded twice, and one can always go back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import peyda
from peyda.encoders import load_encoder
from peyda.errors import (
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryMismatch,
    GalleryTooNew,
    ModelError,
    StorageError,
)
from peyda.gallery import reembed, upgrade_status
from peyda.gallery import upgrade as module
from peyda.gallery.commit import point_of
from peyda.gallery.contents import CONTENTS_NAME, Contents
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.discard import discard_old
from peyda.gallery.estimate import SAMPLE
from peyda.gallery.following import Following
from peyda.gallery.generations import lasting_name
from peyda.gallery.locks import UpgradeLock, WriterLock
from peyda.gallery.pipeline import Progress, index_photos
from peyda.gallery.store import vectorfile
from peyda.gallery.upgrade import roll_back, upgrade_gallery
from peyda.gallery.upgrade_status import estimate_upgrade
from peyda.gallery.upgrade_status import upgrade_status as status_of
from peyda.gallery.verify import verify
from peyda.gallery.watch import _encoder_now
from peyda.gallery.workers import Workers
from peyda.search import Searcher
from peyda.types import Where

WIDE = 24


def widen(model: Path, directory: Path) -> Path:
    """A copy of a model whose heads give more numbers; angles, and so scores, stay what they are."""
    shutil.copytree(model, directory)
    turned = np.linalg.qr(np.random.default_rng(5).normal(size=(WIDE, WIDE)))[0][:16].astype(np.float32)
    for tower, names in (("visual", ("map", "bias")), ("textual", ("table", "bias"))):
        graph = onnx.load(directory / tower / "model.onnx")
        for constant in graph.graph.initializer:
            if constant.name in names:
                constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) @ turned, constant.name))
        graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = WIDE
        onnx.save(graph, directory / tower / "model.onnx")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "embed_dim": WIDE}))
    return directory


@pytest.fixture(scope="session")
def wide_model_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return widen(tiny_model_dir, tmp_path_factory.mktemp("models") / "wide")


@pytest.fixture
def wide(wide_model_dir: Path) -> Any:
    return load_encoder(wide_model_dir)


@pytest.fixture
def gallery(tmp_path: Path, tiny_model_dir: Path, tiny_encoder: Any, photo_dir: Path) -> GalleryDirectory:
    """Twelve photographs, embedded with the tiny model."""
    made = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder, model=str(tiny_model_dir))
    index_photos(made, tiny_encoder, [str(photo_dir)])
    return made


class Counting:
    """An encoder that counts the photographs it embeds, is interrupted after some, or waits after the first."""

    def __init__(self, encoder: Any, *, fails_after: int = 10**9, gate: threading.Event | None = None) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()
        self.photos = 0
        self.fails_after = fails_after
        self.gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_pixels(self, pixels: Any) -> Any:
        if pixels.any():  # what is all zero is only a test of the model
            if self.gate is not None and self.photos:
                assert self.gate.wait(30)
            with self._lock:
                self.photos += len(pixels)
                if self.photos > self.fails_after:
                    raise KeyboardInterrupt
        return self._encoder.encode_pixels(pixels)


def found(directory: GalleryDirectory, query: str = "قرمز", k: int = 2, where: Where | None = None) -> list[str]:
    with Searcher(GalleryDirectory.open(directory.path)) as searcher:
        return [Path(hit.path).name for hit in searcher.search(query, k, where=where)]


def ids(directory: GalleryDirectory) -> tuple[list[int], list[int]]:
    """Of the catalogue and of the vectors that answer searches."""
    opened = GalleryDirectory.open(directory.path)
    store = opened.store(readonly=True)
    with opened.catalog(readonly=True) as catalog:
        both = catalog.ids().tolist(), store.ids().tolist()
    store.close()
    return both


def upgraded(directory: GalleryDirectory, encoder: Any, **options: Any) -> Any:
    return upgrade_gallery(directory, encoder, model=str(encoder.info.path), **options)


def test_every_photo_is_embedded_beside_the_old_vectors_and_one_can_go_back_and_forth(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any
) -> None:
    before = found(gallery)
    summary = upgraded(gallery, wide)
    assert (summary.photos, summary.embedded, summary.missing, summary.is_switched) == (12, 12, 0, True)
    manifest = GalleryDirectory.open(gallery.path).manifest
    assert (manifest.embed_dim, manifest.schema_version) == (WIDE, 2)
    assert (gallery.path / "store" / "points.sqlite").exists()
    assert ids(gallery)[0] == ids(gallery)[1]
    assert set(found(gallery)) == set(before) == {"red.jpg", "red.png"}
    assert verify(gallery, is_deep=True).is_sound

    for encoder, dim in ((tiny_encoder, 16), (wide, WIDE)):
        back = roll_back(gallery, encoder)
        assert (back.embedded, back.missing, back.is_switched) == (0, 0, True)
        manifest = GalleryDirectory.open(gallery.path).manifest
        assert (manifest.embed_dim, manifest.schema_version) == (dim, 1 if dim == 16 else 2)
        assert len(manifest.previous) == 1
        assert set(found(gallery)) == set(before)


def test_another_model_with_vectors_of_the_same_length(
    gallery: GalleryDirectory, other_model_dir: Path, tiny_encoder: Any
) -> None:
    other = load_encoder(other_model_dir)
    upgraded(gallery, other)
    with GalleryDirectory.open(gallery.path).catalog(readonly=True) as catalog:
        photos = list(catalog.iter_photos())
    store = gallery.store(readonly=True)
    expected = other.encode_images([Image.open(photo.path) for photo in photos])
    assert np.allclose(store.vectors([photo.id for photo in photos]), expected, atol=1e-2)
    store.close()
    # A process that still has the old model must not write its vectors among the new ones.
    stale = GalleryDirectory(gallery.path, gallery.manifest.__class__.from_dict(gallery.manifest.to_dict()))
    with pytest.raises(GalleryMismatch):
        index_photos(stale, tiny_encoder)


def test_an_indexer_that_starts_with_the_old_model_notices_the_switch(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch falls between its first look at the gallery and its lock."""
    stale = GalleryDirectory.open(gallery.path)
    upgraded(gallery, wide)
    checks: list[Any] = []
    check = stale.check

    def counted(encoder: Any) -> None:
        checks.append(encoder)
        check(encoder)

    monkeypatch.setattr(stale, "check", counted)
    with pytest.raises(GalleryMismatch, match="was made with"):
        index_photos(stale, tiny_encoder)
    assert len(checks) == 2
    assert ids(gallery)[0] == ids(gallery)[1]


def test_searches_answer_with_the_old_model_until_the_switch_and_then_with_the_new_one(
    gallery: GalleryDirectory, wide_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembed, "_PROGRESS_EVERY_S", 0.0)
    with peyda.Gallery.open(gallery.path, via_server=False) as reader, peyda.Gallery.open(gallery.path) as writer:
        before = reader.search("قرمز")
        old = reader._searcher
        seen = []

        def look(progress: Progress) -> None:
            seen.append(progress)
            assert reader.search("قرمز") == before
            assert reader._searcher is old

        summary = writer.upgrade(wide_model_dir, progress=look)
        assert summary.is_switched
        assert seen[-1].done == seen[-1].total == 12
        after = reader.search("قرمز")
        assert reader._searcher is not old
        assert reader.stats()["embed_dim"] == WIDE
        assert [hit.photo_id for hit in after[:2]] == [hit.photo_id for hit in before[:2]]
        writer.rollback()
        assert reader.search("قرمز") == before
        assert writer.search("قرمز") == before


@pytest.mark.parametrize("how", ["stop", "ctrl-c"])
def test_a_run_that_was_ended_goes_on_and_embeds_nothing_twice(
    gallery: GalleryDirectory, wide: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(reembed, "COMMIT_EVERY", 1)
    before = found(gallery)
    if how == "stop":
        is_told, stop = threading.Event(), Workers.stop

        def stop_and_tell(self: Workers) -> None:
            stop(self)
            is_told.set()

        monkeypatch.setattr(Workers, "stop", stop_and_tell)
        waiting = Counting(wide, gate=is_told)
        assert not upgraded(gallery, waiting, workers=1, should_stop=lambda: waiting.photos > 0).is_switched
    else:
        with pytest.raises(KeyboardInterrupt):
            upgraded(gallery, Counting(wide, fails_after=8), workers=1)
    assert GalleryDirectory.open(gallery.path).manifest.embed_dim == 16
    assert found(gallery) == before
    [_, unfinished], is_running = status_of(gallery)
    assert (unfinished.state, unfinished.model, is_running) == ("unfinished", str(wide.info.path), False)
    assert 0 < unfinished.embedded < 12
    assert unfinished.embedded + unfinished.left == 12

    rest = Counting(wide)
    assert upgraded(gallery, rest).is_switched
    assert rest.photos == unfinished.left
    assert ids(gallery)[0] == ids(gallery)[1]


def test_what_is_indexed_meanwhile_is_not_lost(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembed, "_PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(reembed, "COMMIT_EVERY", 1)
    steps = iter(("change", "move", "remove", "add"))

    def index_too(_: Progress) -> None:
        match next(steps, None):
            case "change":
                Image.new("RGB", (70, 50), (30, 40, 220)).save(photo_dir / "first" / "red.jpg")
            case "move":
                (photo_dir / "third").mkdir()
                (photo_dir / "second" / "red.png").rename(photo_dir / "third" / "moved.png")
            case "remove":
                (photo_dir / "first" / "green.jpg").unlink()
            case "add":
                Image.new("RGB", (60, 60), (222, 28, 28)).save(photo_dir / "added.png")
            case None:
                return
        index_photos(GalleryDirectory.open(gallery.path), tiny_encoder)

    summary = upgraded(gallery, wide, progress=index_too, workers=1)
    assert next(steps, None) is None
    assert summary.is_switched
    assert ids(gallery)[0] == ids(gallery)[1]
    assert set(found(gallery)) == {"moved.png", "added.png"}
    assert found(gallery, where=Where(folder=str(photo_dir / "third"))) == ["moved.png"]
    assert "red.jpg" in found(gallery, "آبی", 3)
    assert verify(gallery, is_deep=True).is_sound
    again = index_photos(GalleryDirectory.open(gallery.path), wide)
    assert (again.added, again.changed, again.moved, again.removed, again.unchanged) == (0, 0, 0, 0, 12)


def test_the_switch_waits_for_a_running_indexer(gallery: GalleryDirectory, wide: Any) -> None:
    told = threading.Event()
    held = WriterLock(gallery.path)
    results: list[Any] = []
    with held:
        thread = threading.Thread(
            target=lambda: results.append(upgraded(gallery, wide, notice=lambda text: told.set()))
        )
        thread.start()
        assert told.wait(20)
        assert GalleryDirectory.open(gallery.path).manifest.embed_dim == 16
        with pytest.raises(GalleryBusy, match="brought over"), UpgradeLock(gallery.path):
            pass
        assert status_of(GalleryDirectory.open(gallery.path))[1]
    thread.join(20)
    assert results[0].is_switched


def test_who_waits_can_be_stopped(gallery: GalleryDirectory, wide: Any, tiny_encoder: Any) -> None:
    told = threading.Event()
    with WriterLock(gallery.path):
        summary = upgraded(gallery, wide, notice=lambda text: told.set(), should_stop=told.is_set)
    assert (summary.is_switched, summary.embedded, summary.missing) == (False, 12, 0)
    assert upgraded(gallery, wide).embedded == 0
    told.clear()
    with WriterLock(gallery.path):
        assert not roll_back(gallery, tiny_encoder, notice=lambda text: told.set(), should_stop=told.is_set).is_switched
    assert GalleryDirectory.open(gallery.path).manifest.embed_dim == WIDE


def test_photos_out_of_reach_are_told_before_the_switch_and_stay_searchable(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path, tmp_path: Path
) -> None:
    (photo_dir / "second" / "blue.png").write_bytes(b"no photograph any more")
    away = photo_dir.rename(tmp_path / "unplugged")
    photo_dir.mkdir()
    notices: list[str] = []
    with pytest.raises(GalleryError) as caught:
        upgraded(gallery, wide, notice=notices.append)
    assert "12 photographs cannot be read" in caught.value.message
    assert "--allow-missing" in caught.value.hint
    assert [str(photo_dir) in notice for notice in notices] == [True]
    assert len(found(gallery, k=20)) == 12

    photo_dir.rmdir()
    away.rename(photo_dir)
    with pytest.raises(GalleryError, match=r"1 photographs cannot be read for the new model, e\.g\. .*blue\.png"):
        upgraded(gallery, wide)
    [_, unfinished], _ = status_of(gallery)
    assert [(Path(one.path).name, one.reason) for one in unfinished.missing] == [("blue.png", "not_an_image")]
    assert (unfinished.embedded, unfinished.left) == (11, 1)

    summary = upgraded(gallery, wide, allow_missing=True)
    assert (summary.is_switched, summary.embedded, summary.missing) == (True, 0, 1)
    assert len(found(gallery, k=20)) == 11
    assert len(ids(gallery)[0]) == 12
    assert status_of(gallery)[0][0].left == 1
    with pytest.raises(GalleryError, match="1 photographs have old vectors only"):
        discard_old(gallery)

    roll_back(gallery, tiny_encoder)
    assert len(found(gallery, k=20)) == 12
    roll_back(gallery, wide)
    Image.new("RGB", (64, 48), (30, 40, 220)).save(photo_dir / "second" / "blue.png")
    index_photos(gallery, wide)
    assert len(found(gallery, k=20)) == 12
    assert discard_old(gallery) > 0


def test_an_indexer_between_switches_does_not_take_missing_photos_for_changed_ones(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path, tmp_path: Path
) -> None:
    """It marks photographs without a vector to be read again; the old vectors of those are good for all that."""
    away = photo_dir.rename(tmp_path / "unplugged")
    upgraded(gallery, wide, allow_missing=True)
    assert found(gallery) == []
    index_photos(gallery, wide)
    assert len(ids(gallery)[0]) == 12
    roll_back(gallery, tiny_encoder)
    assert set(found(gallery)) == {"red.jpg", "red.png"}
    away.rename(photo_dir)
    assert index_photos(gallery, tiny_encoder).changed == 12
    # Read again, their content is known anew; so forward again means to embed them.
    assert roll_back(gallery, wide).embedded == 12


def test_a_thumbnail_of_the_same_content_stands_in(gallery: GalleryDirectory, wide: Any, photo_dir: Path) -> None:
    with gallery.catalog(readonly=True) as catalog:
        red, green = (catalog.photo_at(str(photo_dir / "first" / f"{name}.jpg")) for name in ("red", "green"))
    assert red
    assert green
    for photo, size in ((red, 160), (green, 20)):
        folder = gallery.thumbnails / photo.content_hash[:2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(photo.path).resize((min(size, 64), min(size, 48))).save(folder / f"{photo.content_hash}-{size}.jpg")
        Path(photo.path).unlink()
    with pytest.raises(GalleryError, match=r"1 photographs .*green\.jpg"):
        upgraded(gallery, wide)
    [_, unfinished], _ = status_of(gallery)
    assert (unfinished.embedded, [one.reason for one in unfinished.missing]) == (11, ["vanished"])
    assert upgraded(gallery, wide, allow_missing=True).is_switched
    assert set(found(gallery)) == {"red.jpg", "red.png"}


def test_equal_content_is_embedded_once_even_where_one_copy_is_gone(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path
) -> None:
    for n in range(5):
        shutil.copy(photo_dir / "first" / "red.jpg", photo_dir / f"copy{n}.jpg")
    index_photos(gallery, tiny_encoder)
    (photo_dir / "first" / "red.jpg").unlink()
    (photo_dir / "copy1.jpg").unlink()
    counting = Counting(wide)
    summary = upgraded(gallery, counting)
    assert (counting.photos, summary.embedded, summary.missing, summary.is_switched) == (12, 12, 0, True)
    assert summary.copied == 5
    store = gallery.store(readonly=True)
    with gallery.catalog(readonly=True) as catalog:
        copies = [photo.id for photo in catalog.iter_photos() if photo.path.endswith(("copy0.jpg", "first/red.jpg"))]
    first, second = store.vectors(copies)
    store.close()
    assert np.array_equal(first, second)


def test_a_vector_of_a_file_that_changed_unnoticed_is_not_copied(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path
) -> None:
    shutil.copy(photo_dir / "first" / "red.jpg", photo_dir / "zcopy.jpg")
    index_photos(gallery, tiny_encoder)
    Image.new("RGB", (64, 48), (30, 40, 220)).save(photo_dir / "first" / "red.jpg")
    assert upgraded(gallery, wide).copied == 0
    assert set(found(gallery)) == {"zcopy.jpg", "red.png"}
    assert index_photos(gallery, wide).changed == 1


def test_another_text_tower_switches_at_once(
    gallery: GalleryDirectory, tiny_model_dir: Path, tiny_encoder: Any, tmp_path: Path
) -> None:
    retrained = shutil.copytree(tiny_model_dir, tmp_path / "retrained")
    tokenizer = json.loads((retrained / "textual" / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["سرخ"] = tokenizer["model"]["vocab"].pop("قرمز")
    (retrained / "textual" / "tokenizer.json").write_text(json.dumps(tokenizer))
    counting = Counting(load_encoder(retrained))
    with peyda.Gallery.open(gallery.path, via_server=False) as reader:
        reader.search("قرمز")
        assert estimate_upgrade(gallery, counting).is_immediate
        summary = upgraded(gallery, counting)
        assert (summary.is_switched, summary.embedded, counting.photos) == (True, 0, 0)
        assert {Path(hit.path).name for hit in reader.search("سرخ", 2)} == {"red.jpg", "red.png"}
    manifest = GalleryDirectory.open(gallery.path).manifest
    assert (manifest.store, manifest.schema_version, manifest.model) == ("store", 1, str(retrained))
    assert upgraded(gallery, counting).is_switched  # nothing to do
    assert GalleryDirectory.open(gallery.path).manifest == manifest
    assert roll_back(gallery, tiny_encoder).is_switched
    assert set(found(gallery)) == {"red.jpg", "red.png"}
    assert discard_old(gallery) == 0
    assert set(found(gallery)) == {"red.jpg", "red.png"}


def test_going_back_reads_what_was_indexed_since(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path
) -> None:
    upgraded(gallery, wide)
    Image.new("RGB", (60, 60), (222, 28, 28)).save(photo_dir / "added.png")
    Image.new("RGB", (70, 50), (30, 40, 220)).save(photo_dir / "first" / "red.jpg")
    (photo_dir / "first" / "green.jpg").unlink()
    (photo_dir / "second" / "red.png").rename(photo_dir / "moved.png")
    index_photos(gallery, wide)

    counting, notices = Counting(tiny_encoder), list[str]()
    summary = roll_back(gallery, counting, notice=notices.append)
    assert (counting.photos, summary.embedded, summary.missing) == (2, 2, 0)
    assert "2; reading them now" in notices[0]
    assert ids(gallery)[0] == ids(gallery)[1]
    assert set(found(gallery)) == {"added.png", "moved.png"}
    assert verify(gallery, is_deep=True).is_sound


def test_going_back_is_done_even_when_the_rest_is_left_to_the_next_index(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, photo_dir: Path
) -> None:
    upgraded(gallery, wide)
    Image.new("RGB", (60, 60), (222, 28, 28)).save(photo_dir / "added.png")
    index_photos(gallery, wide)
    told = threading.Event()
    summary = roll_back(gallery, tiny_encoder, notice=lambda text: told.set(), should_stop=told.is_set)
    assert (summary.is_switched, summary.missing) == (True, 1)
    assert set(found(gallery)) == {"red.jpg", "red.png"}
    index_photos(gallery, tiny_encoder)
    assert len(found(gallery, k=20)) == 13


def test_one_cannot_go_back_to_what_is_not_there(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, other_model_dir: Path
) -> None:
    with pytest.raises(GalleryError, match="no earlier vectors"):
        roll_back(gallery, tiny_encoder)
    upgraded(gallery, wide)
    with pytest.raises(GalleryMismatch, match="it has changed since"):
        roll_back(gallery, load_encoder(other_model_dir))
    shutil.rmtree(gallery.path / "store")
    with pytest.raises(GalleryCorrupt, match="are gone"):
        roll_back(gallery, tiny_encoder)
    assert set(found(gallery)) == {"red.jpg", "red.png"}


def test_three_models_and_back_to_the_first(
    gallery: GalleryDirectory, wide: Any, tiny_encoder: Any, other_model_dir: Path
) -> None:
    other = load_encoder(other_model_dir)
    upgraded(gallery, wide)
    upgraded(gallery, other)
    assert [one.model for one in gallery.manifest.previous] == [
        str(wide.info.path),
        str(tiny_encoder.info.path),
    ]
    counting = Counting(tiny_encoder)
    assert upgraded(gallery, counting).is_switched  # its vectors are still there
    assert (counting.photos, gallery.manifest.store) == (0, "store")
    assert [state.state for state in status_of(gallery)[0]] == ["current", "previous", "previous"]
    freed = discard_old(gallery)
    assert freed > 0
    assert [state.state for state in status_of(gallery)[0]] == ["current"]
    assert not list(gallery.path.glob("vectors-*"))
    assert set(found(gallery)) == {"red.jpg", "red.png"}


def test_a_disk_that_would_be_full_is_told_before_anything_is_read(
    gallery: GalleryDirectory, wide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 1000))
    counting = Counting(wide)
    with pytest.raises(StorageError, match="need about") as caught:
        upgraded(gallery, counting)
    assert "--discard-old" in caught.value.hint
    assert counting.photos == 0
    assert len(found(gallery)) == 2


@pytest.mark.parametrize("place", ["vectors", "notes", "manifest"])
def test_a_disk_that_fills_up_keeps_the_old_model_and_what_is_done(
    gallery: GalleryDirectory, wide: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(reembed, "COMMIT_EVERY", 1)
    calls = 0

    def full_after(count: int, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > count:
                raise OSError(errno.ENOSPC, "No space left on device")
            return work(*args, **options)

        return call

    with monkeypatch.context() as patch:
        if place == "vectors":
            patch.setattr(vectorfile, "_write_all", full_after(2, vectorfile._write_all))
        elif place == "notes":
            put = Contents.put

            def full(self: Contents, rows: Any) -> None:
                nonlocal calls
                put(self, rows)
                calls += 1
                if calls > 2:
                    raise StorageError("cannot write: full", hint="Free some disk space.")

            patch.setattr(Contents, "put", full)
        else:
            patch.setattr(os, "replace", full_after(2, os.replace))
        with pytest.raises(StorageError):
            upgraded(gallery, wide, workers=1)
    assert GalleryDirectory.open(gallery.path).manifest.embed_dim == 16
    assert len(found(gallery, k=20)) == 12
    rest = Counting(wide)
    assert upgraded(gallery, rest).is_switched
    assert rest.photos < 12
    assert ids(gallery)[0] == ids(gallery)[1]


def test_notes_without_vectors_and_vectors_without_notes_are_put_right(gallery: GalleryDirectory, wide: Any) -> None:
    upgraded(gallery, wide, should_stop=lambda: True)
    folder = next(gallery.path.glob("vectors-*"))
    with Contents(folder, gallery.path) as contents:
        photos = contents.to_read(-1, 100)
        assert len(photos) == 12
        contents.put((photo, photo.content_hash) for photo in photos[:5])  # killed before their vectors came
    store = module.open_generation(gallery, module._target(gallery, wide, "wide"))
    vector = np.zeros(WIDE, np.float32)
    vector[0] = 1
    store.upsert([point_of(photos[7], vector), point_of(photos[8], vector)])
    store.close()
    counting = Counting(wide)
    assert upgraded(gallery, counting).is_switched
    assert counting.photos == 12
    assert set(found(gallery)) == {"red.jpg", "red.png"}


@pytest.mark.parametrize(
    ("damage", "error"), [("newer", GalleryTooNew), ("garbage", GalleryCorrupt), ("manifest", GalleryCorrupt)]
)
def test_what_a_newer_peyda_or_an_accident_wrote_is_refused(
    gallery: GalleryDirectory, wide: Any, damage: str, error: type[Exception]
) -> None:
    upgraded(gallery, wide, should_stop=lambda: True)
    notes = next(gallery.path.glob("vectors-*")) / CONTENTS_NAME
    if damage == "newer":
        with sqlite3.connect(notes) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif damage == "garbage":
        for path in notes.parent.glob(f"{CONTENTS_NAME}*"):
            path.unlink()
        notes.write_bytes(b"this is not a database" * 100)
    else:
        manifest = json.loads((gallery.path / "manifest.json").read_text())
        (gallery.path / "manifest.json").write_text(json.dumps({**manifest, "store": "../elsewhere"}))
    with pytest.raises(error):
        upgraded(GalleryDirectory(gallery.path, gallery.manifest), wide)
    if damage == "garbage":
        discard_old(gallery)
        assert upgraded(gallery, wide).is_switched


def test_a_model_that_does_not_work_is_refused_before_anything_is_made(
    gallery: GalleryDirectory, wide_model_dir: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(wide_model_dir, tmp_path / "mixed")
    shutil.copy(tiny_model_dir / "textual" / "model.onnx", mixed / "textual" / "model.onnx")
    with pytest.raises(ModelError, match="text tower"):
        upgraded(gallery, load_encoder(mixed))
    assert not list(gallery.path.glob("vectors-*"))


def test_the_error_for_another_model_names_the_command(gallery: GalleryDirectory, wide: Any) -> None:
    with pytest.raises(GalleryMismatch) as caught:
        gallery.check(wide)
    assert f"peyda gallery upgrade --model {wide.info.path} --gallery {gallery.path}" in caught.value.hint


def test_another_normaliser_needs_no_photograph(gallery: GalleryDirectory, tiny_encoder: Any) -> None:
    manifest = json.loads((gallery.path / "manifest.json").read_text())
    (gallery.path / "manifest.json").write_text(json.dumps({**manifest, "normalizer_version": "0"}))
    old = GalleryDirectory.open(gallery.path)
    with pytest.raises(GalleryMismatch, match="normaliser") as caught:
        old.check(tiny_encoder)
    assert "peyda gallery upgrade --model" in caught.value.hint
    counting = Counting(tiny_encoder)
    assert upgraded(old, counting).is_switched
    assert counting.photos == 0
    assert set(found(gallery)) == {"red.jpg", "red.png"}


def test_an_estimate_writes_nothing(gallery: GalleryDirectory, wide: Any) -> None:
    before = sorted(path.name for path in gallery.path.rglob("*") if "sqlite-" not in path.name)
    estimate = estimate_upgrade(gallery, wide)
    assert (estimate.photos, estimate.left, estimate.sampled, estimate.unreadable) == (12, 12, 12, 0)
    assert estimate.disk_bytes >= 12 * 4 * WIDE
    assert estimate.photos_per_second > 0
    assert estimate.free_bytes > 0
    assert sorted(path.name for path in gallery.path.rglob("*") if "sqlite-" not in path.name) == before
    upgraded(gallery, wide)
    GalleryDirectory.open(gallery.path)
    assert estimate_upgrade(gallery, load_encoder(gallery.manifest.previous[0].model)).left == 0


def test_a_sample_is_even_and_bounded(gallery: GalleryDirectory) -> None:
    with gallery.catalog(readonly=True) as catalog:
        photo = next(catalog.iter_photos())
    count, sample = upgrade_status._sampled([photo] * 1000)
    assert (count, len(sample)) == (1000, SAMPLE)


def test_a_watcher_goes_on_with_the_model_of_now(gallery: GalleryDirectory, wide: Any, tiny_encoder: Any) -> None:
    watching = GalleryDirectory.open(gallery.path)
    assert _encoder_now(watching, tiny_encoder) is tiny_encoder
    upgraded(gallery, wide)
    assert _encoder_now(watching, tiny_encoder).visual_fingerprint == wide.visual_fingerprint


def test_a_deletion_that_was_killed_is_ended_by_the_next_command(gallery: GalleryDirectory, wide: Any) -> None:
    (gallery.path / "trash-vectors-aa-1").mkdir()
    upgraded(gallery, wide, should_stop=lambda: True)
    assert not list(gallery.path.glob("trash-*"))


def test_a_model_is_named_so_that_it_is_found_again(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEYDA_CONFIG", "")
    monkeypatch.setenv("PEYDA_MODELS", str(tmp_path / "models"))
    shutil.copytree(tiny_model_dir, tmp_path / "models" / "mine")
    shutil.copytree(tiny_model_dir, tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert lasting_name("mine") == "mine"
    assert lasting_name("here") == lasting_name("./here") == str(tmp_path / "here")
    assert lasting_name("mini") == "mini"


class Thing:
    def __init__(self, directory: GalleryDirectory) -> None:
        self.dim = directory.manifest.embed_dim
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_who_uses_the_old_model_finishes_with_it(gallery: GalleryDirectory, wide: Any) -> None:
    following = Following(GalleryDirectory.open(gallery.path), Thing, Thing.close)
    assert following.current is None
    with following.lease() as old:
        assert not following.follow()
        upgraded(gallery, wide)
        assert following.follow()
        with following.lease() as new:
            assert (old.dim, new.dim) == (16, WIDE)
        assert not old.is_closed
    assert old.is_closed
    assert not following.follow()
    following.close()
    following.close()
    assert new.is_closed
    with pytest.raises(ValueError, match="closed"), following.lease():
        pass


def test_a_new_model_that_cannot_be_opened_leaves_the_old_one_in_use(gallery: GalleryDirectory, wide: Any) -> None:
    following = Following(GalleryDirectory.open(gallery.path), Thing, Thing.close)
    with following.lease() as old:
        pass
    upgraded(gallery, wide)
    refused: list[Thing] = []

    def refuse(fresh: Thing) -> None:
        refused.append(fresh)
        raise ModelError("there is no such model")

    with pytest.raises(ModelError):
        following.follow(refuse)
    assert refused[0].is_closed
    with following.lease() as still:
        assert still is old
    assert following.follow()  # it is tried again
    assert old.is_closed
    (gallery.path / "manifest.json").rename(gallery.path / "away")
    assert not following.follow()  # its disk is away for a moment
    following.close()
