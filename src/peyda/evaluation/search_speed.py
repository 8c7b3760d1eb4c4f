"""Recall and latency of the vector engine at a size, against exact search worked out here.

Engines: "exact" scans every vector of the log; "indexed" is what big galleries use, an HNSW graph that proposes and
exact scores that decide. The truth is a matrix product in float64 of our own, so that no engine marks its own work.

Vectors are those of a gallery where one is given (beyond its size, the same with noise), and otherwise clustered random
ones. Times are of this machine, one query at a time in one thread, after a warm-up.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.errors import ConfigError, DataError
from peyda.evaluation.figures import COLOURS, canvas, finish, plain_numbers
from peyda.evaluation.report import WrittenReport
from peyda.evaluation.writing import result_folder, write_file, write_json, write_lines
from peyda.types import Float32, Int64, Point

Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

DEFAULT_DIM = 512
ENGINES = ("exact", "indexed")
FIGURE = "search.png"
_FILES = ("metrics.json", FIGURE, "report.html")
_CLUSTERS = 300
_SPREAD = 0.8  # of a cluster, in units of the distance between centres
_NOISE = 0.5  # of copies of a gallery's vectors, in units of a vector's own length
_BATCH = 2_048
_BLOCK_BYTES = 64 * 2**20
_WARM_UP = 10
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class SearchReport:
    """The outcome of `evaluate_search`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each size and engine.
        run: What `run.json` holds.
    """

    metrics: list[dict[str, Any]]
    run: dict[str, Any]

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write the results: metrics, the figure and the page.

        Raises:
            StorageError: The disk is full, read-only or gone, or `out` is a file.
        """
        from peyda.evaluation.search_page import search_page

        problem: ConfigError | None = None
        with result_folder(out, stale=_FILES) as folder:
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                write_file(folder / FIGURE, self._draw)
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", search_page(self, folder))
        return WrittenReport(folder, problem)

    def _decades(self) -> float:
        times = [one[name] for one in self.metrics for name in ("p50_ms", "p95_ms")]
        return float(np.log10(max(times) / min(times)))

    def _draw(self, path: str) -> None:
        with canvas(7.4, 6.4, 2) as (figure, (speed, quality)):
            k = str(self.run["k"][0])
            for engine, colour in zip(ENGINES, COLOURS, strict=False):
                mine = [one for one in self.metrics if one["engine"] == engine]
                points = [one["points"] for one in mine]
                for name, style in (("p50_ms", "-"), ("p95_ms", ":")):
                    label = f"{engine}, {name.removesuffix('_ms')}"
                    values = [one[name] for one in mine]
                    speed.plot(points, values, style, color=colour, marker="o", markersize=4, label=label)
                recall = [one["recall_at_k"][k] for one in mine]
                quality.plot(points, recall, color=colour, marker="o", markersize=4, label=engine)
            speed.set(xscale="log", yscale="log", ylabel="one query, ms", title="Search: speed and quality")
            quality.set(xlabel="photographs", ylabel=f"recall@{k} of exact search")
            quality.set_ylim(top=1.005)
            plain_numbers(quality.xaxis)
            quality.set_xticks(self.run["sizes"])
            plain_numbers(speed.yaxis, with_minor=self._decades() < 2)
            for one in (speed, quality):
                one.grid(visible=True, color="#e6e2db", linewidth=0.6)
                one.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
            finish(figure, [speed, quality], path)


def evaluate_search(
    sizes: Sequence[int],
    *,
    gallery: str | os.PathLike[str] | None = None,
    dim: int = DEFAULT_DIM,
    ks: Sequence[int] = (10, 1, 100),
    queries: int = 200,
    seed: int = 0,
    workdir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> SearchReport:
    """Fill stores of each size, search them with every engine, and compare with exact search.

    Args:
        sizes: Numbers of photographs.
        gallery: A gallery whose vectors to take; None makes vectors.
        dim: Length of made vectors.
        ks: The k of recall@k; the first is the one that is timed and drawn.
        queries: How many to ask.
        seed: Of vectors and queries.
        workdir: Where the stores are made and removed again; the system's temporary directory by default.
        progress: Called with a stage, how many are done, and how many there are.

    Raises:
        DataError: The gallery has no vectors.
        GalleryError: The gallery cannot be opened.
        StorageError: The disk is full.
        ValueError: A number is below 1.
    """
    sizes, ks = sorted(set(sizes)), list(dict.fromkeys(ks))
    if not sizes or not ks or min(*sizes, *ks, queries, dim) < 1:
        raise ValueError("sizes, ks, queries and dim must be positive")
    real = None if gallery is None else _vectors_of(gallery)
    dim = dim if real is None else real.shape[1]
    points = make_vectors(sizes[-1], dim, seed=seed, real=real)
    asked = make_queries(queries, dim, seed=seed, real=real)
    metrics: list[dict[str, Any]] = []
    for number, size in enumerate(sizes):
        truth = exact_scores_of_best(points[:size], asked, max(ks))
        with tempfile.TemporaryDirectory(prefix="peyda-search-", dir=workdir) as folder:
            metrics += _measure(Path(folder), points[:size], asked, truth, ks)
        if progress is not None:
            progress("sizes", number + 1, len(sizes))
    run = {
        "sizes": sizes,
        "dim": dim,
        "k": ks,
        "queries": queries,
        "seed": seed,
        "vectors": "made" if real is None else "of a gallery",
        "gallery_vectors": 0 if real is None else len(real),
        "cores": os.cpu_count(),
    }
    return SearchReport(metrics, run)


def make_vectors(count: int, dim: int, *, seed: int, real: Float32 | None = None) -> Float32:
    """`Float32[count, dim]`, unit vectors: a gallery's, then the same with noise; or clustered random ones."""
    rng = np.random.default_rng([seed, 1])
    if real is None:
        return _clustered(count, dim, seed, rng)
    order = rng.permutation(len(real))
    rows = [real[order[:count]]]
    missing = count - len(rows[0])
    if missing > 0:
        rows.append(_noisy(real[rng.integers(0, len(real), missing)], rng))
    return np.concatenate(rows)


def make_queries(count: int, dim: int, *, seed: int, real: Float32 | None = None) -> Float32:
    """`Float32[count, dim]`, unit vectors that are near the points and none of them."""
    rng = np.random.default_rng([seed, 2])
    if real is None:
        return _clustered(count, dim, seed, rng)
    return _noisy(real[rng.integers(0, len(real), count)], rng)


def _clustered(count: int, dim: int, seed: int, rng: np.random.Generator) -> Float32:
    centres = np.random.default_rng([seed, 0]).standard_normal((_CLUSTERS, dim), dtype=np.float32)
    out = np.empty((count, dim), dtype=np.float32)
    for start in range(0, count, _BATCH):
        rows = out[start : start + _BATCH]
        rows[:] = centres[rng.integers(0, _CLUSTERS, len(rows))]
        rows += np.float32(_SPREAD) * rng.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def _noisy(vectors: Float32, rng: np.random.Generator) -> Float32:
    scale = np.float32(_NOISE / np.sqrt(vectors.shape[1]))
    rows = vectors + scale * rng.standard_normal(vectors.shape, dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _vectors_of(gallery: str | os.PathLike[str]) -> Float32:
    from peyda.gallery.directory import GalleryDirectory

    store = GalleryDirectory.open(gallery).store(readonly=True)
    try:
        ids = store.ids()
        if not len(ids):
            raise DataError(
                f"the gallery {os.fspath(gallery)} is empty", hint="index photographs first: peyda index DIR"
            )
        return store.vectors(ids.tolist())
    finally:
        store.close()


def exact_scores_of_best(points: Float32, queries: Float32, k: int) -> Float64:
    """`Float64[q, min(k, n)]`: the scores of each query's best points, descending, by a product in float64."""
    k = min(k, len(points))
    best = np.full((len(queries), 0), -np.inf)
    asked = queries.astype(np.float64)
    size = max(1, _BLOCK_BYTES // (8 * max(points.shape[1], len(queries))))
    for start in range(0, len(points), size):
        scores = asked @ points[start : start + size].astype(np.float64).T
        both = np.concatenate([best, scores], axis=1)
        kept = min(k, both.shape[1])
        best = -np.partition(-both, kept - 1, axis=1)[:, :kept]
    return -np.sort(-best, axis=1)


def recall_at_k(found: Sequence[Int64], points: Float32, queries: Float32, truth: Float64, k: int) -> float:
    """The mean share of the `k` best points that were found; of points that score the same, any will do.

    Args:
        found: For each query the rows of points, best first.
        points: `Float32[n, d]`.
        queries: `Float32[q, d]`.
        truth: As `exact_scores_of_best` of at least `k`, or of all points.
        k: How many of each answer count.
    """
    k = min(k, truth.shape[1])
    shares = []
    for rows, query, scores in zip(found, queries, truth, strict=True):
        answer = np.unique(rows[:k])
        reached = points[answer].astype(np.float64) @ query.astype(np.float64)
        shares.append(np.count_nonzero(reached >= scores[k - 1] - _TIE) / k)
    return float(np.mean(shares))


def _measure(
    folder: Path, points: Float32, queries: Float32, truth: Float64, ks: Sequence[int]
) -> list[dict[str, Any]]:
    from peyda.gallery.store import open_store

    size, dim = points.shape
    insert_s, index_s = _fill(folder, points)
    lines = []
    for engine in ENGINES:
        store = open_store(folder, dim, readonly=True, ann_threshold=size if engine == "exact" else 0)
        try:
            store.warm()
            timed = _ask(store.search, queries, min(ks[0], size))
            found = [_rows(store.search(query, min(max(ks), size))) for query in queries]
            has_index = store.is_accelerated
        finally:
            store.close()
        lines.append(
            {
                "task": "search",
                "engine": engine,
                "points": size,
                "dim": dim,
                "queries": len(queries),
                "recall_at_k": {str(k): round(recall_at_k(found, points, queries, truth, k), 6) for k in ks},
                "p50_ms": round(float(np.quantile(timed, 0.5)) * 1e3, 4),
                "p95_ms": round(float(np.quantile(timed, 0.95)) * 1e3, 4),
                "queries_per_s": round(1.0 / float(np.mean(timed)), 1),
                "has_index": has_index,
                "insert_s": round(insert_s, 3),
                "index_s": round(index_s, 3) if engine == "indexed" else 0.0,
                "bytes": _bytes(folder, with_index=engine == "indexed"),
            }
        )
    return lines


def _fill(folder: Path, points: Float32) -> tuple[float, float]:
    """Make the store and its index; seconds of each."""
    from peyda.gallery.store import open_store

    started = time.perf_counter()
    store = open_store(folder, points.shape[1])
    try:
        for start in range(0, len(points), _BATCH):
            rows = points[start : start + _BATCH]
            store.upsert([Point(start + at, row, "/photographs", 0.0) for at, row in enumerate(rows)])
        inserted = time.perf_counter()
        store.optimize(force=True)
        return inserted - started, time.perf_counter() - inserted
    finally:
        store.close()


def _ask(search: Callable[[Float32, int], Sequence[Any]], queries: Float32, k: int) -> Float64:
    """Seconds of each query."""
    for query in queries[:_WARM_UP]:
        search(query, k)
    seconds = np.empty(len(queries))
    for at, query in enumerate(queries):
        started = time.perf_counter()
        search(query, k)
        seconds[at] = time.perf_counter() - started
    return seconds


def _rows(hits: Sequence[Any]) -> Int64:
    return np.asarray([hit.id for hit in hits], dtype=np.int64)


def _bytes(folder: Path, *, with_index: bool) -> int:
    index = folder / "edge"
    return sum(
        path.stat().st_blocks * 512
        for path in folder.rglob("*")
        if path.is_file() and (with_index or index not in path.parents)
    )
