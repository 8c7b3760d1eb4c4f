"""`AutoStore` and its accelerator: an index that is missing, stale, broken or taken never changes an answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from peyda.errors import EngineError, GalleryBusy
from peyda.gallery.store import auto, build, open_store
from peyda.gallery.store.accelerator import Accelerator, Record
from peyda.gallery.store.auto import AutoStore
from peyda.gallery.store.edge import EdgeStore
from peyda.gallery.store.filelock import FileLock
from peyda.gallery.store.flat import FlatStore
from peyda.types import Point, Where

DIM = 24
THRESHOLD = 200


def vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((8, DIM))[rng.integers(0, 8, n)] + 0.6 * rng.standard_normal((n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def points(n: int, first: int = 0, seed: int = 0) -> list[Point]:
    return [Point(first + i, v, f"/f{i % 2}", float(i)) for i, v in enumerate(vectors(n, seed))]


QUERIES = vectors(12, seed=99)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path) -> Iterator[AutoStore]:
    store = open_store(directory, DIM, ann_threshold=THRESHOLD)
    yield store
    store.close()


def open_reader(directory: Path) -> AutoStore:
    return open_store(directory, DIM, readonly=True, ann_threshold=THRESHOLD)


def assert_answers_like_the_log(store: AutoStore) -> None:
    flat = FlatStore(store.directory, DIM, readonly=True)
    for query in QUERIES:
        for where in (None, Where(folder="/f1"), Where(after=100.0)):
            assert store.search(query, 10, where) == flat.search(query, 10, where)
    flat.close()


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many candidates each search got from the index."""
    calls: list[int] = []
    ask = Accelerator.candidates

    def candidates(self: Accelerator, store_id: str, query: np.ndarray, limit: int) -> object:
        found = ask(self, store_id, query, limit)
        calls.append(-1 if found is None else len(found[0]))
        return found

    monkeypatch.setattr(Accelerator, "candidates", candidates)
    return calls


def test_small_galleries_build_no_index(store: AutoStore, directory: Path) -> None:
    store.upsert(points(THRESHOLD))
    assert not store.needs_optimize()
    assert not store.optimize()
    assert not store.warm()
    assert not (directory / "edge").exists()


def test_big_galleries_are_searched_through_the_index(store: AutoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(600))
    assert store.optimize()
    assert not store.needs_optimize()
    calls = counting(monkeypatch)
    assert_answers_like_the_log(store)
    assert store.is_accelerated
    assert calls.count(100) >= len(QUERIES) - 1  # the very first search does not wait for the index
    assert -1 not in calls


def test_a_process_that_searches_once_does_not_open_the_index(store: AutoStore, directory: Path) -> None:
    store.upsert(points(600))
    store.optimize()
    reader = open_reader(directory)
    first = reader.search(QUERIES[0], 10)
    assert not reader.is_accelerated
    assert reader.search(QUERIES[0], 10) == first
    assert reader.is_accelerated
    reader.close()


def test_what_came_after_the_index_is_found_and_what_left_is_not(
    store: AutoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert(points(600))
    store.optimize()
    assert store.warm()
    calls = counting(monkeypatch)
    store.upsert(points(40, first=1000, seed=1))
    store.upsert(points(20, first=50, seed=2))  # new vectors for known photographs
    best = [hit.id for query in QUERIES[:5] for hit in store.search(query, 3)]
    store.delete(best)
    assert_answers_like_the_log(store)
    assert max(calls) >= 100
    assert not set(best) & set(store.ids().tolist())


def test_compaction_keeps_the_index_useful(store: AutoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(600))
    store.optimize()
    store.warm()
    store.upsert(points(30, first=0, seed=5))
    store.delete(range(500, 540))
    store._flat.compact()
    calls = counting(monkeypatch)
    assert_answers_like_the_log(store)
    assert len(calls) == 3 * len(QUERIES)
    assert min(calls) >= 100
    assert not store.needs_optimize()


def test_an_index_far_behind_is_rebuilt_and_noticed_by_readers(store: AutoStore, directory: Path) -> None:
    store.upsert(points(600))
    store.optimize()
    reader = open_reader(directory)
    assert reader.warm()
    store.upsert(points(200, first=2000, seed=3))
    assert store.needs_optimize()
    assert store.optimize()
    record = Accelerator(directory, DIM).record()
    assert record is not None
    assert record.points == 800
    assert_answers_like_the_log(reader)
    assert reader.is_accelerated
    # The reader lets the old shard go when it opens the new one; the next builder sweeps it up.
    assert store.optimize(force=True)
    assert f"{record.shard}" in {p.name for p in (directory / "edge").glob("shard-*")}
    assert len(list((directory / "edge").glob("shard-*"))) == 2
    reader.close()


def test_much_deleting_calls_for_a_new_index(store: AutoStore) -> None:
    store.upsert(points(800))
    store.optimize()
    store.delete(range(100))
    assert not store.needs_optimize()
    store.delete(range(100, 250))
    assert store.needs_optimize()


def test_one_process_holds_the_index_and_the_others_scan(store: AutoStore, directory: Path) -> None:
    store.upsert(points(600))
    store.optimize()
    assert store.warm()
    reader = open_reader(directory)
    assert not reader.warm()
    assert_answers_like_the_log(reader)
    store.close()
    assert reader.warm()
    assert_answers_like_the_log(reader)
    reader.close()


def test_building_beside_a_reader_disturbs_nobody(store: AutoStore, directory: Path) -> None:
    store.upsert(points(600))
    store.optimize()
    reader = open_reader(directory)
    reader.warm()
    store.upsert(points(300, first=3000, seed=4))
    thread = threading.Thread(target=store.optimize)
    thread.start()
    for _ in range(3):
        assert_answers_like_the_log(reader)
    thread.join()
    assert_answers_like_the_log(reader)
    reader.close()


def test_only_one_builds_at_a_time(store: AutoStore, directory: Path) -> None:
    store.upsert(points(300))
    (directory / "edge").mkdir()
    other = FileLock(directory / "edge" / "build.lock")
    assert other.try_acquire()
    assert not store.optimize()
    other.release()
    assert store.optimize()


def test_a_builder_that_is_stopped_leaves_the_old_index(store: AutoStore, directory: Path) -> None:
    store.upsert(points(600))
    store.optimize()
    before = Accelerator(directory, DIM).record()
    store.upsert(points(300, first=3000, seed=4))
    assert not store.optimize(should_stop=lambda: True)
    assert Accelerator(directory, DIM).record() == before
    assert_answers_like_the_log(store)
    assert store.optimize()


def test_a_builder_that_dies_before_publishing_leaves_litter_that_is_swept_up(
    store: AutoStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(directory: Path, record: Record) -> None:
        raise KeyboardInterrupt

    store.upsert(points(300))
    monkeypatch.setattr(build, "_publish", die)
    with pytest.raises(KeyboardInterrupt):
        build.build(directory, DIM)
    assert not store.warm()
    assert [p.name for p in (directory / "edge").glob("shard-*")] == ["shard-1"]
    assert store.optimize()
    assert len(list((directory / "edge").glob("shard-*"))) == 1


def test_a_failing_builder_says_why(store: AutoStore, directory: Path) -> None:
    store.upsert(points(300))
    (directory / "edge").write_text("in the way")
    with pytest.raises(EngineError, match="failed") as caught:
        store.optimize()
    assert caught.value.hint
    assert_answers_like_the_log(store)


def _truncate(shard: Path) -> None:
    biggest = max((p for p in shard.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    with biggest.open("r+b") as out:
        out.truncate(biggest.stat().st_size // 2)


def _scramble(shard: Path) -> None:
    for path in shard.rglob("*.json"):
        path.write_bytes(b"x" * path.stat().st_size)


def _empty(shard: Path) -> None:
    shutil.rmtree(shard)
    shard.mkdir()


@pytest.mark.parametrize(
    "damage",
    [_truncate, _scramble, _empty, shutil.rmtree, lambda shard: (shard / "opening").touch()],
    ids=["truncated", "scrambled", "emptied", "removed", "killed its opener"],
)
def test_a_broken_index_is_dropped_and_rebuilt(
    store: AutoStore, directory: Path, damage: Callable[[Path], None]
) -> None:
    store.upsert(points(600))
    store.optimize()
    damage(directory / "edge" / "shard-1")
    assert not store.warm()
    assert_answers_like_the_log(store)
    assert not store.is_accelerated
    assert store.needs_optimize()
    assert store.optimize()
    assert store.warm()
    assert_answers_like_the_log(store)


def test_an_engine_that_fails_in_the_middle_is_dropped(store: AutoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(600))
    store.optimize()
    store.warm()

    def fail(self: EdgeStore, query: np.ndarray, limit: int) -> object:
        raise EngineError("panicked")

    with monkeypatch.context() as patch:
        patch.setattr(EdgeStore, "candidates", fail)
        assert_answers_like_the_log(store)
    assert store.optimize()
    assert store.warm()


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', json.dumps({"format": 99})])
def test_a_record_that_cannot_be_read_means_no_index(store: AutoStore, directory: Path, text: str) -> None:
    store.upsert(points(600))
    store.optimize()
    (directory / "edge" / "current.json").write_text(text)
    assert not store.warm()
    assert_answers_like_the_log(store)
    assert store.needs_optimize()


def test_the_index_of_another_gallery_is_not_used(store: AutoStore, directory: Path, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other", DIM, ann_threshold=THRESHOLD)
    other.upsert(points(600, seed=50))
    other.optimize()
    store.upsert(points(600))
    shutil.copytree(tmp_path / "other" / "edge", directory / "edge")
    assert not store.warm()
    assert_answers_like_the_log(store)
    assert store.needs_optimize()
    assert store.optimize()
    assert store.warm()
    other.close()


def test_rare_matches_and_many_hits_are_left_to_the_scan(store: AutoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(600))
    store.optimize()
    store.warm()
    calls = counting(monkeypatch)
    assert len(store.search(QUERIES[0], 10, Where(after=595.0))) == 5
    assert len(store.search(QUERIES[0], 600)) == 600
    assert calls == []


def test_a_filter_that_fights_the_query_falls_back_to_the_scan(store: AutoStore, directory: Path) -> None:
    """The nearest photographs all lie in the folder that is not asked for."""
    near = points(300)
    query = vectors(1)[0]
    turned = [Point(1000 + i, -query, "/other", 0.0) for i in range(300)]
    store.upsert([Point(p.id, query, "/near", 0.0) for p in near] + turned)
    store.optimize()
    store.warm()
    hits = store.search(query, 10, Where(folder="/other"))
    assert [hit.id for hit in hits] == list(range(1000, 1010))
    assert hits[0].score == pytest.approx(-1.0, abs=1e-6)


def test_an_edge_shard_is_exclusive_and_says_so(tmp_path: Path) -> None:
    first = EdgeStore(tmp_path / "edge", DIM)
    with pytest.raises(GalleryBusy, match="open"):
        EdgeStore(tmp_path / "edge", DIM)
    code = (
        "import sys; from peyda.errors import GalleryBusy; from peyda.gallery.store.edge import EdgeStore\n"
        "try: EdgeStore(sys.argv[1], 24)\nexcept GalleryBusy: print('busy')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "edge")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "busy\n"
    first.close()
    EdgeStore(tmp_path / "edge", DIM).close()


def test_a_published_record_names_every_file_of_its_shard(store: AutoStore, directory: Path) -> None:
    store.upsert(points(300))
    store.optimize()
    record = Accelerator(directory, DIM).record()
    assert isinstance(record, Record)
    for _ in range(3):  # opening, searching and closing changes no size, or the check at opening would refuse it
        assert store.warm()
        store.search(QUERIES[0], 5)
        assert store._index is not None
        store._index.close()
    shard = directory / "edge" / record.shard
    assert any(name.endswith(".bin") for name in record.files)
    assert {name: (shard / name).stat().st_size for name in record.files} == record.files


def test_without_the_engine_searches_scan(store: AutoStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(600))
    store.optimize()
    monkeypatch.setitem(sys.modules, "peyda.gallery.store.edge", None)
    assert not store.warm()
    assert_answers_like_the_log(store)
    assert Accelerator(directory, DIM).record() is not None  # whoever has the engine may go on using it


def test_nothing_is_built_on_a_read_only_disk(
    store: AutoStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert(points(300))
    monkeypatch.setattr(auto.os, "access", lambda path, mode: False)
    assert not store.optimize()
    assert not (directory / "edge").exists()


def test_a_builder_that_cannot_start_is_an_engine_error(store: AutoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(300))
    monkeypatch.setattr(build.sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match="cannot be built"):
        store.optimize()
