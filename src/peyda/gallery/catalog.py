"""The catalogue: which photographs a gallery holds, which files were skipped and why, and what each run did.

One SQLite file in WAL mode: one writer (whoever holds the `WriterLock`) and any number of readers, in any process, who
never wait and always see the last committed state. Vectors live in `peyda.gallery.store`; where the two disagree, the
catalogue is right. Paths are kept as the bytes the disk has (`os.fsencode`), so any name survives.

https://www.sqlite.org/wal.html (read-only media: "Read-Only Databases").
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np

from peyda.errors import GalleryCorrupt, GalleryTooNew
from peyda.gallery.directory import storage_error
from peyda.types import IndexSummary, Int64, Photo, Skipped

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

CATALOG_NAME = "catalog.sqlite"
CATALOG_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    format TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    taken_at TEXT NOT NULL,
    taken_from TEXT NOT NULL,
    latitude REAL,
    longitude REAL
);
CREATE INDEX IF NOT EXISTS photos_content_hash ON photos (content_hash);
CREATE INDEX IF NOT EXISTS photos_size_bytes ON photos (size_bytes);
CREATE TABLE IF NOT EXISTS skipped (
    path BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    skipped_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    finished_at TEXT NOT NULL,
    is_complete INTEGER NOT NULL,
    added INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    photos INTEGER NOT NULL,
    seconds REAL NOT NULL
);
"""
PHOTO_COLUMNS = (
    "id, path, size_bytes, mtime_ns, content_hash, format, width_px, height_px, taken_at, taken_from, latitude, "
    "longitude"
)
_facts = attrgetter(*PHOTO_COLUMNS.split(", ")[2:])
_SKIPPED_COLUMNS = "path, reason, detail, size_bytes, mtime_ns, skipped_at"
_IDS_PER_QUERY = 500  # below SQLite's oldest limit of 999 parameters


class Catalog:
    """The catalogue of one gallery. Safe to use from several threads.

    Args:
        directory: The gallery directory.
        readonly: Open the last committed state and never write; works on read-only media too.

    Raises:
        GalleryCorrupt: The file is missing or is not a catalogue.
        GalleryTooNew: A newer Peyda wrote it.
        StorageError: The disk is full, read-only or gone.
    """

    def __init__(self, directory: str | os.PathLike[str], *, readonly: bool = False) -> None:
        self.path = Path(directory) / CATALOG_NAME
        self.readonly = readonly
        self._lock = threading.RLock()
        self._snapshot: TemporaryDirectory[str] | None = None
        try:
            self._connection = self._open_to_read() if readonly else self._open_to_write()
        except sqlite3.DatabaseError as error:
            raise _catalog_error(self.path, error) from error

    def close(self) -> None:
        """Close the file; idempotent. The last writer to close folds the log into the file."""
        with self._lock:
            # A full disk must not hide the error that brought us here; the log is folded in next time.
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            if self._snapshot is not None:
                self._snapshot.cleanup()
                self._snapshot = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def photo(self, photo_id: int) -> Photo | None:
        """The photograph with that id, or None."""
        rows = self._rows(f"SELECT {PHOTO_COLUMNS} FROM photos WHERE id = ?", (photo_id,))
        return _photo(rows[0]) if rows else None

    def photo_at(self, path: str) -> Photo | None:
        """The photograph at that absolute path, or None."""
        try:
            name = os.fsencode(path)
        except UnicodeEncodeError:
            return None  # no file can have such a name
        rows = self._rows(f"SELECT {PHOTO_COLUMNS} FROM photos WHERE path = ?", (name,))
        return _photo(rows[0]) if rows else None

    def photos(self, ids: Sequence[int]) -> dict[int, Photo]:
        """Those of `ids` that the catalogue knows, by id."""
        found: dict[int, Photo] = {}
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = [int(value) for value in ids[start : start + _IDS_PER_QUERY]]
            marks = ",".join("?" * len(part))
            for row in self._rows(f"SELECT {PHOTO_COLUMNS} FROM photos WHERE id IN ({marks})", part):
                found[row[0]] = _photo(row)
        return found

    def photos_with_hash(self, content_hash: str, *, limit: int = -1) -> list[Photo]:
        """Copies of that content, oldest id first; at most `limit` of them (-1: all)."""
        query = f"SELECT {PHOTO_COLUMNS} FROM photos WHERE content_hash = ? ORDER BY id LIMIT ?"
        return [_photo(row) for row in self._rows(query, (content_hash, limit))]

    def has_hash(self, content_hash: str) -> bool:
        """Whether any photograph has that content."""
        return bool(self._rows("SELECT 1 FROM photos WHERE content_hash = ? LIMIT 1", (content_hash,)))

    def has_under(self, path: str) -> bool:
        """Whether any photograph has that path or lies in that folder."""
        name = os.fsencode(path)
        inside = name.rstrip(os.sep.encode()) + os.sep.encode()
        query = "SELECT 1 FROM photos WHERE path = ? OR (path > ? AND path < ?) LIMIT 1"
        return bool(self._rows(query, (name, inside, inside[:-1] + bytes([inside[-1] + 1]))))

    def iter_photos(self, *, batch: int = 1000) -> Iterator[Photo]:
        """Every photograph by ascending id, in bounded memory; each batch is a committed state of its own."""
        last = -1
        while True:
            query = f"SELECT {PHOTO_COLUMNS} FROM photos WHERE id > ? ORDER BY id LIMIT ?"
            rows = self._rows(query, (last, batch))
            if not rows:
                return
            yield from map(_photo, rows)
            last = rows[-1][0]

    def ids(self) -> Int64:
        """Every photograph's id, ascending."""
        with self._lock, self._mapped():
            cursor = self._connection.execute("SELECT id FROM photos ORDER BY id")
            return np.fromiter((row[0] for row in cursor), dtype=np.int64)

    def count(self) -> int:
        """How many photographs there are."""
        return int(self._rows("SELECT count(*) FROM photos")[0][0])

    def version(self) -> int:
        """A number that changes whenever another connection commits: what caches compare."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def skipped(self, *, limit: int = -1, offset: int = 0, reason: str | None = None) -> list[Skipped]:
        """Files that were skipped, by path; at most `limit` of them (-1: all), of one `reason` where given."""
        where, values = ("WHERE reason = ? ", (reason,)) if reason is not None else ("", ())
        query = f"SELECT {_SKIPPED_COLUMNS} FROM skipped {where}ORDER BY path LIMIT ? OFFSET ?"
        return [Skipped(os.fsdecode(row[0]), *row[1:]) for row in self._rows(query, (*values, limit, offset))]

    def skipped_reasons(self) -> dict[str, int]:
        """How many files were skipped for each reason, most frequent first."""
        query = "SELECT reason, count(*) FROM skipped GROUP BY reason ORDER BY count(*) DESC, reason"
        return dict(self._rows(query))

    def last_run(self) -> dict[str, Any] | None:
        """What the latest run of the indexer did, with `finished_at`; None before the first."""
        with self._lock, self._mapped():
            cursor = self._connection.execute("SELECT * FROM runs ORDER BY id DESC LIMIT 1")
            names = [column[0] for column in cursor.description]
            row = cursor.fetchone()
        if row is None:
            return None
        run = dict(zip(names, row, strict=True))
        run["is_complete"] = bool(run["is_complete"])
        return run

    def stats(self) -> dict[str, Any]:
        """Totals for a person: `photos`, `skipped`, `size_bytes`, `formats`, `taken_first`, `taken_last`, `located`."""
        query = (
            "SELECT count(*), coalesce(sum(size_bytes), 0), min(nullif(taken_at, '')), max(taken_at), count(latitude) "
            "FROM photos"
        )
        photos, size_bytes, first, last, located = self._rows(query)[0]
        formats = self._rows("SELECT format, count(*) FROM photos GROUP BY format ORDER BY count(*) DESC, format")
        return {
            "photos": photos,
            "skipped": int(self._rows("SELECT count(*) FROM skipped")[0][0]),
            "size_bytes": size_bytes,
            "formats": dict(formats),
            "taken_first": first,
            "taken_last": last or None,
            "located": located,
            "last_run": self.last_run(),
        }

    # Writing: only inside `transaction`

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; durable when it ends. Raises StorageError when the disk cannot take it."""
        with self._lock, self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def next_id(self) -> int:
        """An id above every id ever used, those of removed photographs included."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'photos'")
        return int(rows[0][0]) + 1 if rows else 1

    def put(self, photos: Iterable[Photo]) -> None:
        """Insert photographs or replace those with the same id; what was known as skipped at a path is forgotten."""
        rows = [_row(photo) for photo in photos]
        marks = ",".join("?" * 12)
        with self._lock, self._mapped():
            self._connection.executemany("DELETE FROM photos WHERE id = ?", [(row[0],) for row in rows])
            self._connection.executemany(f"INSERT INTO photos ({PHOTO_COLUMNS}) VALUES ({marks})", rows)
            self._connection.executemany("DELETE FROM skipped WHERE path = ?", [(row[1],) for row in rows])

    def remove(self, ids: Iterable[int]) -> None:
        """Forget photographs; unknown ids are ignored."""
        with self._lock, self._mapped():
            self._connection.executemany("DELETE FROM photos WHERE id = ?", [(int(value),) for value in ids])

    def mark_stale(self, ids: Iterable[int]) -> None:
        """Make the next run read these files again, whatever their size and time say."""
        values = [(int(value),) for value in ids]
        with self._lock, self._mapped():
            self._connection.executemany("UPDATE photos SET mtime_ns = -1, content_hash = '' WHERE id = ?", values)

    def put_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Remember files that were not indexed."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (os.fsencode(one.path), one.reason, storable(one.detail), one.size_bytes, one.mtime_ns, now)
            for one in skipped
        ]
        query = f"INSERT OR REPLACE INTO skipped ({_SKIPPED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        with self._lock, self._mapped():
            self._connection.executemany(query, rows)

    def forget_skipped(self, paths: Iterable[str]) -> None:
        """Drop files from the ledger of skipped ones."""
        with self._lock, self._mapped():
            values = [(os.fsencode(path),) for path in paths]
            self._connection.executemany("DELETE FROM skipped WHERE path = ?", values)

    def put_run(self, summary: IndexSummary) -> None:
        """Append one run of the indexer to the ledger."""
        names = ["is_complete", "added", "changed", "moved", "removed", "unchanged", "skipped", "photos", "seconds"]
        values = [getattr(summary, name) for name in names]
        query = f"INSERT INTO runs (finished_at, {', '.join(names)}) VALUES (?{', ?' * len(names)})"
        with self._lock, self._mapped():
            self._connection.execute(query, (datetime.now(UTC).isoformat(timespec="seconds"), *values))

    # Inside

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._mapped():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our own mistake, e.g. use after close
        except sqlite3.DatabaseError as error:
            raise _catalog_error(self.path, error) from error

    def _open_to_write(self) -> sqlite3.Connection:
        connection = _connect(str(self.path))
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: what a run has acknowledged survives a power cut, not only a kill.
            connection.execute("PRAGMA synchronous = FULL")
            if _user_version(connection, self.path) == 0:
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {CATALOG_VERSION}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        if not self.path.exists():
            raise GalleryCorrupt(f"{self.path} is missing", hint="Restore it from a backup, or index the photos anew.")
        location = quote(os.fsencode(os.path.abspath(self.path)))
        try:
            return self._checked(_connect(f"file:{location}?mode=ro", uri=True))
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise  # somebody is writing, so reading the file as it lies would be wrong
            # Read-only media: SQLite cannot make its shared-memory file there. Nobody can be writing, so the file may
            # be read as it lies; a log that was left beside it must be read too, so both are copied away.
            log = self.path.with_name(CATALOG_NAME + "-wal")
            if not log.exists() or log.stat().st_size == 0:
                return self._checked(_connect(f"file:{location}?immutable=1", uri=True))
            import shutil
            import tempfile

            self._snapshot = tempfile.TemporaryDirectory(prefix="peyda-catalog-")
            for source in (self.path, log):
                shutil.copyfile(source, Path(self._snapshot.name) / source.name)
            return self._checked(_connect(str(Path(self._snapshot.name) / CATALOG_NAME)))

    def _checked(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        try:
            if _user_version(connection, self.path) == 0:
                raise GalleryCorrupt(f"{self.path} is empty", hint="Index the photos anew: peyda index PHOTOS")
            connection.execute("SELECT 1 FROM photos LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(location: str, *, uri: bool = False) -> sqlite3.Connection:
    # autocommit (isolation_level None): transactions are written out, and a reader holds no snapshot between calls.
    return sqlite3.connect(location, uri=uri, isolation_level=None, check_same_thread=False, timeout=10.0)


def _user_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > CATALOG_VERSION:
        raise GalleryTooNew(
            f"{path} was written by a newer Peyda (catalogue {version}; this one knows {CATALOG_VERSION})",
            hint="Update Peyda: pip install --upgrade peyda",
        )
    return version


def _catalog_error(path: Path, error: sqlite3.DatabaseError) -> Exception:
    if isinstance(error, sqlite3.OperationalError):
        return storage_error(f"cannot use {path}", error)
    return GalleryCorrupt(
        f"{path} is damaged: {error}", hint="Restore it from a backup, or make the gallery anew: peyda index PHOTOS"
    )


def _photo(row: tuple[Any, ...]) -> Photo:
    return Photo(row[0], os.fsdecode(row[1]), *row[2:])


def _row(photo: Photo) -> tuple[Any, ...]:
    return (photo.id, os.fsencode(photo.path), *_facts(photo))


def storable(text: str) -> str:
    """SQLite takes no lone surrogates, and a detail may quote a file name that has some."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
