"""`EdgeStore`: Qdrant Edge, the Rust engine in this process, as a `Store` and as the engine of the accelerator.

One process at a time (a lock file guards the shard; Edge's own check is an opaque error, and absent without its
write-ahead log). HNSW over int8 codes in memory proposes candidates; scores come from `scoring`. Edge holds the
interpreter's lock through every call, `optimize` included, so whoever serves people builds in another process.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as qdrant

from peyda.errors import EngineError, GalleryBusy, PeydaError
from peyda.gallery.store import scoring
from peyda.gallery.store.filelock import FileLock
from peyda.gallery.store.folders import ancestor_keys, folder_bytes, folder_key
from peyda.types import Float32, Int64, Point, ScoredId, Where

HNSW_M = 32
HNSW_EF_CONSTRUCT = 128
MIN_EF = 400
MIN_CANDIDATES = 100
OVERSAMPLING = 4
UPSERT_POINTS = 500
SCROLL_POINTS = 10_000
_INDEXING_THRESHOLD_KB = 1  # a shard exists because its gallery is big: index whatever it holds
_T = TypeVar("_T")


def call_engine(action: Callable[[], _T], doing: str) -> _T:
    """Run one engine call; whatever it raises, a Rust panic included, becomes a Peyda error."""
    try:
        return action()
    except (PeydaError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # PanicException is no Exception
        if "WouldBlock" in str(error):
            raise GalleryBusy("another process has this vector index open", hint="close it, then try again") from error
        hint = "the index can be rebuilt from the gallery: delete its `edge` folder and run `peyda index`"
        raise EngineError(f"Qdrant Edge failed while {doing}: {error}", hint=hint) from error


def shard_config(dim: int, *, is_derived: bool) -> qdrant.EdgeConfig:
    """The shard's configuration.

    A derived shard never answers with its own vectors: it keeps them in 8 bits, without payload, and needs no
    write-ahead log, since it is published only after a flush.
    """
    datatype = qdrant.VectorStorageDatatype.Turbo8 if is_derived else qdrant.VectorStorageDatatype.Float32
    return qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(
            size=dim,
            distance=qdrant.Distance.Dot,  # of unit vectors; Cosine would store other bits than it was given
            datatype=datatype,
            memory=qdrant.Memory.Cold,
            hnsw_config=qdrant.HnswIndexConfig(m=HNSW_M, ef_construct=HNSW_EF_CONSTRUCT, full_scan_threshold=10),
            quantization_config=qdrant.ScalarQuantizationConfig(
                type=qdrant.ScalarType.Int8, quantile=0.99, memory=qdrant.Memory.Pinned
            ),
        ),
        optimizers=qdrant.EdgeOptimizersConfig(
            indexing_threshold=_INDEXING_THRESHOLD_KB, default_segment_number=1, vacuum_min_vector_number=100
        ),
        payload_memory=qdrant.Memory.Cold,
        wal_enabled=not is_derived,
    )


class EdgeStore:
    """A `Store` on one Edge shard. Thread-safe; exclusive among processes.

    Args:
        directory: Where the shard lives; created when there is none.
        dim: Length of a vector.
        is_derived: Build or serve a shard of the accelerator: no write-ahead log, no payload, compact vectors. Only
            `candidates`, `upsert`, `optimize` and `ids` make sense then.

    Raises:
        GalleryBusy: Another process, or another store of this one, has the shard open.
        EngineError: The shard cannot be loaded.
    """

    def __init__(self, directory: str | PathLike[str], dim: int, *, is_derived: bool = False) -> None:
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self.directory = Path(directory)
        self._dim = dim
        self._is_derived = is_derived
        self._mutex = threading.RLock()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.directory / "lock")
        if not self._lock.try_acquire():
            raise GalleryBusy(f"another process has {directory} open", hint="close it, then try again")
        try:
            with _survived(self.directory / "opening", is_watched=is_derived):
                self._shard: qdrant.EdgeShard | None = self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> qdrant.EdgeShard:
        path = self.directory / "shard"
        config = shard_config(self._dim, is_derived=self._is_derived)
        if (path / "edge_config.json").exists():
            return call_engine(lambda: qdrant.EdgeShard.load(str(path), config), "opening its index")
        if path.exists():
            shutil.rmtree(path)  # killed while it was being created: nothing was ever acknowledged
        path.mkdir()

        def create() -> qdrant.EdgeShard:
            shard = qdrant.EdgeShard.create(str(path), config)
            if not self._is_derived:
                for name, kind in (("folders", "Keyword"), ("taken_at", "Float")):
                    schema = getattr(qdrant.PayloadSchemaType, kind)
                    shard.update(qdrant.UpdateOperation.create_field_index(name, schema))
            return shard

        return call_engine(create, "creating its index")

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    def close(self) -> None:
        """Flush and release the shard and its lock; idempotent."""
        with self._mutex:
            shard, self._shard = self._shard, None
            if shard is not None:
                with suppress(EngineError):
                    call_engine(shard.close, "closing its index")
            self._lock.release()

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns (a derived shard: after `flush`)."""
        scoring.check_points(points, self._dim)
        points = list({point.id: point for point in points}.values())
        for start in range(0, len(points), UPSERT_POINTS):
            batch = [self._engine_point(point) for point in points[start : start + UPSERT_POINTS]]
            self._update(qdrant.UpdateOperation.upsert_points(batch))

    def _engine_point(self, point: Point) -> qdrant.Point:
        payload = None
        if not self._is_derived:
            keys = ancestor_keys(folder_bytes(point.folder))
            payload = {"folders": keys, "taken_at": float(point.taken_at)}
        return qdrant.Point(point.id, np.asarray(point.vector, dtype=np.float32).tolist(), payload)

    def delete(self, ids: Iterable[int]) -> None:
        """Remove points; unknown ids are ignored."""
        wanted: list[Any] = [int(i) for i in ids if 0 <= i <= scoring.MAX_ID]
        if wanted:
            self._update(qdrant.UpdateOperation.delete_points(wanted))

    def optimize(self) -> None:
        """Build the HNSW graph and the int8 codes over everything; holds the interpreter until it is done."""
        self._run(lambda shard: shard.optimize(), "building its graph")
        self.flush()

    def flush(self) -> None:
        """Force everything to disk."""
        self._run(lambda shard: shard.flush(), "flushing")

    def candidates(self, query: Float32, limit: int, where: Where | None = None, *, is_exact: bool = False) -> Int64:
        """Ids of roughly the `limit` nearest points, nearest first: by their int8 codes, or by a scan (`is_exact`)."""
        request = qdrant.SearchRequest(
            query=qdrant.Query.Nearest(query.tolist()),
            limit=limit,
            filter=_filter(where),
            params=qdrant.SearchParams(
                hnsw_ef=max(MIN_EF, limit),
                exact=is_exact,
                quantization=qdrant.QuantizationSearchParams(ignore=is_exact, rescore=False),
            ),
            with_payload=False,
            with_vector=False,
        )
        found = self._run(lambda shard: shard.search(request), "searching")
        return np.array([point.id for point in found], dtype=np.int64)

    def search(self, vector: Float32, k: int, where: Where | None = None) -> list[ScoredId]:
        """The `k` nearest points that satisfy `where`; candidates are approximate, their scores are exact."""
        query = scoring.check_query(vector, self._dim)
        matches = self.count(where)
        if k <= 0 or not matches:
            return []
        limit = min(max(OVERSAMPLING * k, MIN_CANDIDATES), matches)
        ids = self.candidates(query, limit, where)
        hits, worst = self._scored(ids, query, k)
        # Photographs that equal each other are badly linked in a graph, and ties may reach beyond the candidates.
        if len(ids) < limit or (limit < matches and hits[-1].score <= worst):
            hits, _ = self._scored(self.candidates(query, matches, where, is_exact=True), query, k)
        return hits

    def _scored(self, ids: Int64, query: Float32, k: int) -> tuple[list[ScoredId], float]:
        """The `k` best of some ids, and the worst score among all of them."""
        scores = [
            scoring.exact_scores(self.vectors(ids[start : start + SCROLL_POINTS].tolist()), query)
            for start in range(0, len(ids), SCROLL_POINTS)
        ]
        joined = np.concatenate([np.empty(0), *scores])
        return scoring.best(ids, joined, k), float(joined.min(initial=np.inf))

    def vectors(self, ids: Sequence[int]) -> Float32:
        """Stored vectors, `Float32[len(ids), dim]`, in that order. Raises KeyError for an unknown id."""
        wanted: list[Any] = [int(i) for i in ids]
        records = self._run(lambda shard: shard.retrieve(wanted, with_payload=False, with_vector=True), "reading")
        found = {record.id: record.vector for record in records}
        out = np.empty((len(ids), self._dim), dtype=np.float32)
        for row, point_id in enumerate(ids):
            if int(point_id) not in found:
                raise KeyError(point_id)
            out[row] = np.asarray(found[int(point_id)], dtype=np.float32)
        return out

    def ids(self) -> Int64:
        """Every stored id, ascending."""
        parts: list[Int64] = [np.empty(0, dtype=np.int64)]
        offset: Any = None
        while True:
            records, offset = self._scroll(offset)
            parts.append(np.array([record.id for record in records], dtype=np.int64))
            if offset is None:
                return np.sort(np.concatenate(parts))

    def _scroll(self, offset: Any) -> tuple[list[qdrant.Record], Any]:
        request = qdrant.ScrollRequest(offset=offset, limit=SCROLL_POINTS, with_payload=False, with_vector=False)
        return self._run(lambda shard: shard.scroll(request), "listing")

    def _update(self, operation: qdrant.UpdateOperation) -> None:
        self._run(lambda shard: shard.update(operation), "writing")

    def count(self, where: Where | None = None) -> int:
        """How many points satisfy `where`."""
        request = qdrant.CountRequest(exact=True, filter=_filter(where))
        return self._run(lambda shard: shard.count(request), "counting")

    def _run(self, action: Callable[[qdrant.EdgeShard], _T], doing: str) -> _T:
        with self._mutex:
            shard = self._shard
            if shard is None:
                raise ValueError("the store is closed")
            return call_engine(lambda: action(shard), doing)


@contextmanager
def _survived(marker: Path, *, is_watched: bool) -> Iterator[None]:
    """Leave a note while a derived shard is opened: if the process dies of it, the next one must not die too."""
    if not is_watched:
        yield
        return
    if marker.exists():
        raise EngineError(f"opening {marker.parent} ended a process before", hint="run `peyda index` to rebuild it")
    marker.touch()
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def _filter(where: Where | None) -> qdrant.Filter | None:
    if where is None or where.is_empty:
        return None
    must: list[qdrant.ConditionType] = []
    if where.folder is not None:
        key = folder_key(folder_bytes(where.folder))
        must.append(qdrant.FieldCondition("folders", match=qdrant.MatchValue(key)))
    if where.after is not None or where.before is not None:
        within = qdrant.RangeFloat(gte=where.after, lt=where.before)
        must.append(qdrant.FieldCondition("taken_at", range=within))
    return qdrant.Filter(must=must)
