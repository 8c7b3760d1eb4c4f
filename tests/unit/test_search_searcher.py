"""The searcher against a naive oracle: order, ties, orphans, filters, caching, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peyda.errors import GalleryMismatch, QueryError
from peyda.gallery.catalog import Catalog
from peyda.persian import normalize
from peyda.search import MAX_K, MAX_QUERY_CHARS, Searcher
from peyda.types import Float32, Hit, Int64, Photo, Point, ScoredId, Where

DIM = 8


class ListStore:
    """A store as plain as its protocol allows; counts what it was asked."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = list(points)
        self.asked: list[int] = []
        self.dim = DIM

    def search(self, vector: Float32, k: int, where: Where | None = None) -> list[ScoredId]:
        self.asked.append(k)
        scored = [
            ScoredId(point.id, round(float(point.vector @ vector), 6))
            for point in self.points
            if _passes(point, where or Where())
        ]
        return sorted(scored, key=lambda one: (-one.score, one.id))[:k]

    def vectors(self, ids: Sequence[int]) -> Float32:
        by_id = {point.id: point.vector for point in self.points}
        return np.stack([by_id[id] for id in ids])

    def ids(self) -> Int64:
        return np.array(sorted(point.id for point in self.points), dtype=np.int64)

    def count(self, where: Where | None = None) -> int:
        return sum(_passes(point, where or Where()) for point in self.points)

    def upsert(self, points: Sequence[Point]) -> None:
        raise AssertionError("a search never writes")

    def delete(self, ids: Iterable[int]) -> None:
        raise AssertionError("a search never writes")

    def close(self) -> None:
        pass


def _passes(point: Point, where: Where) -> bool:
    return (
        (where.folder is None or f"{point.folder}/".startswith(f"{where.folder}/"))
        and (where.after is None or point.taken_at >= where.after)
        and (where.before is None or point.taken_at < where.before)
    )


class HashEncoder:
    """Sentences to unit vectors by their characters; counts its calls."""

    name = "hash"
    embed_dim = DIM
    fingerprint = visual_fingerprint = "hash"
    image_size_px = 8

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        self.texts += texts
        rows = [np.random.default_rng(list(text.encode("utf-8"))).standard_normal(DIM) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    def encode_images(self, images: Sequence[Any]) -> Float32:
        return np.eye(DIM, dtype=np.float32)[[0] * len(images)]


class FakeDirectory:
    """A gallery directory whose store is a list; the catalogue is the real one."""

    def __init__(self, path: Path, store: ListStore) -> None:
        self.path = path
        self.list_store = store
        self.manifest = type("Manifest", (), {"model": "hash", "embed_dim": DIM, "to_dict": lambda self: {}})()

    def check(self, encoder: HashEncoder) -> None:
        if encoder.visual_fingerprint != "hash":
            raise GalleryMismatch("another model")

    def catalog(self, *, readonly: bool = False) -> Catalog:
        return Catalog(self.path, readonly=readonly)

    def store(self, *, readonly: bool = False) -> ListStore:
        assert readonly, "a search never writes"
        return self.list_store


def _photo(id: int) -> Photo:
    return Photo(
        id, f"/photos/{id % 3}/{id}.jpg", 1, 1, str(id), "jpeg", 4, 3, "2024-03-20T10:00:00", "exif", 35.7, 51.4
    )


def _unit(values: Sequence[float]) -> Float32:
    row = np.array(values, dtype=np.float32)
    return row / np.float32(np.linalg.norm(row))


def _points(count: int, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    return [Point(id, _unit(rng.standard_normal(DIM)), f"/photos/{id % 3}", float(id)) for id in range(1, count + 1)]


def _open(path: Path, points: Sequence[Point], known: Iterable[int] | None = None, **options: Any) -> Searcher:
    path.mkdir(parents=True, exist_ok=True)
    with Catalog(path) as catalog, catalog.transaction():
        catalog.put([_photo(id) for id in (known if known is not None else [point.id for point in points])])
    directory: Any = FakeDirectory(path, ListStore(points))
    options.setdefault("encoder", HashEncoder())
    return Searcher(directory, **options)


@pytest.fixture
def searcher(tmp_path: Path) -> Iterator[Searcher]:
    with _open(tmp_path / "gallery", _points(50)) as opened:
        yield opened


def _oracle(points: Sequence[Point], vector: Float32, known: set[int]) -> list[tuple[float, int]]:
    scored = [(round(float(point.vector @ vector), 6), point.id) for point in points if point.id in known]
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


def _pairs(hits: Sequence[Hit]) -> list[tuple[float, int]]:
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [(hit.score, hit.photo_id) for hit in hits]


def test_hits_carry_what_the_catalogue_knows(searcher: Searcher) -> None:
    hit = searcher.search("سگ در برف", 1)[0]
    photo = _photo(hit.photo_id)
    assert hit == Hit(1, hit.score, photo.path, photo.id, 4, 3, photo.taken_at, 35.7, 51.4)


@pytest.mark.parametrize("k", [1, 7, 49, 50, 51, MAX_K])
def test_min_of_k_and_photos_hits_in_the_oracles_order(searcher: Searcher, k: int) -> None:
    vector = HashEncoder().encode_texts([normalize("دریا")])[0]
    expected = _oracle(_points(50), vector, set(range(1, 51)))[:k]
    assert _pairs(searcher.search("دریا", k)) == expected


@given(known=st.sets(st.integers(1, 40)), k=st.integers(1, 45))
@settings(max_examples=30, deadline=None)
def test_orphans_never_show_and_never_cost_a_hit(
    tmp_path_factory: pytest.TempPathFactory, known: set[int], k: int
) -> None:
    points = _points(40)
    with _open(tmp_path_factory.mktemp("gallery"), points, known) as searcher:
        vector = HashEncoder().encode_texts(["sea"])[0]
        assert _pairs(searcher.search("sea", k)) == _oracle(points, vector, known)[:k]


def test_a_gallery_of_equals_still_answers(tmp_path: Path) -> None:
    points = [Point(id, _unit([1] * DIM), "/photos", 0.0) for id in range(300, 0, -1)]
    with _open(tmp_path / "gallery", points) as searcher:
        for k in (1, 5, 300):
            assert [hit.photo_id for hit in searcher.search("x", k)] == list(range(1, k + 1))


def test_min_score_cuts_at_the_printed_score(searcher: Searcher) -> None:
    hits = searcher.search("x", 50)
    floor = hits[20].score
    kept = searcher.search("x", 50, min_score=floor)
    assert kept == [hit for hit in hits if hit.score >= floor]
    assert searcher.search("x", 50, min_score=1.1) == []


def test_filters_reach_the_store(searcher: Searcher) -> None:
    hits = searcher.search("x", 50, where=Where(folder="/photos/1", after=10.0, before=40.0))
    assert {hit.photo_id for hit in hits} == {id for id in range(10, 40) if id % 3 == 1}


def test_similar_leaves_the_photo_itself_out(searcher: Searcher) -> None:
    for k in (1, 10, 50):
        hits = searcher.similar(7, k)
        vector = _points(50)[6].vector
        assert _pairs(hits) == _oracle(_points(50), vector, set(range(1, 51)) - {7})[:k]


def test_similar_to_nothing_is_a_query_error(searcher: Searcher) -> None:
    for id in (0, 51, -1):
        with pytest.raises(QueryError, match="no photograph with id"):
            searcher.similar(id)


def test_search_like_takes_an_image_or_an_embedding(searcher: Searcher) -> None:
    image: Any = object()
    first = np.eye(DIM, dtype=np.float32)[0]
    assert searcher.search_like(image, 5) == searcher.search_like(first * 3, 5)
    for wrong in (np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM + 1), np.ones((1, DIM))):
        with pytest.raises(ValueError, match="embedding"):
            searcher.search_like(wrong.astype(np.float32))


@pytest.mark.parametrize(
    "query",
    [
        'سگ -گربه OR "برف" NOT (folder:x) *',
        "half\ud800 a character",
        "line\nbreak\r\ttab\x00",
        "🐕‍🦺❄️",
        "سگ " * 5_000,
        "a" * MAX_QUERY_CHARS,
        "gorbe",
        "sghl",
    ],
)
def test_any_sentence_is_a_plain_sentence(searcher: Searcher, query: str) -> None:
    hits = searcher.search(query, 5)
    assert len(hits) == 5
    encoder: Any = searcher.encoder
    assert encoder.texts[-1] == normalize(query)


@pytest.mark.parametrize("query", ["", " ", "\n\u200c\u200f", "\ud800"])
def test_nothing_to_look_for(searcher: Searcher, query: str) -> None:
    with pytest.raises(QueryError, match="empty") as refusal:
        searcher.search(query)
    assert "peyda search" in refusal.value.hint


def test_arguments_out_of_range(searcher: Searcher) -> None:
    for k in (0, -3, MAX_K + 1):
        with pytest.raises(QueryError, match="between 1 and"):
            searcher.search("x", k)
    for score in (float("nan"), float("inf")):
        with pytest.raises(QueryError, match="min_score"):
            searcher.search("x", min_score=score)
    with pytest.raises(QueryError, match="characters"):
        searcher.search("a" * (MAX_QUERY_CHARS + 1))
    for wrong in (True, "3", 2.0):
        with pytest.raises(TypeError):
            searcher.search("x", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        searcher.search(b"x")  # type: ignore[arg-type]
    assert len(searcher.search("x", np.int64(3))) == 3  # type: ignore[arg-type]


def test_the_same_query_is_embedded_once(searcher: Searcher) -> None:
    encoder: Any = searcher.encoder
    for spelling in ("كتاب‌ها", "کتاب ها", " کتاب  ها "):
        searcher.search(spelling)
    assert encoder.texts == ["کتاب ها"]
    for number in range(1000):
        searcher.search(f"q{number}", 1)
    searcher.search("کتاب ها")
    assert encoder.texts[-1] == "کتاب ها", "the cache is bounded"


def test_new_commits_are_seen(searcher: Searcher) -> None:
    directory: Any = searcher.directory
    assert len(searcher.search("x", 100)) == 50
    new = Point(51, _unit([1] * DIM), "/photos/0", 51.0)
    directory.list_store.points.append(new)
    assert len(searcher.search("x", 100)) == 50, "the catalogue has not committed yet"
    with Catalog(directory.path) as catalog, catalog.transaction():
        catalog.put([_photo(51)])
        catalog.remove([1, 2])
    assert {hit.photo_id for hit in searcher.search("x", 100)} == set(range(3, 52))


def test_an_empty_gallery_answers_with_nothing(tmp_path: Path) -> None:
    with _open(tmp_path / "gallery", []) as searcher:
        assert searcher.search("سگ") == []
        assert searcher.count() == 0


def test_the_model_is_loaded_late_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import peyda.encoders

    asked: list[str] = []

    def load(name: str) -> HashEncoder:
        asked.append(name)
        encoder = HashEncoder()
        encoder.visual_fingerprint = "hash" if name == "hash" else "other"
        return encoder

    monkeypatch.setattr(peyda.encoders, "load_encoder", load)
    with _open(tmp_path / "a", _points(5), encoder=None) as searcher:
        assert searcher.stats()["photos"] == 5
        assert len(searcher.similar(1)) == 4
        assert searcher.photo(3) == _photo(3)
        assert asked == []
        searcher.search("x")
        searcher.search("y")
        assert asked == ["hash"]
    with _open(tmp_path / "b", _points(5), encoder=None, model="another") as searcher:
        for _ in range(2):
            with pytest.raises(GalleryMismatch):
                searcher.search("x")
    stranger = HashEncoder()
    stranger.visual_fingerprint = "other"
    with pytest.raises(GalleryMismatch):
        _open(tmp_path / "c", _points(5), encoder=stranger)


def test_many_threads_get_what_one_gets(tmp_path: Path) -> None:
    queries = [f"query {number}" for number in range(40)] * 5
    with _open(tmp_path / "gallery", _points(200)) as searcher:
        expected = {query: searcher.search(query, 7) for query in set(queries)}
    barrier = threading.Barrier(8)
    with _open(tmp_path / "gallery", _points(200)) as searcher, ThreadPoolExecutor(8) as pool:

        def run(part: int) -> list[tuple[str, list[Hit]]]:
            barrier.wait()
            return [(query, searcher.search(query, 7)) for query in queries[part::8]]

        for answered in pool.map(run, range(8)):
            for query, hits in answered:
                assert hits == expected[query]


def test_catching_up_is_the_stores_business(searcher: Searcher) -> None:
    searcher.catch_up()  # a store without an accelerator has nothing to do
    directory: Any = searcher.directory
    calls: list[object] = []
    directory.list_store.warm = lambda: calls.append("warm")
    directory.list_store.optimize = lambda *, should_stop: calls.append(should_stop())
    searcher.catch_up()
    assert calls == [False, "warm"]
    searcher.close()
    searcher.catch_up()
    assert calls == [False, "warm", True], "a closed searcher asks the store to stop, and opens nothing"
