"""The arithmetic every engine shares: what a valid vector is, what a score is, and in which order hits come.

Engines find candidates as fast as they can, in whatever precision they like. The score that a person sees is always
computed here, from the stored float32 vectors, summed in float64 and rounded to six decimals. So a photograph has
the same score and the same rank whether an exact scan, an HNSW graph or a server found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from peyda.types import Float32, Int64, Point, ScoredId

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

SCORE_DECIMALS = 6
RESCORE_ROWS = 4096
MAX_ID = 2**63 - 1


def check_query(vector: Float32, dim: int) -> Float32:
    """`vector` as contiguous float32. Raises ValueError unless it is `dim` finite numbers."""
    query = np.ascontiguousarray(vector, dtype=np.float32)
    if query.shape != (dim,):
        raise ValueError(f"expected a vector of {dim} numbers, got shape {query.shape}")
    if not np.isfinite(query).all():
        raise ValueError("the vector holds NaN or infinity")
    return query


def check_points(points: Sequence[Point], dim: int) -> Float32:
    """The points' vectors as `Float32[n, dim]`. Raises ValueError for a vector, an id or a date no engine can keep."""
    matrix = np.empty((len(points), dim), dtype=np.float32)
    for row, point in enumerate(points):
        vector = np.asarray(point.vector)
        if vector.shape != (dim,):
            raise ValueError(f"point {point.id}: expected a vector of {dim} numbers, got shape {vector.shape}")
        if not 0 <= point.id <= MAX_ID:
            raise ValueError(f"point {point.id}: ids are integers from 0 to {MAX_ID}")
        if not np.isfinite(point.taken_at):
            raise ValueError(f"point {point.id}: taken_at is {point.taken_at}")
        matrix[row] = vector
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise ValueError(f"point {points[int(np.argmin(finite))].id}: the vector holds NaN or infinity")
    return matrix


def fast_scores(rows: Float32, query: Float32, out: Float32) -> None:
    """Float32 dot products of `rows` with `query`, into `out`; within `slack` of the exact ones.

    einsum, not BLAS: a scan is bound by memory, and a threaded BLAS took up to ten times longer while another
    process used the same cores (every chunk waits for its slowest thread).
    """
    np.einsum("ij,j->i", rows, query, out=out)


def exact_scores(rows: Float32, query: Float32) -> Float64:
    """Scores as shown to people: float64 sums of (exact) float32 products, rounded. Bounded memory."""
    wide = query.astype(np.float64)
    scores = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), RESCORE_ROWS):
        part = rows[start : start + RESCORE_ROWS].astype(np.float64)
        scores[start : start + len(part)] = (part * wide).sum(axis=1)
    return np.round(scores, SCORE_DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def slack(query: Float32) -> float:
    """How far a float32 score may lie from the exact, rounded one (rows are unit vectors)."""
    unit_roundoff = float(np.finfo(np.float32).eps) / 2
    rounding = 0.5 * float(10**-SCORE_DECIMALS)
    return len(query) * unit_roundoff * max(1.0, float(np.linalg.norm(query))) + rounding


def contenders(approximate: Float32, k: int, margin: float) -> Int64:
    """Indices of every entry that may be among the `k` best once scored exactly, ties included."""
    if len(approximate) <= k:
        return np.arange(len(approximate), dtype=np.int64)
    kth = np.partition(approximate, len(approximate) - k)[len(approximate) - k]
    return np.flatnonzero(approximate >= kth - np.float32(2 * margin)).astype(np.int64)


def best(ids: Int64, scores: Float64, k: int) -> list[ScoredId]:
    """The `k` best by (score descending, id ascending)."""
    order = np.lexsort((ids, -scores))[:k]
    return [ScoredId(id=int(ids[i]), score=float(scores[i])) for i in order]


def rescore(rows: Int64, ids: Int64, query: Float32, k: int, take: Callable[[Int64], Float32]) -> list[ScoredId]:
    """The `k` best of some candidate rows, scored exactly, in bounded memory however many candidates tie."""
    scores = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), RESCORE_ROWS):
        part = rows[start : start + RESCORE_ROWS]
        scores[start : start + len(part)] = exact_scores(take(part), query)
    return best(ids, scores, k)
