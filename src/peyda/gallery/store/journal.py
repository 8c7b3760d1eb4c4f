"""`points.sqlite`: which rows of the vector file count, and whose they are.

One SQLite row per commit ("batch"), its columns packed as little-endian arrays: opening 100,000 points reads some
hundred rows instead of 100,000. `state` is the commit record: bytes of the vector file beyond `state.rows` do not
exist. A batch without rows deletes its ids. SQLite's write lock is the store's write lock; WAL lets readers read on.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.errors import GalleryBusy, GalleryCorrupt, GalleryMismatch, GalleryTooNew, StorageError
from peyda.gallery.store.scoring import Float64
from peyda.types import Int64

SCHEMA_VERSION = 1
FILE_NAME = "points.sqlite"
BUSY_TIMEOUT_S = 10.0
Int32 = npt.NDArray[np.int32]

_SCHEMA = """
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL, store_id TEXT NOT NULL,
                    dim INTEGER NOT NULL, generation INTEGER NOT NULL, rows INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE batches (seq INTEGER PRIMARY KEY, first_row INTEGER, ids BLOB NOT NULL, taken_at BLOB, folders BLOB,
                      seqs BLOB);
"""


@dataclass(frozen=True, slots=True)
class State:
    """The commit record: generation of the vector file, rows that count, last batch."""

    store_id: str
    generation: int
    rows: int
    seq: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit. `first_row` is -1 for a deletion; `seqs` are the rows' original batches."""

    seq: int
    first_row: int
    ids: Int64
    taken_at: Float64
    folders: Int32
    seqs: Int64


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn what the disk and SQLite complain about into Peyda's errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _named(error, directory) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(directory) from error
        raise StorageError(
            f"{directory} cannot be used: {error.strerror or error}",
            hint="check that the disk is there and that you may write to this folder",
        ) from error


def _full(directory: Path) -> StorageError:
    hint = "free some space and run the same command again: everything committed so far is kept"
    return StorageError(f"the disk that holds {directory} is full", hint=hint)


def _named(error: sqlite3.DatabaseError, directory: Path) -> Exception:
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        return GalleryBusy(
            f"another process is writing to {directory}", hint="wait for the running `peyda index` to end"
        )
    if "full" in text:
        return _full(directory)
    if "malformed" in text or "not a database" in text or "no such" in text:
        hint = "run `peyda gallery verify`; if it cannot help, delete the gallery and run `peyda index` again"
        return GalleryCorrupt(f"{directory / FILE_NAME} is damaged ({error})", hint=hint)
    hint = "check that the disk is there and that you may write to this folder"
    return StorageError(f"{directory / FILE_NAME} cannot be used: {error}", hint=hint)


class Journal:
    """The SQLite half of a store. Not thread-safe: its owner serialises calls.

    Args:
        directory: The store's directory.
        dim: Length of a vector; must be what the journal was made with.
        readonly: Never write, not even to create the database.
    """

    def __init__(self, directory: Path, dim: int, *, readonly: bool) -> None:
        self._directory = directory
        self._dim = dim
        self._readonly = readonly
        self._connection: sqlite3.Connection | None = None
        self._scratch: str | None = None
        self._frozen_as: tuple[object, ...] | None = None

    def close(self) -> None:
        """Close the database; idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        self._frozen_as = None

    def state(self) -> State | None:
        """The last committed state; None while nobody has created the store yet."""
        if self._frozen_as is not None and self._signature() != self._frozen_as:
            self.close()  # the "read-only" gallery changed after all
        connection = self._connected()
        return None if connection is None else _state(connection)

    def read(self, after_seq: int, after_folder: int) -> tuple[State, list[Batch], dict[int, bytes]]:
        """State, the batches after `after_seq` and the folders after `after_folder`, all of one moment."""
        connection = self._connected()
        if connection is None:
            raise LookupError("the store does not exist yet")
        is_nested = connection.in_transaction
        if not is_nested:
            connection.execute("BEGIN")
        try:
            state = _state(connection)
            query = "SELECT seq, first_row, ids, taken_at, folders, seqs FROM batches WHERE seq > ? ORDER BY seq"
            batches = [_unpack(*row) for row in connection.execute(query, (after_seq,))]
            folders = dict(connection.execute("SELECT id, path FROM folders WHERE id > ?", (after_folder,)))
        finally:
            if not is_nested:
                connection.execute("COMMIT")
        return state, batches, folders

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """The only way to write: exclusive among processes, all or nothing, on disk when it ends."""
        connection = self._connected()
        if connection is None or self._readonly:
            raise ValueError("the store was opened read-only")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield Transaction(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection | None:
        if self._connection is None:
            self._connection = self._open_readonly() if self._readonly else self._open_writer()
        return self._connection

    def _open_writer(self) -> sqlite3.Connection:
        self._directory.mkdir(parents=True, exist_ok=True)
        connection = _connect(str(self._directory / FILE_NAME))
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            if not _is_ready(connection):
                self._create(connection)
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_ready(connection):  # nobody was faster
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            values = (SCHEMA_VERSION, uuid.uuid4().hex, self._dim)
            connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, 1, 0, 0)", values)
        connection.execute("COMMIT")

    def _open_readonly(self) -> sqlite3.Connection | None:
        path = self._directory / FILE_NAME
        if not path.exists():
            return None
        connection = _connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            if not _is_ready(connection):
                connection.close()
                return None
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                raise
            connection = self._open_frozen(path)
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_frozen(self, path: Path) -> sqlite3.Connection:
        """Open a database in a directory that cannot hold SQLite's shared-memory file (a CD, another user's folder).

        `immutable` ignores the write-ahead log, so when one was left behind, both files are copied elsewhere.
        """
        self._frozen_as = self._signature()
        wal = path.with_name(path.name + "-wal")
        if not wal.exists() or not wal.stat().st_size:
            return _connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        self._scratch = tempfile.mkdtemp(prefix="peyda-")
        for source in (path, wal):
            shutil.copyfile(source, Path(self._scratch) / source.name)
        return _connect(str(Path(self._scratch) / path.name))

    def _signature(self) -> tuple[object, ...]:
        facts: list[object] = []
        for name in (FILE_NAME, FILE_NAME + "-wal", FILE_NAME + "-shm"):
            try:
                stat = (self._directory / name).stat()
                facts.append((stat.st_mtime_ns, stat.st_size))
            except OSError:
                facts.append(None)
        return tuple(facts)

    def _check(self, connection: sqlite3.Connection) -> None:
        schema, dim = connection.execute("SELECT schema, dim FROM state").fetchone()
        if schema > SCHEMA_VERSION:
            raise GalleryTooNew(f"{self._directory} was written by a newer Peyda", hint="upgrade: pip install -U peyda")
        if dim != self._dim:
            raise GalleryMismatch(
                f"{self._directory} holds vectors of {dim} numbers, the model makes {self._dim}",
                hint="use the model that the gallery was made with, or index into another --gallery",
            )


class Transaction:
    """What may be done while the store's write lock is held."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def state(self) -> State:
        """The state that this transaction builds on."""
        return _state(self._connection)

    def folder_ids(self, paths: list[bytes]) -> Int32:
        """The numbers of these folders, new ones added."""
        known: dict[bytes, int] = {}
        for path in set(paths):
            self._connection.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (path,))
            known[path] = self._connection.execute("SELECT id FROM folders WHERE path = ?", (path,)).fetchone()[0]
        return np.array([known[path] for path in paths], dtype=np.int32)

    def append(self, ids: Int64, taken_at: Float64, folders: Int32, seqs: Int64 | None = None) -> None:
        """Commit the next `len(ids)` rows of the vector file."""
        state = self.state()
        packed: list[bytes | None] = [_pack(ids, "<i8"), _pack(taken_at, "<f8"), _pack(folders, "<i4")]
        packed.append(None if seqs is None else _pack(seqs, "<i8"))
        self._connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", (state.seq + 1, state.rows, *packed))
        self._connection.execute("UPDATE state SET rows = rows + ?, seq = seq + 1", (len(ids),))

    def delete(self, ids: Int64) -> None:
        """Forget these ids."""
        seq = self.state().seq + 1
        self._connection.execute("INSERT INTO batches VALUES (?, NULL, ?, NULL, NULL, NULL)", (seq, _pack(ids, "<i8")))
        self._connection.execute("UPDATE state SET seq = ?", (seq,))

    def begin_generation(self, kept_folders: Int32) -> None:
        """Forget every batch: the vector file of the next generation starts empty."""
        self._connection.execute("DELETE FROM batches")
        kept = set(kept_folders.tolist())
        gone = [(i,) for (i,) in self._connection.execute("SELECT id FROM folders") if i not in kept]
        self._connection.executemany("DELETE FROM folders WHERE id = ?", gone)
        self._connection.execute("UPDATE state SET generation = generation + 1, rows = 0, seq = seq + 1")


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    # Threads share the connection; the owner serialises them.
    return sqlite3.connect(name, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=uri)


def _is_ready(connection: sqlite3.Connection) -> bool:
    """False for a database whose creator has not committed its tables yet."""
    with closing(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'state'")) as cursor:
        return bool(cursor.fetchone()[0])


def _state(connection: sqlite3.Connection) -> State:
    row = connection.execute("SELECT store_id, generation, rows, seq FROM state").fetchone()
    return State(*row)


def _pack(values: npt.NDArray[Any], dtype: str) -> bytes:
    return values.astype(dtype).tobytes()


def _unpack(
    seq: int, first_row: int | None, ids: bytes, taken_at: bytes | None, folders: bytes | None, seqs: bytes | None
) -> Batch:
    numbers = np.frombuffer(ids, dtype="<i8")
    return Batch(
        seq=seq,
        first_row=-1 if first_row is None else first_row,
        ids=numbers,
        taken_at=np.frombuffer(taken_at or b"", dtype="<f8"),
        folders=np.frombuffer(folders or b"", dtype="<i4"),
        seqs=np.full(len(numbers), seq, dtype=np.int64) if seqs is None else np.frombuffer(seqs, dtype="<i8"),
    )
