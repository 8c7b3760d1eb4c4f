"""`verify` finds each kind of disagreement, and `repair` mends it without touching the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peyda.errors import GalleryBusy
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.gallery.pipeline import index_photos
from peyda.gallery.verify import Verification, gallery_size_bytes, verify
from peyda.types import Point


@pytest.fixture
def gallery(tmp_path: Path, tiny_encoder: Any, photo_dir: Path) -> GalleryDirectory:
    made = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    index_photos(made, tiny_encoder, [str(photo_dir)], workers=1)
    return made


def problems(check: Verification) -> dict[str, int]:
    kinds = ("missing_vectors", "bad_vectors", "orphans", "gone", "unreachable", "changed")
    return {kind: value for kind in kinds if (value := getattr(check, kind))}


def id_of(gallery: GalleryDirectory, path: Path) -> int:
    with gallery.catalog(readonly=True) as catalog:
        found = catalog.photo_at(str(path))
    assert found is not None
    return found.id


def test_a_sound_gallery(gallery: GalleryDirectory) -> None:
    seen: list[tuple[int, int]] = []
    check = verify(gallery, is_deep=True, progress=lambda done, total: seen.append((done, total)))
    assert problems(check) == {}
    assert check.is_sound
    assert check.is_current
    assert (check.photos, check.vectors) == (12, 12)
    assert seen[-1] == (12, 12)


def test_every_kind_of_problem_is_found_and_mended(
    gallery: GalleryDirectory, tiny_encoder: Any, photo_dir: Path
) -> None:
    first = photo_dir / "first"
    store = gallery.store()
    store.delete([id_of(gallery, first / "red.jpg")])
    far = np.zeros(16, np.float32)
    far[0] = 3.0
    is_kept_long = _upsert_unless_refused(store, Point(id_of(gallery, first / "blue.jpg"), far, str(first), 0.0))
    store.upsert([Point(999, far / 3, "/elsewhere", 0.0)])
    store.close()
    os.remove(first / "green.jpg")
    os.utime(first / "black.jpg", ns=(1, 1))

    found = {"missing_vectors": 1, "orphans": 1, "gone": 1, "changed": 1} | ({"bad_vectors": 1} if is_kept_long else {})
    check = verify(gallery)
    assert problems(check) == found
    assert not check.is_sound
    assert check.examples["gone"] == [str(first / "green.jpg")]
    assert check.examples["missing_vectors"] == [str(first / "red.jpg")]

    mended = verify(gallery, repair=True)
    assert mended.repaired == sum(found.values())
    summary = index_photos(gallery, tiny_encoder, workers=1)
    assert summary.added == summary.removed == 0
    after = verify(gallery, is_deep=True)
    assert problems(after) == {}
    assert (after.photos, after.vectors) == (11, 11)


def _upsert_unless_refused(store: Any, point: Point) -> bool:
    try:
        store.upsert([point])
    except ValueError:  # a store that keeps unit vectors only
        return False
    return True


def test_content_that_changed_behind_size_and_time_is_found_by_reading(
    gallery: GalleryDirectory, tiny_encoder: Any, photo_dir: Path
) -> None:
    path = photo_dir / "first" / "red.jpg"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(gallery).is_current
    assert problems(verify(gallery, is_deep=True)) == {"changed": 1}
    verify(gallery, is_deep=True, repair=True)
    assert index_photos(gallery, tiny_encoder, workers=1).changed == 1
    assert problems(verify(gallery, is_deep=True)) == {}


def test_a_lost_disk_is_told_apart_and_forgotten_only_when_asked(
    gallery: GalleryDirectory, photo_dir: Path, tmp_path: Path
) -> None:
    os.rename(photo_dir, tmp_path / "unplugged")
    assert problems(verify(gallery)) == {"unreachable": 12}
    assert verify(gallery, repair=True).repaired == 0
    assert verify(gallery).photos == 12
    assert verify(gallery, repair=True, forget_missing=True).repaired == 12
    after = verify(gallery)
    assert (after.photos, after.vectors) == (0, 0)


def test_checking_beside_an_indexer_is_fine_and_repairing_is_not(gallery: GalleryDirectory) -> None:
    with WriterLock(gallery.path):
        check = verify(gallery)
        assert check.is_sound
        assert check.orphans is None
        with pytest.raises(GalleryBusy):
            verify(gallery, repair=True)
    assert verify(gallery).orphans == 0


def test_checking_writes_nothing(gallery: GalleryDirectory) -> None:
    def state() -> dict[str, tuple[int, int]]:
        files = [path for path in gallery.path.rglob("*") if path.is_file() and path.suffix not in {".sqlite-shm"}]
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.stat().st_size}

    before = state()
    verify(gallery, is_deep=True)
    assert state() == before
    assert gallery_size_bytes(gallery.path) >= sum(size for size, _ in before.values())
