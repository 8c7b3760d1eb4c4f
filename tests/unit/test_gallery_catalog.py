"""The catalogue: any name survives, readers see what is committed, and a crash or a full disk loses nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from peyda.errors import GalleryCorrupt, GalleryTooNew, StorageError
from peyda.gallery import catalog as module
from peyda.gallery.catalog import Catalog
from peyda.types import IndexSummary, Photo, Skipped


def photo(photo_id: int, path: str = "", **values: object) -> Photo:
    base = Photo(
        id=photo_id,
        path=path or f"/photos/{photo_id}.jpg",
        size_bytes=100 + photo_id,
        mtime_ns=photo_id,
        content_hash=f"hash{photo_id}",
        format="JPEG",
        width_px=4,
        height_px=3,
        taken_at=f"2024-01-{photo_id % 28 + 1:02d}T00:00:00",
        taken_from="exif",
        latitude=35.7,
        longitude=51.4,
    )
    return replace(base, **values)  # type: ignore[arg-type]


def put(catalog: Catalog, *photos: Photo) -> None:
    with catalog.transaction():
        catalog.put(photos)


def test_a_photo_comes_back_as_it_went_in(tmp_path: Path) -> None:
    names = ["/a/سگ در برف.jpg", "/a/🐕\n.jpg", os.fsdecode(b"/a/\xff\xfe.jpg"), "/a/'; DROP TABLE photos;--.jpg"]
    photos = [photo(1 + n, name, latitude=None, longitude=None) for n, name in enumerate(names)]
    with Catalog(tmp_path) as catalog:
        put(catalog, *photos)
        assert list(catalog.iter_photos(batch=3)) == photos
        assert [catalog.photo_at(name) for name in names] == photos
        assert catalog.photos([4, 2, 99]) == {4: photos[3], 2: photos[1]}
        assert catalog.photo(99) is None
        assert catalog.photo_at("/a/\ud800.jpg") is None
        assert catalog.ids().tolist() == [1, 2, 3, 4]
        assert len(catalog.photos(range(1, 2000))) == 4
        assert catalog.has_under("/a")
        assert catalog.has_under("/a/")
        assert catalog.has_under("/")
        assert catalog.has_under(names[2])
        assert not catalog.has_under("/a/سگ")
        assert not catalog.has_under("/b")


def test_ids_are_never_used_twice(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        assert catalog.next_id() == 1
        put(catalog, photo(1), photo(7))
        with catalog.transaction():
            catalog.remove([7, 12345])
        assert catalog.next_id() == 8


def test_replacing_keeps_the_id_and_clears_the_ledger(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        put(catalog, photo(1))
        with catalog.transaction():
            catalog.put_skipped([Skipped("/photos/new.jpg", "truncated", "cut"), Skipped("/b", "empty", "\udcff")])
        put(catalog, photo(1, "/photos/new.jpg"))
        assert [one.path for one in catalog.iter_photos()] == ["/photos/new.jpg"]
        assert [(one.path, one.detail) for one in catalog.skipped()] == [("/b", "\\udcff")]
        assert catalog.skipped()[0].skipped_at


def test_skipped_files_can_be_paged_counted_and_forgotten(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_skipped([Skipped(f"/{n}", "empty" if n else "truncated", "") for n in range(4)])
        assert catalog.skipped_reasons() == {"empty": 3, "truncated": 1}
        assert [one.path for one in catalog.skipped(limit=2, offset=1)] == ["/1", "/2"]
        assert [one.path for one in catalog.skipped(reason="truncated")] == ["/0"]
        with catalog.transaction():
            catalog.forget_skipped(["/0", "/nothing"])
        assert catalog.skipped_reasons() == {"empty": 3}


def test_a_reader_sees_commits_and_only_commits(tmp_path: Path) -> None:
    with Catalog(tmp_path) as writer, Catalog(tmp_path, readonly=True) as reader:
        before = reader.version()
        with writer.transaction():
            writer.put([photo(1)])
            assert reader.count() == 0
        assert reader.count() == 1
        assert reader.version() != before


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        with pytest.raises(sqlite3.ProgrammingError), catalog.transaction():
            catalog.put([photo(1), replace(photo(2), path="/p", format=object())])  # type: ignore[arg-type]
        assert catalog.count() == 0
        put(catalog, photo(2))
        assert catalog.count() == 1


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Catalog(tmp_path).close()
    with Catalog(tmp_path, readonly=True) as reader, pytest.raises(StorageError):
        put(reader, photo(1))


def test_threads_share_one_catalogue(tmp_path: Path) -> None:
    with Catalog(tmp_path) as writer, Catalog(tmp_path, readonly=True) as reader:
        put(writer, *(photo(n) for n in range(1, 50)))
        seen: list[int] = []

        def read() -> None:
            seen.extend(len(reader.photos(range(1, 50))) for _ in range(20))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        put(writer, *(photo(n, f"/elsewhere/{n}") for n in range(1, 50)))
        for thread in threads:
            thread.join()
        assert set(seen) == {49}


@pytest.mark.parametrize("with_log", [False, True])
def test_read_only_media_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_log: bool) -> None:
    source, media = tmp_path / "source", tmp_path / "media"
    source.mkdir()
    media.mkdir()
    with Catalog(source) as catalog:
        put(catalog, photo(1))
        if with_log:  # as a copy that was made while an indexer ran
            for name in ("catalog.sqlite", "catalog.sqlite-wal"):
                shutil.copyfile(source / name, media / name)
    if not with_log:
        shutil.copyfile(source / "catalog.sqlite", media / "catalog.sqlite")
    # Permissions do not stop root, so the refusal of such media is played: no shared-memory file can be made.
    connect = module._connect

    def refusing(location: str, *, uri: bool = False) -> sqlite3.Connection:
        if "mode=ro" in location:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(location, uri=uri)

    monkeypatch.setattr(module, "_connect", refusing)
    before = sorted(os.listdir(media))
    with Catalog(media, readonly=True) as reader:
        assert reader.photo(1) == photo(1)
        assert reader.count() == 1
    assert sorted(os.listdir(media)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it; the test above plays it")
def test_a_folder_without_the_right_to_write_can_be_read(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        put(catalog, photo(1))
    os.chmod(tmp_path, stat.S_IRUSR | stat.S_IXUSR)
    try:
        with Catalog(tmp_path, readonly=True) as reader:
            assert reader.count() == 1
    finally:
        os.chmod(tmp_path, stat.S_IRWXU)


def test_files_that_are_no_catalogue_are_named(tmp_path: Path) -> None:
    with pytest.raises(GalleryCorrupt, match="missing"):
        Catalog(tmp_path, readonly=True)
    (tmp_path / "catalog.sqlite").write_bytes(b"no database at all" * 100)
    for readonly in (True, False):
        with pytest.raises(GalleryCorrupt) as caught:
            Catalog(tmp_path, readonly=readonly)
        assert caught.value.hint


def test_an_empty_file_is_no_catalogue_to_read(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").touch()
    with pytest.raises(GalleryCorrupt, match="empty"):
        Catalog(tmp_path, readonly=True)


def test_a_newer_catalogue_is_refused(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog, catalog.transaction() as connection:
        connection.execute(f"PRAGMA user_version = {module.CATALOG_VERSION + 1}")
    for readonly in (True, False):
        with pytest.raises(GalleryTooNew):
            Catalog(tmp_path, readonly=readonly)


def test_a_full_disk_is_a_storage_error_and_loses_nothing(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        put(catalog, photo(1))
        with catalog.transaction() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full"):
            put(catalog, *(photo(n, f"/{'x' * 200}/{n}") for n in range(2, 2000)))
        assert catalog.ids().tolist() == [1]
        assert catalog.photo(1) == photo(1)


def test_totals(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        assert catalog.stats()["taken_first"] is None
        assert catalog.last_run() is None
        put(catalog, photo(1), photo(2, format="PNG", latitude=None, longitude=None), photo(3, taken_at=""))
        with catalog.transaction():
            catalog.put_run(IndexSummary(added=3, photos=3, seconds=1.5, is_complete=False))
        stats = catalog.stats()
        assert stats["photos"] == 3
        assert stats["formats"] == {"JPEG": 2, "PNG": 1}
        assert (stats["taken_first"], stats["taken_last"]) == ("2024-01-02T00:00:00", "2024-01-03T00:00:00")
        assert stats["located"] == 2
        assert stats["size_bytes"] == 101 + 102 + 103
        assert stats["last_run"]["added"] == 3
        assert stats["last_run"]["is_complete"] is False


def test_stale_photos_are_nobodys_twin(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        put(catalog, photo(1), photo(2, content_hash="hash1"))
        assert [one.id for one in catalog.photos_with_hash("hash1")] == [1, 2]
        with catalog.transaction():
            catalog.mark_stale([1])
        assert [one.id for one in catalog.photos_with_hash("hash1")] == [2]
        stale = catalog.photo(1)
        assert stale is not None
        assert stale.mtime_ns == -1
