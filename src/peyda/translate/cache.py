"""What was translated, on disk: one SQLite file for all runs, so that no text is translated twice.

Keys are (engine identity, source key). Translations are kept as engines gave them; spelling is mended when they are
written to a table. Failures belong to a job, and are forgotten when that job is finished: the next run tries again.
Many processes may use one file. Source: SQLite's write-ahead log (https://sqlite.org/wal.html): with it, what was
committed survives a killed process.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from peyda.errors import DataError, StorageError
from peyda.translate.protocol import FAILURES, Failed

SCHEMA_VERSION = 1
_BUSY_S = 60.0
_KEYS_IN_A_QUERY = 500
_SCHEMA = """
CREATE TABLE engines (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE translations (
    engine INTEGER NOT NULL REFERENCES engines, source BLOB NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (engine, source)) WITHOUT ROWID;
CREATE TABLE failures (
    job BLOB NOT NULL, source BLOB NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (job, source)) WITHOUT ROWID;
"""


class TranslationCache:
    """The cache as one engine and one job see it; thread-safe.

    Args:
        path: The file; made with its directory when it is not there.
        identity: `Engine.identity`.
        job: Whose failures these are.

    Raises:
        DataError: The file is no cache, is damaged, or was made by a newer Peyda.
        StorageError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str, job: bytes = b"") -> None:
        self.path = os.fspath(path)
        self._job = job
        self._lock = threading.Lock()
        with self._reporting():
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None
            )
        try:
            with self._reporting():
                self._prepare()
                self._engine = self._engine_id(identity)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        with self._transaction():
            (version,) = run("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise DataError(
                    f"{self.path} was written by a newer Peyda", hint="update Peyda, or name another file with --cache"
                )
            if version == 0:
                if run("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
                    raise DataError(
                        f"{self.path} is some other program's database", hint="name another file with --cache"
                    )
                for statement in _SCHEMA.split(";")[:-1]:
                    run(statement)
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _engine_id(self, identity: str) -> int:
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO engines (identity) VALUES (?)", (identity,))
            row = self._connection.execute("SELECT id FROM engines WHERE identity = ?", (identity,)).fetchone()
            return int(row[0])

    def translations(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Those of `keys` that were translated → translation."""
        found: dict[bytes, str] = {}
        with self._reporting(), self._lock:
            for part in _parts(keys):
                marks = ",".join("?" * len(part))
                query = f"SELECT source, text FROM translations WHERE engine = ? AND source IN ({marks})"
                found.update(self._connection.execute(query, (self._engine, *part)))
        return found

    def failures(self, keys: Sequence[bytes]) -> dict[bytes, Failed]:
        """Those of `keys` that this job gave up on → why."""
        found: dict[bytes, Failed] = {}
        with self._reporting(), self._lock:
            for part in _parts(keys):
                marks = ",".join("?" * len(part))
                query = f"SELECT source, code, detail FROM failures WHERE job = ? AND source IN ({marks})"
                for key, code, detail in self._connection.execute(query, (self._job, *part)):
                    found[key] = Failed(code if code in FAILURES else "crashed", detail)
        return found

    def put(self, translations: Mapping[bytes, str], failures: Mapping[bytes, Failed]) -> None:
        """Store both, at once; returns when they would survive a kill."""
        if not translations and not failures:
            return
        with self._reporting(), self._lock, self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO translations VALUES (?, ?, ?)",
                [(self._engine, key, text) for key, text in translations.items()],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
                [(self._job, key, failed.code, failed.detail) for key, failed in failures.items()],
            )

    def forget_failures(self) -> None:
        """Let the job's next run try again what failed."""
        with self._reporting(), self._lock:
            self._connection.execute("DELETE FROM failures WHERE job = ?", (self._job,))

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> TranslationCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the cache {self.path} cannot be used: {error}",
                hint="free some space, check permissions, or name another file with --cache",
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"the cache {self.path} is damaged or is no cache: {error}",
                hint="move it away, or name another file with --cache",
            ) from error
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise StorageError(
                f"the cache {self.path} cannot be made: {error.strerror}", hint="name another file with --cache"
            ) from error


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _KEYS_IN_A_QUERY):
        yield keys[start : start + _KEYS_IN_A_QUERY]
