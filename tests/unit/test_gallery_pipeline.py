"""Indexing as a whole, on real files and a real (tiny) model: what is read, what is not, and what is never lost."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peyda.errors import DataError, GalleryBusy, GalleryMismatch, ModelError, StorageError
from peyda.gallery import commit, pipeline, workers
from peyda.gallery.catalog import Catalog
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.gallery.pipeline import Progress, index_photos
from peyda.gallery.verify import verify
from peyda.types import IndexSummary, Photo


class Counting:
    """An encoder that counts the photographs it embeds, and can be told to fail."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self.encoded = 0
        self.fail: Callable[[np.ndarray], bool] = lambda _: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_pixels(self, pixels: np.ndarray) -> Any:
        if self.fail(pixels):
            raise ModelError("broken")
        self.encoded += len(pixels)
        return self._encoder.encode_pixels(pixels)


@pytest.fixture
def encoder(tiny_encoder: Any) -> Counting:
    return Counting(tiny_encoder)


@pytest.fixture
def gallery(tmp_path: Path, encoder: Counting) -> GalleryDirectory:
    return GalleryDirectory.create(tmp_path / "gallery", encoder)


@pytest.fixture
def run(gallery: GalleryDirectory, encoder: Counting) -> Callable[..., IndexSummary]:
    def run(*roots: Path, **options: Any) -> IndexSummary:
        encoder.encoded = 0
        return index_photos(gallery, encoder, [str(root) for root in roots], workers=2, **options)

    return run


Run = Callable[..., IndexSummary]


def photos(gallery: GalleryDirectory) -> dict[str, Photo]:
    with gallery.catalog(readonly=True) as catalog:
        return {os.path.basename(one.path): one for one in catalog.iter_photos()}


def vector(gallery: GalleryDirectory, photo_id: int) -> np.ndarray:
    store = gallery.store(readonly=True)
    try:
        return np.array(store.vectors([photo_id])[0])
    finally:
        store.close()


def skipped(gallery: GalleryDirectory) -> dict[str, str]:
    with gallery.catalog(readonly=True) as catalog:
        return {os.path.basename(one.path): one.reason for one in catalog.skipped()}


def counts(summary: IndexSummary) -> dict[str, int]:
    names = ("added", "changed", "moved", "removed", "unchanged", "skipped")
    return {name: value for name in names if (value := getattr(summary, name))}


def paint(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def test_a_first_run_and_a_second_one(run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path) -> None:
    first = run(photo_dir)
    assert counts(first) == {"added": 12}
    assert first.photos == 12
    assert first.is_complete
    assert first.photos_per_second > 0
    assert gallery.manifest.roots == (str(photo_dir),)
    assert verify(gallery, is_deep=True).to_dict()["is_current"]

    before = photos(gallery)
    again = run()
    assert counts(again) == {"unchanged": 12}
    assert encoder.encoded == 0
    assert photos(gallery) == before


def test_vectors_are_those_of_the_photographs(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    run(photo_dir)
    for one in photos(gallery).values():
        with Image.open(one.path) as image:
            expected = encoder.encode_images([image])[0]
        # The indexer decodes JPEGs at a reduced scale, so the pixels differ a little.
        assert float(expected @ vector(gallery, one.id)) > 0.999
        assert (one.width_px, one.height_px) == (64, 48)


def test_what_changed_is_read_again_under_its_id(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir)
    before = photos(gallery)["red.jpg"]
    shutil.copyfile(photo_dir / "first" / "blue.jpg", photo_dir / "first" / "red.jpg")
    os.utime(photo_dir / "first" / "red.jpg", ns=(1, 1))
    assert counts(run()) == {"changed": 1, "unchanged": 11}
    after = photos(gallery)
    assert after["red.jpg"].id == before.id
    assert after["red.jpg"].content_hash == after["blue.jpg"].content_hash != before.content_hash
    assert np.array_equal(vector(gallery, before.id), vector(gallery, after["blue.jpg"].id))


def test_new_content_is_embedded(run: Run, encoder: Counting, photo_dir: Path) -> None:
    run(photo_dir)
    paint(photo_dir / "first" / "red.jpg", 1)
    assert counts(run()) == {"changed": 1, "unchanged": 11}
    assert encoder.encoded == 1


def test_a_touched_file_keeps_its_vector(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    run(photo_dir)
    path = photo_dir / "first" / "red.jpg"
    os.utime(path, ns=(1, 1_000_000_000_000_000_000))
    assert counts(run()) == {"unchanged": 12}
    assert encoder.encoded == 0
    assert photos(gallery)["red.jpg"].mtime_ns == 1_000_000_000_000_000_000
    assert photos(gallery)["red.jpg"].taken_at.startswith("2001-09-")
    encoder.encoded = 0
    assert counts(run()) == {"unchanged": 12}


def test_a_moved_file_keeps_id_and_vector(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    run(photo_dir)
    before = photos(gallery)["red.jpg"]
    kept = vector(gallery, before.id)
    target = photo_dir / "third" / "قرمز\n.jpg"
    target.parent.mkdir()
    os.rename(photo_dir / "first" / "red.jpg", target)
    assert counts(run()) == {"moved": 1, "unchanged": 11}
    assert encoder.encoded == 0
    after = photos(gallery)
    assert "red.jpg" not in after
    assert after[target.name].id == before.id
    assert after[target.name].path == str(target)
    assert np.array_equal(vector(gallery, before.id), kept)


def test_a_moved_folder(run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path) -> None:
    run(photo_dir)
    ids = {name: one.id for name, one in photos(gallery).items()}
    os.rename(photo_dir / "first", photo_dir / "renamed")
    assert counts(run()) == {"moved": 6, "unchanged": 6}
    assert encoder.encoded == 0
    assert {name: one.id for name, one in photos(gallery).items()} == ids


def test_a_move_between_roots_is_seen_from_either(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir / "first", photo_dir / "second")
    before = photos(gallery)["red.jpg"]
    os.rename(photo_dir / "first" / "red.jpg", photo_dir / "second" / "red.jpg")
    assert counts(run(photo_dir / "second")) == {"moved": 1, "unchanged": 6}
    assert photos(gallery)["red.jpg"].id == before.id


def test_a_copy_is_its_own_photo_and_reuses_the_vector(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    run(photo_dir)
    shutil.copyfile(photo_dir / "first" / "red.jpg", photo_dir / "copy.jpg")
    assert counts(run()) == {"added": 1, "unchanged": 12}
    assert encoder.encoded == 0
    after = photos(gallery)
    assert after["copy.jpg"].id != after["red.jpg"].id
    assert np.array_equal(vector(gallery, after["copy.jpg"].id), vector(gallery, after["red.jpg"].id))


def test_one_original_moves_to_only_one_of_its_copies(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir)
    for name in ("x.jpg", "y.jpg"):
        shutil.copyfile(photo_dir / "first" / "red.jpg", photo_dir / name)
    os.remove(photo_dir / "first" / "red.jpg")
    assert counts(run()) == {"added": 1, "moved": 1, "unchanged": 11}
    assert len({one.id for one in photos(gallery).values()}) == 13
    assert verify(gallery, is_deep=True).is_current


def test_two_files_that_swap_names(run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path) -> None:
    paint(photo_dir / "a.bmp", 1)  # of one size, so that only the content can tell
    paint(photo_dir / "b.bmp", 2)
    os.utime(photo_dir / "a.bmp", ns=(1, 1))
    os.utime(photo_dir / "b.bmp", ns=(2, 2))
    run(photo_dir)
    before = photos(gallery)
    vectors = {name: vector(gallery, before[name].id) for name in ("a.bmp", "b.bmp")}
    os.rename(photo_dir / "a.bmp", photo_dir / "c")
    os.rename(photo_dir / "b.bmp", photo_dir / "a.bmp")
    os.rename(photo_dir / "c", photo_dir / "b.bmp")
    assert counts(run()) == {"changed": 2, "unchanged": 12}
    assert encoder.encoded == 0
    after = photos(gallery)
    assert after["a.bmp"].content_hash == before["b.bmp"].content_hash
    assert np.array_equal(vector(gallery, after["a.bmp"].id), vectors["b.bmp"])
    assert np.array_equal(vector(gallery, after["b.bmp"].id), vectors["a.bmp"])
    assert verify(gallery, is_deep=True).is_current


def test_deleted_photos_go_and_can_be_kept(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir)
    shutil.rmtree(photo_dir / "first")
    assert counts(run(remove=False)) == {"unchanged": 6}
    assert len(photos(gallery)) == 12
    assert counts(run()) == {"removed": 6, "unchanged": 6}
    check = verify(gallery)
    assert (check.photos, check.vectors, check.orphans) == (6, 6, 0)


def test_only_what_was_named_is_looked_at(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir)
    os.remove(photo_dir / "first" / "red.jpg")
    os.remove(photo_dir / "second" / "red.png")
    assert counts(run(photo_dir / "second")) == {"removed": 1, "unchanged": 5}
    assert gallery.manifest.roots == (str(photo_dir),)
    assert counts(run(photo_dir / "first")) == {"removed": 1, "unchanged": 5}


@pytest.mark.parametrize("leave_empty_folder", [False, True])
def test_a_lost_disk_removes_nothing_and_says_so(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, tmp_path: Path, leave_empty_folder: bool
) -> None:
    run(photo_dir)
    os.rename(photo_dir, tmp_path / "unplugged")
    if leave_empty_folder:
        photo_dir.mkdir()
    lost = run()
    assert counts(lost) == {"skipped": 1}
    assert lost.reasons == {"missing_folder": 1}
    assert lost.photos == 12
    with gallery.catalog(readonly=True) as catalog:
        assert "photographs are kept" in catalog.skipped()[0].detail
    if leave_empty_folder:
        photo_dir.rmdir()
    os.rename(tmp_path / "unplugged", photo_dir)
    assert counts(run()) == {"unchanged": 12}
    assert skipped(gallery) == {}


def test_a_copy_on_another_disk_is_no_move_while_the_first_is_away(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, tmp_path: Path
) -> None:
    run(photo_dir)
    shutil.copytree(photo_dir, tmp_path / "backup")
    os.rename(photo_dir, tmp_path / "unplugged")
    assert counts(run(tmp_path / "backup")) == {"added": 12}
    assert gallery.manifest.roots == (str(photo_dir), str(tmp_path / "backup"))


def test_a_disk_lost_between_scan_and_removal_removes_nothing(
    run: Run, photo_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photo_dir)
    os.remove(photo_dir / "first" / "red.jpg")
    read = pipeline._Run.read

    def unplugged(self: Any, *args: Any) -> None:
        read(self, *args)
        os.rename(photo_dir, tmp_path / "unplugged")

    monkeypatch.setattr(pipeline._Run, "read", unplugged)
    lost = run()
    assert lost.removed == 0
    assert lost.photos == 12


def test_files_that_vanish_mid_run_are_skipped_and_forgotten_later(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = pipeline._Run.scan

    def then_vanish(self: Any, walked: Sequence[str]) -> None:
        scan(self, walked)
        shutil.rmtree(photo_dir / "first")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Run, "scan", then_vanish)
        assert run(photo_dir).reasons == {"vanished": 6}
    assert set(skipped(gallery).values()) == {"vanished"}
    assert counts(run()) == {"unchanged": 6}
    assert skipped(gallery) == {}


def test_a_folder_that_cannot_be_listed_keeps_its_photos(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photo_dir)
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if str(path).endswith("/first"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        assert counts(run()) == {"unchanged": 6, "skipped": 1}
    assert skipped(gallery) == {"first": "unreadable_folder"}
    assert len(photos(gallery)) == 12
    run()
    assert skipped(gallery) == {}


def test_skipped_files_wait_for_a_change_or_a_flag(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    bad = photo_dir / "bad.jpg"
    bad.write_bytes(b"no photograph")
    assert run(photo_dir).reasons == {"not_an_image": 1}
    second = run()
    assert counts(second) == {"unchanged": 12, "skipped": 1}
    assert second.reasons == {}
    assert run(retry_skipped=True).reasons == {"not_an_image": 1}
    paint(bad, 1)
    assert counts(run()) == {"added": 1, "unchanged": 12}
    assert skipped(gallery) == {}


def test_a_photo_that_becomes_unreadable_is_no_longer_found(
    run: Run, gallery: GalleryDirectory, photo_dir: Path
) -> None:
    run(photo_dir)
    (photo_dir / "first" / "red.jpg").write_bytes(b"overwritten")
    assert counts(run()) == {"removed": 1, "unchanged": 11, "skipped": 1}
    assert "red.jpg" not in photos(gallery)
    os.remove(photo_dir / "first" / "red.jpg")
    run()
    assert skipped(gallery) == {}


def test_a_photo_whose_permission_is_lost_stays(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photo_dir)
    os.utime(photo_dir / "first" / "red.jpg")
    opened = os.open

    def refusing(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("red.jpg"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        patch.setattr(workers, "hash_file", lambda path: os.close(refusing(path, os.O_RDONLY)))
        assert run().reasons == {"permission_denied": 1}
    assert len(photos(gallery)) == 12
    assert counts(run()) == {"unchanged": 12}
    assert skipped(gallery) == {}


def test_a_decoder_that_blows_up_costs_one_photo(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = workers.read_photo

    def blown(path: str, **options: Any) -> Any:
        if path.endswith("red.jpg"):
            raise SystemError("from deep inside a decoder")
        return read(path, **options)

    monkeypatch.setattr(workers, "read_photo", blown)
    assert counts(run(photo_dir)) == {"added": 11, "skipped": 1}
    assert skipped(gallery) == {"red.jpg": "undecodable"}


def test_a_photo_the_model_cannot_take_costs_only_itself(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    encoder.fail = lambda pixels: bool((pixels.mean(axis=(2, 3)) > 0.9).all(axis=1).any())  # a white one
    assert counts(run(photo_dir)) == {"added": 10, "skipped": 2}
    assert skipped(gallery) == {"white.jpg": "no_vector", "white.png": "no_vector"}


def test_a_broken_model_ends_the_run(run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path) -> None:
    encoder.fail = lambda _: True
    with pytest.raises(ModelError):
        run(photo_dir)
    encoder.fail = lambda _: False
    assert counts(run(photo_dir)) == {"added": 12}


def test_stopping_keeps_what_is_done(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    many = photo_dir / "many"
    many.mkdir()
    for n in range(200):
        paint(many / f"{n}.png", n)
    seen: list[Progress] = []
    stopped = run(photo_dir, should_stop=lambda: bool(seen and seen[-1].done >= 20), progress=_unthrottled(seen))
    assert not stopped.is_complete
    assert stopped.photos == len(photos(gallery)) == stopped.added
    resumed = run()
    assert resumed.is_complete
    assert resumed.added + resumed.unchanged == 212
    assert resumed.unchanged == stopped.photos
    with gallery.catalog(readonly=True) as catalog:
        last = catalog.last_run()
    assert last is not None
    assert last["is_complete"] is True


def test_stopping_at_once_does_nothing(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir / "first")
    os.remove(photo_dir / "first" / "red.jpg")
    stopped = run(photo_dir, should_stop=lambda: True)
    assert (stopped.added, stopped.removed, stopped.photos, stopped.is_complete) == (0, 0, 6, False)
    assert counts(run()) == {"added": 6, "removed": 1, "unchanged": 5}


def _unthrottled(seen: list[Progress]) -> Callable[[Progress], None]:
    return seen.append


@pytest.fixture(autouse=True)
def _every_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_PROGRESS_EVERY_S", 0.0)


def test_an_interrupt_commits_and_is_handed_on(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.total is not None and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photo_dir, progress=interrupt)
    assert len(photos(gallery)) >= workers.CHUNK  # the chunk that was finished
    with WriterLock(gallery.path):
        pass


def test_progress_counts_up_to_a_known_total(run: Run, photo_dir: Path) -> None:
    seen: list[Progress] = []
    (photo_dir / "bad.jpg").write_bytes(b"x")
    run(photo_dir, progress=seen.append)
    assert seen[0].total is None
    assert [one.done for one in seen if one.total is not None] == sorted(
        one.done for one in seen if one.total is not None
    )
    assert (seen[-1].done, seen[-1].total, seen[-1].added, seen[-1].skipped) == (13, 13, 12, 1)
    assert seen[-1].current.startswith(str(photo_dir))


class DiskFull(OSError):
    def __init__(self) -> None:
        super().__init__(28, "No space left on device")


@pytest.mark.parametrize("part", ["store", "catalog", "scratch"])
def test_a_full_disk_keeps_what_was_committed(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    for n in range(40):
        paint(photo_dir / f"{n}.png", n)
    monkeypatch.setattr(commit, "_COMMIT_EVERY", 16)
    calls = 0

    def full_at_the_second_time(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= 2:
                raise DiskFull
            return original(*args, **options)

        return call

    with monkeypatch.context() as patch:
        if part == "store":
            kind = type(gallery.store(readonly=True))
            patch.setattr(kind, "upsert", full_at_the_second_time(kind.upsert))
        elif part == "catalog":

            @contextlib.contextmanager
            def no_space(*_: object) -> Iterator[None]:
                raise StorageError("cannot use catalog.sqlite: database or disk is full", hint="Free some space.")
                yield

            full = full_at_the_second_time(Catalog.transaction)
            patch.setattr(Catalog, "transaction", lambda self: full(self) if calls < 1 else no_space())
        else:
            patch.setattr(pipeline.Changes, "add", lambda *_: (_ for _ in ()).throw(StorageError("full", hint="Free.")))
        with pytest.raises(StorageError) as caught:
            run(photo_dir)
        assert caught.value.hint
    committed = 0 if part == "scratch" else 16
    assert len(photos(gallery)) >= committed
    resumed = run(photo_dir)
    assert resumed.photos == 52
    assert resumed.unchanged >= committed
    check = verify(gallery, is_deep=True)
    assert check.is_sound
    assert check.is_current


def test_a_crash_between_vectors_and_catalogue_is_swept(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photo_dir / "first")
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(photo_dir / "second")
    orphans = verify(gallery).orphans
    assert orphans is not None
    assert orphans >= 6
    assert run(photo_dir / "second").added == 6
    check = verify(gallery, is_deep=True)
    assert check.is_sound
    assert (check.photos, check.vectors) == (12, 12)
    for one in photos(gallery).values():
        with Image.open(one.path) as image:
            assert float(encoder.encode_images([image])[0] @ vector(gallery, one.id)) > 0.999


def test_a_photo_that_lost_its_vector_gets_it_back(
    run: Run, gallery: GalleryDirectory, encoder: Counting, photo_dir: Path
) -> None:
    run(photo_dir)
    lost = photos(gallery)["red.jpg"]
    store = gallery.store()
    store.delete([lost.id])
    store.close()
    check = verify(gallery)
    assert check.missing_vectors == 1
    assert not check.is_sound
    assert counts(run()) == {"changed": 1, "unchanged": 11}
    assert encoder.encoded == 1
    assert photos(gallery)["red.jpg"].id == lost.id
    assert verify(gallery).is_sound


def test_single_files_are_indexed_but_no_roots(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    files = sorted((photo_dir / "first").iterdir())
    assert counts(run(*files[:3])) == {"added": 3}
    assert gallery.manifest.roots == ()
    paint(files[1], 5)
    assert counts(run()) == {"changed": 1, "unchanged": 2}
    os.remove(files[0])
    assert counts(run()) == {"removed": 1, "unchanged": 2}
    os.remove(files[1])
    assert counts(run(files[1])) == {"removed": 1}


def test_overlapping_roots_count_once(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    assert counts(run(photo_dir, photo_dir / "first", photo_dir)) == {"added": 12}
    assert gallery.manifest.roots == (str(photo_dir),)
    (photo_dir / "inner" / ".hidden").mkdir(parents=True)
    paint(photo_dir / "inner" / ".hidden" / "a.png", 1)
    assert counts(run(photo_dir, photo_dir / "inner" / ".hidden")) == {"added": 1, "unchanged": 12}
    assert counts(run(photo_dir)) == {"unchanged": 12}
    assert len(photos(gallery)) == 13


def test_a_path_that_is_not_there_is_named(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        run(photo_dir, photo_dir / "nowhere")
    assert gallery.manifest.roots == ()
    with pytest.raises(DataError, match="no folder yet"):
        run()


def test_another_model_and_another_indexer_are_refused(
    run: Run, gallery: GalleryDirectory, photo_dir: Path, other_model_dir: Path
) -> None:
    from peyda.encoders import load_encoder

    with pytest.raises(GalleryMismatch, match="other"):
        index_photos(gallery, load_encoder(other_model_dir), [str(photo_dir)])
    with WriterLock(gallery.path), pytest.raises(GalleryBusy):
        run(photo_dir)
    assert counts(run(photo_dir)) == {"added": 12}


def test_a_reader_keeps_its_state_through_a_run(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    run(photo_dir / "first")
    with gallery.catalog(readonly=True) as catalog:
        store = gallery.store(readonly=True)
        sizes: list[tuple[int, int]] = []
        run(photo_dir, progress=lambda _: sizes.append((catalog.count(), len(store.ids()))))
        assert sizes[0] == (6, 6)
        assert all(photos <= vectors for photos, vectors in sizes)
        assert (catalog.count(), len(store.ids())) == (12, 12)
        store.close()


def test_nothing_but_the_gallery_is_written(run: Run, gallery: GalleryDirectory, photo_dir: Path) -> None:
    before = sorted(str(path) for path in photo_dir.rglob("*"))
    run(photo_dir)
    assert sorted(str(path) for path in photo_dir.rglob("*")) == before
    left = {path.name for path in gallery.path.iterdir()} - {"writer.lock"}
    assert left == {"manifest.json", "catalog.sqlite", "store"}
