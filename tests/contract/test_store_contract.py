"""What any vector store must do. A new backend joins by adding a line to `BACKENDS`.

`settle` is whatever the backend calls "indexing": every test that depends on approximate search runs it first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peyda.gallery.store import open_store
from peyda.gallery.store.edge import EdgeStore
from peyda.gallery.store.flat import FlatStore
from peyda.types import Point, ScoredId, Where

DIM = 32


@dataclass
class Backend:
    """How to open a store of one kind, again and again, over one directory."""

    open: Callable[[], Any]
    settle: Callable[[Any], object]


def _auto(directory: Path) -> Backend:
    def settle(store: Any) -> None:
        store.optimize(force=True)
        assert store.warm() == (store.count() > 50)

    return Backend(lambda: open_store(directory, DIM, ann_threshold=50), settle)


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "flat": lambda directory: Backend(lambda: FlatStore(directory, DIM), lambda store: None),
    "edge": lambda directory: Backend(lambda: EdgeStore(directory, DIM), lambda store: store.optimize()),
    "auto": _auto,
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](tmp_path / "store")


@pytest.fixture
def store(backend: Backend) -> Iterator[Any]:
    store = backend.open()
    yield store
    store.close()


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def random_vectors(n: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, DIM)))


def clustered_vectors(n: int, seed: int = 0) -> np.ndarray:
    """Vectors as photographs have them: tight groups, a few of them huge."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, DIM))
    sizes = rng.dirichlet(np.full(12, 0.5))
    return unit(centres[rng.choice(12, n, p=sizes)] + 0.25 * rng.standard_normal((n, DIM)))


def points_of(vectors: np.ndarray, first_id: int = 0) -> list[Point]:
    """Ids rise by 3; folders /p/<i % 4>; one photograph an hour."""
    return [Point(first_id + 3 * i, v, f"/p/{i % 4}", 3600.0 * i) for i, v in enumerate(vectors)]


def oracle(points: list[Point], query: np.ndarray, k: int) -> list[ScoredId]:
    """Plain definition of the answer: float64 dot products, rounded, sorted by (score descending, id ascending)."""
    scored = [(-round(float(np.dot(p.vector.astype("f8"), query.astype("f8"))), 6), p.id) for p in points]
    return [ScoredId(id=i, score=-negative) for negative, i in sorted(scored)[:k]]


def test_an_empty_store_answers_everything_with_nothing(store: Any) -> None:
    assert store.search(random_vectors(1)[0], 5) == []
    assert store.count() == 0
    assert store.ids().tolist() == []
    assert store.vectors([]).shape == (0, DIM)
    store.delete([1, 2, 3])
    assert store.dim == DIM


@pytest.mark.parametrize("k", [1, 7, 40, 200])
def test_search_is_the_definition_on_few_points(store: Any, k: int) -> None:
    points = points_of(random_vectors(40))
    store.upsert(points)
    query = random_vectors(1, seed=9)[0]
    assert store.search(query, k) == oracle(points, query, k)


def test_no_hits_are_asked_for(store: Any) -> None:
    store.upsert(points_of(random_vectors(3)))
    assert store.search(random_vectors(1)[0], 0) == []


def test_equal_scores_come_in_order_of_ids(store: Any, backend: Backend) -> None:
    vectors = np.repeat(random_vectors(1), 90, axis=0)
    points = points_of(vectors)
    store.upsert(points[::-1])
    backend.settle(store)
    hits = store.search(vectors[0], 5)
    assert [hit.id for hit in hits] == [0, 3, 6, 9, 12]
    assert {hit.score for hit in hits} == {1.0}


def test_upsert_replaces_vector_folder_and_date(store: Any, backend: Backend) -> None:
    old, new = random_vectors(2)
    store.upsert([Point(7, old, "/old", 1.0), Point(8, random_vectors(1, seed=5)[0], "/old", 1.0)])
    backend.settle(store)
    store.upsert([Point(7, new, "/new", 2.0)])
    assert np.array_equal(store.vectors([7])[0], new)
    assert store.search(new, 1) == [ScoredId(7, 1.0)]
    assert store.count() == 2
    assert store.count(Where(folder="/old")) == 1
    assert store.count(Where(folder="/new", after=2.0)) == 1


def test_the_last_of_equal_ids_in_one_call_wins(store: Any) -> None:
    first, last = random_vectors(2)
    store.upsert([Point(1, first, "/a", 0.0), Point(1, last, "/a", 0.0)])
    assert store.count() == 1
    assert np.array_equal(store.vectors([1])[0], last)


def test_deleted_points_are_gone_and_unknown_ids_ignored(store: Any, backend: Backend) -> None:
    points = points_of(random_vectors(80))
    store.upsert(points)
    backend.settle(store)
    gone = {p.id for p in points[::2]}
    store.delete([*gone, 10**6])
    left = [p for p in points if p.id not in gone]
    assert store.ids().tolist() == [p.id for p in left]
    assert store.count() == len(left)
    for point in points[:6]:
        assert store.search(point.vector, 40) == oracle(left, point.vector, 40)
    store.upsert([points[0]])
    assert store.search(points[0].vector, 1) == [ScoredId(points[0].id, 1.0)]


def test_vectors_come_in_the_order_asked_bit_for_bit(store: Any) -> None:
    points = points_of(random_vectors(20))
    store.upsert(points)
    assert np.array_equal(
        store.vectors([30, 0, 30]), np.stack([points[10].vector, points[0].vector, points[10].vector])
    )
    with pytest.raises(KeyError, match="31"):
        store.vectors([0, 31])


def test_everything_is_there_after_reopening(backend: Backend) -> None:
    points = points_of(random_vectors(60))
    store = backend.open()
    store.upsert(points)
    store.delete([points[0].id])
    backend.settle(store)
    store.close()
    store.close()
    again = backend.open()
    assert again.ids().tolist() == [p.id for p in points[1:]]
    query = random_vectors(1, seed=4)[0]
    for _ in range(3):
        assert again.search(query, 10) == oracle(points[1:], query, 10)
    again.close()


@pytest.mark.parametrize(
    "bad",
    [
        np.full(DIM, np.nan, dtype=np.float32),
        np.full(DIM, np.inf, dtype=np.float32),
        np.ones(DIM + 1, dtype=np.float32),
        np.ones((1, DIM), dtype=np.float32),
    ],
    ids=["nan", "infinity", "too long", "two axes"],
)
def test_vectors_that_are_no_vectors_are_refused_whole(store: Any, bad: np.ndarray) -> None:
    good = Point(1, random_vectors(1)[0], "/a", 0.0)
    with pytest.raises(ValueError, match=r"point 2|NaN|expected"):
        store.upsert([good, Point(2, bad, "/a", 0.0)])
    assert store.count() == 0
    store.upsert([good])
    with pytest.raises(ValueError, match=r"NaN|expected"):
        store.search(bad, 1)


@pytest.mark.parametrize("point_id", [-1, 2**63])
def test_ids_beyond_the_range_are_refused(store: Any, point_id: int) -> None:
    with pytest.raises(ValueError, match="ids are integers"):
        store.upsert([Point(point_id, random_vectors(1)[0], "/a", 0.0)])


def test_a_folder_matches_its_subtree_and_not_its_namesakes(store: Any, backend: Backend) -> None:
    invalid = os.fsdecode(b"/a/b/\xff\xfe")
    folders = ["/a/b", "/a/b/c/d", "/a/bc", "/a", "/ا/ب", invalid, "/a/b/\n", "/"]
    store.upsert([Point(i, v, f, 0.0) for i, (v, f) in enumerate(zip(random_vectors(8), folders, strict=True))])
    backend.settle(store)

    def inside(folder: str) -> list[int]:
        hits = store.search(random_vectors(1, seed=3)[0], 10, Where(folder=folder))
        assert store.count(Where(folder=folder)) == len(hits)
        return sorted(hit.id for hit in hits)

    assert inside("/a/b") == inside("/a/b/") == [0, 1, 5, 6]
    assert inside("/a") == [0, 1, 2, 3, 5, 6]
    assert inside("/ا") == [4]
    assert inside(invalid) == [5]
    assert inside("/") == list(range(8))
    assert inside("/nowhere") == []


def test_after_is_inclusive_and_before_exclusive(store: Any) -> None:
    store.upsert([Point(i, v, "/a", float(i) - 2.0) for i, v in enumerate(random_vectors(6))])

    def between(after: float | None, before: float | None) -> list[int]:
        where = Where(after=after, before=before)
        hits = store.search(random_vectors(1, seed=3)[0], 10, where)
        assert store.count(where) == len(hits)
        return sorted(hit.id for hit in hits)

    assert between(0.0, 2.0) == [2, 3]
    assert between(None, -1.0) == [0]
    assert between(3.0, None) == [5]
    assert between(2.0, 2.0) == []
    assert between(None, None) == list(range(6))


@pytest.mark.parametrize("make", [random_vectors, clustered_vectors], ids=["random", "clustered"])
@pytest.mark.parametrize(
    ("where", "keeps"),
    [
        (None, lambda i: True),
        (Where(folder="/p/1"), lambda i: i % 4 == 1),
        (Where(after=3600.0 * 300), lambda i: i >= 300),
        (Where(folder="/p", before=3600.0 * 2700), lambda i: i < 2700),
    ],
    ids=["all", "folder", "late", "early"],
)
def test_recall_at_10_against_exact_search(
    store: Any, backend: Backend, make: Callable[..., np.ndarray], where: Where | None, keeps: Callable[[int], bool]
) -> None:
    vectors = make(3000)
    points = points_of(vectors)
    store.upsert(points[:2600])
    backend.settle(store)
    store.upsert(points[2600:])
    store.delete([p.id for p in points[::17]])
    kept = [p for i, p in enumerate(points) if i % 17 and keeps(i)]
    matrix = np.stack([p.vector for p in kept]).astype(np.float64)
    ids = np.array([p.id for p in kept])
    found = 0
    queries = [*make(30, seed=7), *unit(vectors[5:3000:150] + 0.05 * random_vectors(20, seed=8))]
    for query in queries:
        scores = np.round(matrix @ query.astype(np.float64), 6)
        wanted = dict(zip(ids[np.lexsort((ids, -scores))[:10]].tolist(), np.sort(-scores)[:10], strict=True))
        hits = store.search(query, 10, where)
        assert len(hits) == 10
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        truth = dict(zip(ids.tolist(), scores.tolist(), strict=True))
        assert all(abs(hit.score - truth[hit.id]) <= 1e-6 for hit in hits)
        found += len({hit.id for hit in hits} & set(wanted))
    assert found / (10 * len(queries)) >= 0.99
