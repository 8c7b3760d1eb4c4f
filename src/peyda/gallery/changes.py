"""What a scan found, compared with the catalogue: what to read, what is as it was, what may be gone.

The findings go to a scratch SQLite file beside the catalogue and not into memory, so that a folder of millions costs
megabytes; the file is free to delete and is made anew by every run.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from peyda.gallery.catalog import CATALOG_NAME
from peyda.gallery.directory import storage_error
from peyda.gallery.reasons import UNLISTED_REASONS
from peyda.gallery.scan import Found, Scope
from peyda.types import Skipped

SCRATCH_NAME = "scan.sqlite"
_BATCH = 500
_PAGE = 512

UNCHANGED, TO_READ, STILL_SKIPPED = 0, 1, 2

_SCHEMA = """
CREATE TABLE seen (path BLOB PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER, state INTEGER) WITHOUT ROWID;
CREATE TABLE troubled (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE fleeting (reason TEXT);
"""
# Size and time first: only a file that differs in one of them is opened at all.
_CLASSIFY = """
INSERT OR IGNORE INTO seen
SELECT :path, :size_bytes, :mtime_ns, CASE
    WHEN EXISTS (SELECT 1 FROM gallery.photos
                 WHERE path = :path AND size_bytes = :size_bytes AND mtime_ns = :mtime_ns) THEN 0
    WHEN :is_patient AND EXISTS (SELECT 1 FROM gallery.skipped
                 WHERE path = :path AND size_bytes = :size_bytes AND mtime_ns = :mtime_ns
                 AND reason NOT IN (SELECT reason FROM fleeting)) THEN 2
    ELSE 1 END
"""


class ToRead(NamedTuple):
    """A file to read. `has_twin_size`: a photograph of the same size is known, so its hash is worth a look first."""

    found: Found
    has_twin_size: bool


class Changes:
    """The findings of one scan; a context manager that removes its scratch file.

    Args:
        directory: The gallery directory; its catalogue is only read, and only its committed state.
        fleeting_reasons: Reasons of skipped files that are always tried again.
        retry_skipped: Try every skipped file again, changed or not.

    Raises:
        StorageError: The disk is full, read-only or gone (every method).
    """

    def __init__(self, directory: Path, *, fleeting_reasons: Iterable[str] = (), retry_skipped: bool = False) -> None:
        self._path = directory / SCRATCH_NAME
        self._is_patient = not retry_skipped
        self._unlisted = Scope(())
        self.troubles: list[Skipped] = []
        with self._mapped():
            self._remove()
            self._connection = sqlite3.connect(self._path.as_uri(), uri=True, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = OFF")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript(_SCHEMA)
            self._connection.executemany("INSERT INTO fleeting VALUES (?)", [(one,) for one in fleeting_reasons])
            catalog = quote(os.fsencode(directory / CATALOG_NAME))
            self._connection.execute("ATTACH ? AS gallery", (f"file:{catalog}?mode=ro",))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        with contextlib.suppress(OSError):
            self._remove()

    def add(self, findings: Iterable[Found | Skipped]) -> Iterator[int]:
        """Take in findings; yields, every few hundred of them, how many came so far."""
        source, count = iter(findings), 0
        while batch := list(islice(source, _BATCH)):
            rows = [self._values(one) for one in batch if isinstance(one, Found)]
            troubles = [one for one in batch if isinstance(one, Skipped)]
            with self._mapped():
                self._connection.execute("BEGIN")
                self._connection.executemany(_CLASSIFY, rows)
                marks = [(os.fsencode(trouble.path),) for trouble in troubles]
                self._connection.executemany("INSERT OR IGNORE INTO troubled VALUES (?)", marks)
                self._connection.execute("COMMIT")
            self.troubles += troubles
            self._unlisted.add(one.path for one in troubles if one.reason in UNLISTED_REASONS)
            count += len(batch)
            yield count

    def count(self, state: int) -> int:
        """How many findings are in that state: `UNCHANGED`, `TO_READ` or `STILL_SKIPPED`."""
        with self._mapped():
            row = self._connection.execute("SELECT count(*) FROM seen WHERE state = ?", (state,)).fetchone()
        return int(row[0])

    def to_read(self) -> Iterator[ToRead]:
        """Files to read, by path. Pages are read as they are asked for: no snapshot is held between them."""
        query = (
            "SELECT path, size_bytes, mtime_ns, "
            "EXISTS (SELECT 1 FROM gallery.photos WHERE photos.size_bytes = seen.size_bytes) "
            f"FROM seen WHERE state = {TO_READ} AND path > ? ORDER BY path LIMIT {_PAGE}"
        )
        last = b""
        while rows := self._page(query, last):
            for path, size_bytes, mtime_ns, has_twin in rows:
                yield ToRead(Found(os.fsdecode(path), size_bytes, mtime_ns), bool(has_twin))
            last = rows[-1][0]

    def unseen_photos(self, scope: Scope) -> Iterator[tuple[int, str]]:
        """Photographs `(id, path)` under `scope` that the scan did not meet, except under unlisted folders."""
        query = (
            "SELECT id, path FROM gallery.photos WHERE id > ? "
            f"AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.path = photos.path) ORDER BY id LIMIT {_PAGE}"
        )
        last = 0
        while rows := self._page(query, last):
            for photo_id, name in rows:
                path = os.fsdecode(name)
                if self._is_in(path, scope):
                    yield photo_id, path
            last = rows[-1][0]

    def unseen_skipped(self, scope: Scope) -> Iterator[str]:
        """Paths in the ledger of skipped files, under `scope`, that this scan neither met nor stumbled over."""
        query = (
            "SELECT path FROM gallery.skipped WHERE path > ? "
            "AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.path = skipped.path) "
            f"AND NOT EXISTS (SELECT 1 FROM troubled WHERE troubled.path = skipped.path) ORDER BY path LIMIT {_PAGE}"
        )
        last = b""
        while rows := self._page(query, last):
            yield from (path for (name,) in rows if self._is_in(path := os.fsdecode(name), scope))
            last = rows[-1][0]

    def loose_photos(self, roots: Scope) -> Iterator[str]:
        """Paths of photographs outside all `roots`: they were indexed by their own names."""
        last = 0
        while rows := self._page(f"SELECT id, path FROM gallery.photos WHERE id > ? ORDER BY id LIMIT {_PAGE}", last):
            yield from (path for _, name in rows if not roots.covers(path := os.fsdecode(name)))
            last = rows[-1][0]

    def _is_in(self, path: str, scope: Scope) -> bool:
        return scope.covers(path) and not self._unlisted.covers(path)

    def _values(self, found: Found) -> dict[str, object]:
        return {
            "path": os.fsencode(found.path),
            "size_bytes": found.size_bytes,
            "mtime_ns": found.mtime_ns,
            "is_patient": self._is_patient,
        }

    def _page(self, query: str, last: object) -> list[tuple[Any, ...]]:
        with self._mapped():
            return self._connection.execute(query, (last,)).fetchall()

    def _remove(self) -> None:
        for suffix in ("", "-journal"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise storage_error(f"cannot keep the list of files in {self._path}", error) from error
