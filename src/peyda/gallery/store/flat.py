"""`FlatStore`: the truth about vectors. An append-only file of rows, a small journal, and exact search.

Many processes may read while one writes. Readers take no lock and see, at every call, what was committed last. A
writer appends rows, forces them to disk, and only then commits them in one SQLite transaction, so a kill at any
moment leaves the last committed state; bytes beyond it are overwritten by the next writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path

import numpy as np

from peyda.errors import GalleryCorrupt
from peyda.gallery.store import scoring
from peyda.gallery.store.folders import folder_bytes
from peyda.gallery.store.journal import Journal, State, Transaction, storage_errors
from peyda.gallery.store.snapshot import Snapshot
from peyda.gallery.store.vectorfile import CHUNK_ROWS, VectorFile, append_rows, file_name
from peyda.types import Float32, Int64, Point, ScoredId, Where

COMPACT_DEAD_ROWS = 4096
COMPACT_DEAD_SHARE = 0.3
GATHER_SHARE = 0.25
_RETRIES = 20


class FlatStore:
    """A `Store` with exact search; see the module. Thread-safe.

    Args:
        directory: Where the store lives; a writer creates it.
        dim: Length of a vector.
        readonly: Only read. A store that does not exist yet is empty until somebody creates it.

    Raises:
        GalleryMismatch: The store holds vectors of another length.
        GalleryTooNew: A newer Peyda wrote it.
        GalleryCorrupt: Its files contradict each other.
        StorageError: The disk is full, read-only or gone.
        GalleryBusy: Another process holds the write lock for very long.
    """

    def __init__(self, directory: str | PathLike[str], dim: int, readonly: bool = False) -> None:
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self.directory = Path(directory)
        self._dim = dim
        self._readonly = readonly
        self._lock = threading.RLock()
        self._journal = Journal(self.directory, dim, readonly=readonly)
        self._view: tuple[Snapshot, VectorFile | None] | None = None
        self._checked_rows = 0
        self._is_closed = False
        with self._lock, storage_errors(self.directory):
            self._journal.state()
            if not readonly:
                self._remove_old_generations()

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    def close(self) -> None:
        """Release the files; idempotent. Arrays handed out before stay valid."""
        with self._lock:
            self._is_closed = True
            self._view = None
            self._journal.close()

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns. All of `points` or none.

        Raises:
            ValueError: A vector is not `dim` finite numbers, an id is negative, or the store is read-only.
            StorageError: The disk is full; the state stays the last committed one.
        """
        points = list({point.id: point for point in points}.values())  # the last of equal ids wins
        matrix = scoring.check_points(points, self._dim)
        self._check_writable()
        if not points:
            return
        ids = np.array([point.id for point in points], dtype=np.int64)
        taken_at = np.array([point.taken_at for point in points], dtype=np.float64)
        folders = [folder_bytes(point.folder) for point in points]
        with self._lock, storage_errors(self.directory):
            with self._journal.transaction() as transaction:
                state = transaction.state()
                append_rows(self._vector_path(state.generation), state.rows, matrix)
                transaction.append(ids, taken_at, transaction.folder_ids(folders))
            if state.rows + len(ids) - self._checked_rows > COMPACT_DEAD_ROWS:
                self._compact_if_wasteful()

    def delete(self, ids: Iterable[int]) -> None:
        """Remove points; unknown ids are ignored; durable when it returns."""
        wanted = np.array(sorted({i for i in ids if 0 <= i <= scoring.MAX_ID}), dtype=np.int64)
        self._check_writable()
        with self._lock, storage_errors(self.directory):
            known = wanted[self.snapshot().lookup(wanted) >= 0]
            if not len(known):
                return
            with self._journal.transaction() as transaction:
                transaction.delete(known)
            self._compact_if_wasteful()

    def search(self, vector: Float32, k: int, where: Where | None = None) -> list[ScoredId]:
        """The `k` nearest points that satisfy `where`, exactly, by (score descending, id ascending)."""
        query = scoring.check_query(vector, self._dim)
        snapshot, vectors = self.view()
        if k <= 0 or vectors is None:
            return []
        rows = np.flatnonzero(snapshot.matching(where)).astype(np.int64)
        return exact_search(snapshot, vectors, query, k, rows)

    def vectors(self, ids: Sequence[int]) -> Float32:
        """Stored vectors, `Float32[len(ids), dim]`, in that order. Raises KeyError for an unknown id."""
        snapshot, vectors = self.view()
        rows = snapshot.lookup(np.array(ids, dtype=np.int64))
        if (rows < 0).any():
            raise KeyError(ids[int(np.argmin(rows))])
        return np.empty((0, self._dim), dtype=np.float32) if vectors is None else vectors.take(rows)

    def ids(self) -> Int64:
        """Every stored id, ascending."""
        return self.snapshot().ids.copy()

    def count(self, where: Where | None = None) -> int:
        """How many points satisfy `where`."""
        return int(np.count_nonzero(self.snapshot().matching(where)))

    def snapshot(self) -> Snapshot:
        """The columns as last committed."""
        return self.view()[0]

    def view(self) -> tuple[Snapshot, VectorFile | None]:
        """The columns as last committed, and the vectors that they describe (None while there are none)."""
        with self._lock, storage_errors(self.directory):
            if self._is_closed:
                raise ValueError("the store is closed")
            for _ in range(_RETRIES):
                state = self._journal.state()
                if state is None:
                    return Snapshot(State("", 0, 0, 0)), None
                if self._view is not None and self._view[0].state == state:
                    return self._view
                # A file that is gone was compacted away between the two reads: look again.
                with suppress(FileNotFoundError):
                    self._view = self._read_on()
                    return self._view
        raise GalleryCorrupt(
            f"the vectors of {self.directory} are missing",
            hint="restore the gallery from a copy, or delete it and run `peyda index` again",
        )

    def _read_on(self) -> tuple[Snapshot, VectorFile | None]:
        if self._view is not None:
            old, vectors = self._view
            state, batches, folders = self._journal.read(old.state.seq, old.last_folder)
        if self._view is None or old.state.generation != state.generation:
            state, batches, folders = self._journal.read(-1, -1)
            old, vectors = Snapshot(state), None
        if state.rows and (vectors is None or vectors.rows != state.rows):
            vectors = VectorFile(self._vector_path(state.generation), self._dim, state.rows)
        return old.advance(state, batches, folders), vectors

    def _vector_path(self, generation: int) -> Path:
        return self.directory / file_name(generation)

    def _check_writable(self) -> None:
        if self._readonly:
            raise ValueError("the store was opened read-only")

    def _compact_if_wasteful(self) -> None:
        snapshot = self.snapshot()
        self._checked_rows = snapshot.state.rows
        dead = snapshot.state.rows - len(snapshot)
        if dead > COMPACT_DEAD_ROWS and dead > COMPACT_DEAD_SHARE * snapshot.state.rows:
            self.compact()

    def compact(self) -> None:
        """Rewrite the living rows into a new generation and remove the old file; one transaction."""
        self._check_writable()
        with self._lock, storage_errors(self.directory):
            with self._journal.transaction() as transaction:
                snapshot, vectors = self.view()
                self._write_generation(transaction, snapshot, vectors)
            self._checked_rows = 0
            self._view = None
            self._remove_old_generations()

    def _write_generation(self, transaction: Transaction, snapshot: Snapshot, vectors: VectorFile | None) -> None:
        path = self._vector_path(snapshot.state.generation + 1)
        path.unlink(missing_ok=True)  # left by a compaction that was killed
        rows = np.flatnonzero(snapshot.alive).astype(np.int64)
        transaction.begin_generation(np.unique(snapshot.row_folders[rows]))
        if vectors is None:
            return
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows[start : start + CHUNK_ROWS]
            append_rows(path, start, vectors.take(part))
            columns = snapshot.row_ids[part], snapshot.row_taken[part], snapshot.row_folders[part]
            transaction.append(*columns, seqs=snapshot.row_seqs[part])

    def _remove_old_generations(self) -> None:
        if sum(1 for _ in self.directory.glob("vectors-*.f32")) < 2:
            return
        with suppress(sqlite3.OperationalError), self._journal.transaction() as transaction:
            # Under the write lock: a running compaction's new file must not look like a leftover.
            current = file_name(transaction.state().generation)
            for path in self.directory.glob("vectors-*.f32"):
                if path.name != current:
                    with suppress(OSError):  # Windows refuses while a reader maps it: next time
                        path.unlink()


def exact_search(snapshot: Snapshot, vectors: VectorFile, query: Float32, k: int, rows: Int64) -> list[ScoredId]:
    """The `k` best of `rows` (ascending), by scoring all of them."""
    total = snapshot.state.rows
    if len(rows) > GATHER_SHARE * total:
        approximate = vectors.scan(query, 0, total)[rows]
    else:
        approximate = vectors.gather(query, rows)
    chosen = rows[scoring.contenders(approximate, k, scoring.slack(query))]
    return scoring.rescore(chosen, snapshot.row_ids[chosen], query, k, vectors.take)
