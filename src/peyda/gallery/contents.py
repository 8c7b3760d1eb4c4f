"""Which content each vector of a generation is of, so that it can be brought in line with the catalogue later.

The generation that answers searches is kept in line by the indexer. All others fall behind: photographs come, go, move
and change under the same id. So each folder of vectors has a small SQLite file `contents.sqlite` that notes, for every
vector, the photograph it was made for; comparing that with the catalogue says what is left to do. The file is written
while a generation is made, and anew (`retire`) when a generation stops answering.

Rows are noted before their vectors are stored and forgotten after those are deleted; so what a crash leaves is rows
without vectors, which `reconcile` drops, and no vector is ever taken for that of other content.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from peyda.errors import GalleryCorrupt, GalleryTooNew
from peyda.gallery.catalog import CATALOG_NAME, PHOTO_COLUMNS, storable
from peyda.gallery.directory import storage_error
from peyda.types import Int64, Photo, Skipped

CONTENTS_NAME = "contents.sqlite"
CONTENTS_VERSION = 1

# `content_hash` is what the catalogue said; `embedded_hash` what was really read (a file may have changed since it was
# indexed): only where both agree may another photograph of the same content have the same vector.
_SCHEMA = """
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, content_hash TEXT NOT NULL, embedded_hash TEXT NOT NULL, path BLOB NOT NULL,
    taken_at TEXT NOT NULL
);
CREATE INDEX contents_embedded ON contents (embedded_hash);
CREATE TABLE missing (
    id INTEGER PRIMARY KEY, content_hash TEXT NOT NULL, path BLOB NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = ", ".join(f"p.{name}" for name in PHOTO_COLUMNS.split(", "))
# An empty hash in the catalogue marks a photograph to be read again; that is no proof of other content.
_CHANGED = "p.content_hash NOT IN ('', c.content_hash)"
_PHOTOS = "gallery.photos p LEFT JOIN contents c ON c.id = p.id"
_TO_DO = f"(c.id IS NULL OR {_CHANGED})"
_NOT_MISSING = "NOT EXISTS (SELECT 1 FROM missing m WHERE m.id = p.id AND m.content_hash = p.content_hash)"


class Contents:
    """The notes about one generation, with the gallery's catalogue beside them. For one thread.

    Args:
        folder: The generation's folder; made by a writer.
        gallery: The gallery directory; its catalogue is only read, and only its committed state.
        readonly: Never write.

    Raises:
        GalleryCorrupt: The file is missing (`readonly`) or damaged.
        GalleryTooNew: A newer Peyda wrote it.
        StorageError: The disk is full, read-only or gone (every method).
    """

    def __init__(self, folder: Path, gallery: Path, *, readonly: bool = False) -> None:
        self.path = folder / CONTENTS_NAME
        with self._mapped():
            if not readonly:
                folder.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self.path, "ro" if readonly else "rwc")
            try:
                self._prepare(gallery, readonly=readonly)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, gallery: Path, *, readonly: bool) -> None:
        run = self._connection.execute
        version = int(run("PRAGMA user_version").fetchone()[0])
        if version > CONTENTS_VERSION:
            raise GalleryTooNew(
                f"{self.path} was written by a newer Peyda (version {version}; this one knows {CONTENTS_VERSION})",
                hint="Update Peyda: pip install --upgrade peyda",
            )
        if not readonly:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
            if version == 0:
                self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {CONTENTS_VERSION}; COMMIT;")
        run("ATTACH ? AS gallery", (_uri(gallery / CATALOG_NAME, "ro"),))
        run("SELECT 1 FROM contents, gallery.photos LIMIT 1").fetchall()

    def close(self) -> None:
        """Close the file; idempotent."""
        with contextlib.suppress(sqlite3.Error):  # a full disk must not hide the error that brought us here
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the generation is

    def about(self) -> dict[str, str]:
        """What `describe` noted; empty before."""
        return dict(self._rows("SELECT name, value FROM about"))

    def describe(self, **facts: str) -> None:
        """Note facts about the generation: its model, for whoever finds an upgrade that has not ended."""
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", list(facts.items()))

    # What is left to do

    def outdated(self) -> list[int]:
        """Ids of vectors whose photograph is gone from the catalogue or has other content now."""
        query = (
            f"SELECT c.id FROM contents c LEFT JOIN gallery.photos p ON p.id = c.id WHERE p.id IS NULL OR {_CHANGED}"
        )
        return [row[0] for row in self._rows(query)]

    def moved(self, after_id: int, limit: int) -> list[tuple[Photo, str]]:
        """The next photographs, by id, whose place or time is not what was noted, and the hash of their vector."""
        where = f"(p.path != c.path OR p.taken_at != c.taken_at) AND NOT {_CHANGED} AND c.id > ? ORDER BY c.id LIMIT ?"
        query = f"SELECT {_COLUMNS}, c.embedded_hash FROM contents c JOIN gallery.photos p ON p.id = c.id WHERE {where}"
        return [(_photo(row[:-1]), row[-1]) for row in self._rows(query, (after_id, limit))]

    def copies(self, after_id: int, limit: int) -> list[tuple[Photo, int]]:
        """The next photographs without a vector, by id, and of each another one whose vector is of the same content."""
        twin = "(SELECT t.id FROM contents t WHERE t.embedded_hash = p.content_hash AND p.content_hash != '' LIMIT 1)"
        where = f"{_TO_DO} AND p.id > ? AND twin IS NOT NULL ORDER BY p.id LIMIT ?"
        query = f"SELECT {_COLUMNS}, {twin} AS twin FROM {_PHOTOS} WHERE {where}"
        return [(_photo(row[:-1]), row[-1]) for row in self._rows(query, (after_id, limit))]

    def to_read(self, after_id: int, limit: int) -> list[Photo]:
        """The next photographs without a vector, by id; without those that were found to be missing."""
        query = f"SELECT {_COLUMNS} FROM {_PHOTOS} WHERE {_TO_DO} AND {_NOT_MISSING} AND p.id > ? ORDER BY p.id LIMIT ?"
        return [_photo(row) for row in self._rows(query, (after_id, limit))]

    def has_embedded(self, content_hash: str) -> bool:
        """Whether some vector is of that content."""
        query = "SELECT 1 FROM contents WHERE embedded_hash = ? LIMIT 1"
        return bool(content_hash and self._rows(query, (content_hash,)))

    def counts(self) -> tuple[int, int, int]:
        """How many photographs the catalogue has, have no vector here, and of those were not found to be missing."""
        query = f"SELECT count(*), sum({_TO_DO}), sum({_TO_DO} AND {_NOT_MISSING}) FROM {_PHOTOS}"
        photos, to_do, to_read = self._rows(query)[0]
        return int(photos), int(to_do or 0), int(to_read or 0)

    def missing(self, limit: int = -1) -> list[Skipped]:
        """Photographs that could not be embedded, by path, and why; at most `limit` of them (-1: all)."""
        columns = "m.path, m.reason, m.detail, p.size_bytes, p.mtime_ns"
        join = f"gallery.photos p JOIN missing m ON m.id = p.id LEFT JOIN contents c ON c.id = p.id WHERE {_TO_DO}"
        rows = self._rows(f"SELECT {columns} FROM {join} ORDER BY m.path LIMIT ?", (limit,))
        return [Skipped(os.fsdecode(row[0]), *row[1:]) for row in rows]

    def count_held(self, ids: Sequence[int]) -> int:
        """How many of these photographs have a vector in this generation, of the content that they have now."""
        with self._transaction():
            self._take_ids(ids)
            join = "taken t JOIN gallery.photos p ON p.id = t.id JOIN contents c ON c.id = p.id"
            query = f"SELECT count(*) FROM {join} WHERE NOT {_CHANGED}"
            return int(self._connection.execute(query).fetchone()[0])

    # Noting

    def reconcile(self, stored: Int64) -> list[int]:
        """Forget rows whose vector was never stored; ids of vectors that nothing is noted about, to be deleted."""
        noted = np.array([row[0] for row in self._rows("SELECT id FROM contents ORDER BY id")], np.int64)
        self.forget(np.setdiff1d(noted, stored).tolist())
        return [int(one) for one in np.setdiff1d(stored, noted)]

    def put(self, rows: Iterable[tuple[Photo, str]]) -> None:
        """Note photographs whose vectors are stored next, each with the hash of the content that was embedded."""
        values = [(one.id, one.content_hash, embedded, os.fsencode(one.path), one.taken_at) for one, embedded in rows]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)", values)
            self._connection.executemany("DELETE FROM missing WHERE id = ?", [(row[0],) for row in values])

    def forget(self, ids: Iterable[int]) -> None:
        """Forget rows whose vectors were deleted."""
        with self._transaction():
            self._connection.executemany("DELETE FROM contents WHERE id = ?", [(one,) for one in ids])

    def put_missing(self, rows: Iterable[tuple[Photo, str, str]]) -> None:
        """Note photographs that could not be embedded: reason and detail."""
        values = [
            (one.id, one.content_hash, os.fsencode(one.path), reason, storable(detail)) for one, reason, detail in rows
        ]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO missing VALUES (?, ?, ?, ?, ?)", values)

    def clear_missing(self) -> None:
        """Have photographs tried again that were missing: their disk may be there now."""
        with self._transaction():
            self._connection.execute("DELETE FROM missing")

    def retire(self, stored: Int64) -> None:
        """Note the catalogue as it is, for the vectors `stored`: the generation is about to stop answering."""
        with self._transaction():
            self._take_ids(stored.tolist())
            run = self._connection.execute
            run("DELETE FROM contents")
            run("DELETE FROM missing")
            columns = "p.id, p.content_hash, p.content_hash, p.path, p.taken_at"
            run(f"INSERT INTO contents SELECT {columns} FROM gallery.photos p JOIN taken t ON t.id = p.id")

    # Inside

    def _take_ids(self, ids: Sequence[int]) -> None:
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS taken (id INTEGER PRIMARY KEY)")
        self._connection.execute("DELETE FROM taken")
        self._connection.executemany("INSERT INTO taken VALUES (?)", [(int(one),) for one in ids])

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._mapped():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mapped():
            self._connection.execute("BEGIN")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our own mistake, e.g. use after close
        except sqlite3.OperationalError as error:
            raise storage_error(f"cannot use {self.path}", error) from error
        except sqlite3.DatabaseError as error:
            raise GalleryCorrupt(
                f"{self.path} is damaged: {error}",
                hint="Searching is not affected. Delete the vectors that do not answer searches, and start the "
                "upgrade again: peyda gallery upgrade --discard-old",
            ) from error
        except OSError as error:
            raise storage_error(f"cannot use {self.path}", error) from error


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(_uri(path, mode), uri=True, isolation_level=None, timeout=10.0)


def _photo(row: Sequence[Any]) -> Photo:
    return Photo(row[0], os.fsdecode(row[1]), *row[2:])
