"""`AutoStore`: what galleries use. The flat log is the truth; beyond a size, an HNSW graph helps to find candidates.

Whichever way a search goes, the hits and their scores are the same: the graph only proposes, everything that was
committed after it was built is scanned exactly, whatever is deleted or filtered is dropped, and the rest is scored
from the log. Where the graph cannot prove itself (too few candidates survive, ties reach its edge), the log is
scanned. So an index that is missing, stale, broken or open elsewhere costs time, never an answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peyda.gallery.store import scoring
from peyda.gallery.store.flat import FlatStore, exact_search
from peyda.gallery.store.scoring import Bool
from peyda.gallery.store.snapshot import Snapshot
from peyda.gallery.store.vectorfile import VectorFile
from peyda.types import Float32, Int64, Point, ScoredId, Where

if TYPE_CHECKING:
    from peyda.gallery.store.accelerator import Accelerator

MIN_CANDIDATES = 100
MAX_CANDIDATES = 1000
OVERSAMPLING = 4
STALE_SHARE = 0.1
DEAD_SHARE = 0.2
WARM_UP_SEARCHES = 1


class AutoStore:
    """A `Store` over `FlatStore` and, beyond `ann_threshold` points, a Qdrant Edge index. Thread-safe.

    Args:
        directory: Where the store lives; a writer creates it.
        dim: Length of a vector.
        readonly: Never write points. (The index may still be built: it is not part of the truth.)
        ann_threshold: Up to this many points, every search is exact.

    Raises:
        GalleryMismatch, GalleryTooNew, GalleryCorrupt, StorageError, GalleryBusy: As for `FlatStore`.
    """

    def __init__(
        self, directory: str | PathLike[str], dim: int, readonly: bool = False, ann_threshold: int = 20_000
    ) -> None:
        self.directory = Path(directory)
        self.ann_threshold = ann_threshold
        self._flat = FlatStore(directory, dim, readonly=readonly)
        self._index: Accelerator | None = None
        self._searches = 0

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._flat.dim

    def close(self) -> None:
        """Release files and locks; idempotent."""
        if self._index is not None:
            self._index.close()
        self._flat.close()

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns. See `FlatStore.upsert`."""
        self._flat.upsert(points)

    def delete(self, ids: Iterable[int]) -> None:
        """Remove points; unknown ids are ignored; durable when it returns."""
        self._flat.delete(ids)

    def vectors(self, ids: Sequence[int]) -> Float32:
        """Stored vectors, `Float32[len(ids), dim]`, in that order. Raises KeyError for an unknown id."""
        return self._flat.vectors(ids)

    def ids(self) -> Int64:
        """Every stored id, ascending."""
        return self._flat.ids()

    def count(self, where: Where | None = None) -> int:
        """How many points satisfy `where`."""
        return self._flat.count(where)

    def search(self, vector: Float32, k: int, where: Where | None = None) -> list[ScoredId]:
        """The `k` nearest points that satisfy `where`, by (score descending, id ascending).

        Exact up to `ann_threshold` points; beyond, recall@10 is at least 0.99 and scores are still exact.
        """
        query = scoring.check_query(vector, self.dim)
        snapshot, vectors = self._flat.view()
        if k <= 0 or vectors is None:
            return []
        mask = snapshot.matching(where)
        matches = len(snapshot) if mask is snapshot.alive else int(np.count_nonzero(mask))
        if matches > self.ann_threshold and self._searches >= WARM_UP_SEARCHES:
            hits = self._search_index(snapshot, vectors, query, k, mask, matches)
            if hits is not None:
                return hits
        # A process that searches once is done before the index would be open.
        self._searches += 1
        return exact_search(snapshot, vectors, query, k, np.flatnonzero(mask).astype(np.int64))

    def warm(self) -> bool:
        """Open the index now, so that not even the second search waits for it. Whether it is open."""
        self._searches = max(self._searches, WARM_UP_SEARCHES)
        snapshot = self._flat.snapshot()
        return len(snapshot) > self.ann_threshold and self._accelerator().open(snapshot.state.store_id)

    @property
    def is_accelerated(self) -> bool:
        """Whether this store holds an index at the moment."""
        return self._index is not None and self._index.is_open

    def needs_optimize(self) -> bool:
        """Whether `optimize` would build: the gallery is big, and the index missing or a tenth behind."""
        snapshot = self._flat.snapshot()
        if len(snapshot) <= self.ann_threshold:
            return False
        record = self._accelerator().record()
        if record is None or record.store_id != snapshot.state.store_id or record.seq > snapshot.state.seq:
            return True
        tail = int(np.count_nonzero(snapshot.alive[snapshot.first_row_after(record.seq) :]))
        dead = record.points - (len(snapshot) - tail)
        return tail > max(self.ann_threshold // 4, STALE_SHARE * record.points) or dead > DEAD_SHARE * record.points

    def optimize(self, *, force: bool = False, should_stop: Callable[[], bool] | None = None) -> bool:
        """Bring the index up to date where that is worth it. Whether a new one was published.

        Blocks for some 25 seconds per 100,000 points, in a child process: other threads go on searching, also with
        the old index. Call it at the end of an indexing run, or from a thread of a long-lived server.

        Args:
            force: Build even when the gallery is small or the index fresh (never on a read-only disk).
            should_stop: Asked often; True gives up, and the old index stays.

        Raises:
            EngineError: Building failed. Searches are not affected.
        """
        if not (force or self.needs_optimize()) or not os.access(self.directory, os.W_OK):
            return False
        from peyda.gallery.store.build import build_in_child

        is_built = build_in_child(self.directory, self.dim, should_stop)
        if is_built and self.is_accelerated:
            self.warm()
        return is_built

    def _accelerator(self) -> Accelerator:
        if self._index is None:
            from peyda.gallery.store.accelerator import Accelerator

            self._index = Accelerator(self.directory, self.dim)
        return self._index

    def _search_index(
        self, snapshot: Snapshot, vectors: VectorFile, query: Float32, k: int, mask: Bool, matches: int
    ) -> list[ScoredId] | None:
        """Hits found through the index; None when only a scan can promise them."""
        # Filters are applied to what the graph proposes, so it proposes more when fewer pass.
        limit = int(max(OVERSAMPLING * k, MIN_CANDIDATES) * len(snapshot) / matches)
        if limit > MAX_CANDIDATES:
            return None
        found = self._accelerator().candidates(snapshot.state.store_id, query, limit)
        if found is None:
            return None
        ids, synced = found
        tail_start = snapshot.first_row_after(synced)
        rows = snapshot.lookup(ids)
        rows = rows[(rows >= 0) & (rows < tail_start)]
        rows = rows[mask[rows]]
        if len(rows) < min(k, int(np.count_nonzero(mask[:tail_start]))):
            return None
        tail = _best_of_tail(vectors, query, k, mask, tail_start)
        return _certain_hits(snapshot, vectors, query, k, rows, tail)


def _best_of_tail(vectors: VectorFile, query: Float32, k: int, mask: Bool, tail_start: int) -> Int64:
    """Rows that the index does not know yet and that may be among the `k` best."""
    tail = tail_start + np.flatnonzero(mask[tail_start:]).astype(np.int64)
    if not len(tail):
        return tail
    approximate = vectors.scan(query, tail_start, len(mask))[tail - tail_start]
    return tail[scoring.contenders(approximate, k, scoring.slack(query))]


def _certain_hits(
    snapshot: Snapshot, vectors: VectorFile, query: Float32, k: int, rows: Int64, tail: Int64
) -> list[ScoredId] | None:
    """The `k` best of both, scored exactly; None when equal scores may reach beyond the proposed rows."""
    scores = scoring.exact_scores(vectors.take(rows), query)
    if len(tail):
        tail_scores = scoring.exact_scores(vectors.take(tail), query)
        chosen, all_scores = np.concatenate([rows, tail]), np.concatenate([scores, tail_scores])
    else:
        chosen, all_scores = rows, scores
    hits = scoring.best(snapshot.row_ids[chosen], all_scores, k)
    if len(rows) and hits and hits[-1].score <= float(scores.min()):
        return None
    return hits
