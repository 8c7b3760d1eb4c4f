"""The watch: what changes is found soon, errors do not end it, and asking it to stop does."""

from __future__ import annotations

import os
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peyda.errors import PeydaError
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.gallery.pipeline import index_photos
from peyda.gallery.watch import affected_folders, watch_photos
from peyda.types import IndexSummary

PATIENCE_S = 60.0


class Watch:
    """A watch in a thread, and what it reported."""

    def __init__(self, gallery: GalleryDirectory, encoder: Any) -> None:
        self.reports: queue.Queue[IndexSummary | PeydaError] = queue.Queue()
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=watch_photos,
            args=(gallery, encoder),
            kwargs={
                "stop": self.stop,
                "on_summary": self.reports.put,
                "on_error": self.reports.put,
                "debounce_ms": 100,
                "retry_s": 0.3,
                "workers": 1,
            },
        )
        self.thread.start()

    def until(self, **wanted: int) -> None:
        """Wait until the reports since the last call add up to `wanted`."""
        seen = dict.fromkeys(wanted, 0)
        while seen != wanted:
            report = self.reports.get(timeout=PATIENCE_S)
            assert isinstance(report, IndexSummary), report
            for name in wanted:
                seen[name] += getattr(report, name)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def gallery(tmp_path: Path, tiny_encoder: Any, photo_dir: Path) -> GalleryDirectory:
    made = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    index_photos(made, tiny_encoder, [str(photo_dir)], workers=1)
    return made


@pytest.fixture
def watch(gallery: GalleryDirectory, tiny_encoder: Any) -> Iterator[Watch]:
    watch = Watch(gallery, tiny_encoder)
    yield watch
    watch.end()


def test_changes_are_found(watch: Watch, gallery: GalleryDirectory, photo_dir: Path) -> None:
    shutil.copyfile(photo_dir / "first" / "red.jpg", photo_dir / "second" / "سرخ.jpg")
    watch.until(added=1)
    os.remove(photo_dir / "first" / "blue.jpg")
    watch.until(removed=1)
    os.rename(photo_dir / "first", photo_dir / "renamed")
    watch.until(moved=5)
    with gallery.catalog(readonly=True) as catalog:
        assert catalog.count() == 12
        assert catalog.photo_at(str(photo_dir / "renamed" / "red.jpg")) is not None


def test_a_failure_is_reported_and_made_good(watch: Watch, gallery: GalleryDirectory, photo_dir: Path) -> None:
    with WriterLock(gallery.path):
        os.remove(photo_dir / "first" / "blue.jpg")
        report = watch.reports.get(timeout=PATIENCE_S)
        assert isinstance(report, PeydaError)
        assert "indexed already" in report.message
    while isinstance(report := watch.reports.get(timeout=PATIENCE_S), PeydaError):
        pass
    assert report.removed == 1


def test_a_root_that_goes_away_and_comes_back(
    watch: Watch, gallery: GalleryDirectory, photo_dir: Path, tmp_path: Path
) -> None:
    os.rename(photo_dir, tmp_path / "unplugged")
    threading.Event().wait(1.0)
    with gallery.catalog(readonly=True) as catalog:
        assert catalog.count() == 12
        os.rename(tmp_path / "unplugged", photo_dir)
        os.remove(photo_dir / "first" / "blue.jpg")
        while True:
            report = watch.reports.get(timeout=PATIENCE_S)
            if isinstance(report, IndexSummary) and report.removed:
                break
        assert catalog.count() == 11


def test_affected_folders_are_near_and_real(gallery: GalleryDirectory, photo_dir: Path) -> None:
    inside = [
        photo_dir / "first" / "red.jpg",
        photo_dir / "gone" / "deep" / "a.jpg",
        photo_dir / ".hidden" / "a.jpg",
        photo_dir.parent / "elsewhere.jpg",
        gallery.path / "catalog.sqlite",
    ]
    assert affected_folders(map(str, inside), gallery) == {str(photo_dir / "first"), str(photo_dir)}
    assert affected_folders([str(photo_dir)], gallery) == {str(photo_dir)}
    for n in range(200):
        (photo_dir / f"{n}").mkdir()
    many = [str(photo_dir / f"{n}" / "a.jpg") for n in range(200)]
    assert affected_folders(many, gallery) == {str(photo_dir)}
