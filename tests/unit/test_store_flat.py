"""`FlatStore`: what it promises about disks, crashes and other processes (searching is in the contract suite)."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peyda.errors import GalleryBusy, GalleryCorrupt, GalleryMismatch, GalleryTooNew, StorageError
from peyda.gallery.store import flat as flat_module
from peyda.gallery.store import journal, vectorfile
from peyda.gallery.store.flat import FlatStore
from peyda.types import Point, ScoredId, Where

DIM = 16
NOBODY = 65534


def vector(seed: int) -> np.ndarray:
    v = np.random.default_rng(seed).standard_normal(DIM)
    return (v / np.linalg.norm(v)).astype(np.float32)


def points(first: int, n: int, folder: str = "/a") -> list[Point]:
    return [Point(i, vector(i), folder, float(i)) for i in range(first, first + n)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path) -> Iterator[FlatStore]:
    store = FlatStore(directory, DIM)
    yield store
    store.close()


def test_a_reader_that_comes_first_sees_the_store_once_it_is_made(directory: Path) -> None:
    reader = FlatStore(directory, DIM, readonly=True)
    assert reader.count() == 0
    assert not directory.exists()
    writer = FlatStore(directory, DIM)
    assert reader.count() == 0
    writer.upsert(points(0, 3))
    assert reader.ids().tolist() == [0, 1, 2]
    writer.close()
    reader.close()


def test_a_reader_notices_every_commit_without_reopening(store: FlatStore, directory: Path) -> None:
    reader = FlatStore(directory, DIM, readonly=True)
    for i in range(30):
        store.upsert([Point(i, vector(i), f"/{i % 3}", 0.0)])
        assert reader.search(vector(i), 1) == [ScoredId(i, 1.0)]
        if i % 4 == 3:
            store.delete([i])
            assert i not in reader.ids()
    assert reader.count(Where(folder="/1")) == store.count(Where(folder="/1")) == 8
    reader.close()


def test_a_reader_cannot_write(store: FlatStore, directory: Path) -> None:
    store.upsert(points(0, 1))
    reader = FlatStore(directory, DIM, readonly=True)
    for write in (lambda: reader.upsert(points(1, 1)), lambda: reader.delete([0]), reader.compact):
        with pytest.raises(ValueError, match="read-only"):
            write()
    assert store.count() == 1
    reader.close()


def test_a_closed_store_says_so(directory: Path) -> None:
    store = FlatStore(directory, DIM)
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.count()


def test_compaction_keeps_the_living_and_shrinks_the_file(store: FlatStore, directory: Path) -> None:
    store.upsert(points(0, 50))
    store.upsert(points(0, 20, folder="/b"))
    store.delete(range(40, 50))
    reader = FlatStore(directory, DIM, readonly=True)
    old_snapshot, old_vectors = reader.view()
    before = reader.search(vector(5), 50)
    store.compact()
    assert [p.name for p in directory.glob("*.f32")] == ["vectors-2.f32"]
    assert (directory / "vectors-2.f32").stat().st_size == 40 * DIM * 4
    assert reader.search(vector(5), 50) == store.search(vector(5), 50) == before
    assert reader.count(Where(folder="/b")) == 20
    assert old_vectors is not None
    assert np.array_equal(old_vectors.take(old_snapshot.lookup(np.array([7])))[0], vector(7))  # its file is gone
    store.upsert(points(100, 5))
    assert reader.count() == 45
    reader.close()


def test_rows_remember_their_commit_through_compaction(store: FlatStore) -> None:
    store.upsert(points(0, 10))
    synced = store.snapshot().state.seq
    store.upsert(points(5, 10))
    store.delete([0, 1])
    store.compact()
    snapshot = store.snapshot()
    tail = snapshot.row_ids[snapshot.first_row_after(synced) :]
    assert sorted(tail.tolist()) == list(range(5, 15))
    assert snapshot.state.seq > synced


def test_waste_is_compacted_away_by_itself(store: FlatStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_module, "COMPACT_DEAD_ROWS", 100)
    for _ in range(12):
        store.upsert(points(0, 60))
    rows = (directory / f"vectors-{store.snapshot().state.generation}.f32").stat().st_size // (4 * DIM)
    assert store.snapshot().state.generation > 1
    assert rows < 300
    assert store.ids().tolist() == list(range(60))
    assert np.array_equal(store.vectors([59])[0], vector(59))


def test_litter_of_killed_compactions_is_removed_when_a_writer_opens(directory: Path) -> None:
    store = FlatStore(directory, DIM)
    store.upsert(points(0, 5))
    store.close()
    (directory / "vectors-2.f32").write_bytes(b"half a compaction")
    store = FlatStore(directory, DIM)
    assert [p.name for p in directory.glob("*.f32")] == ["vectors-1.f32"]
    assert store.count() == 5
    store.close()


def test_bytes_beyond_the_last_commit_do_not_exist(directory: Path) -> None:
    store = FlatStore(directory, DIM)
    store.upsert(points(0, 5))
    with (directory / "vectors-1.f32").open("ab") as out:
        out.write(b"\xff" * 999)  # a writer was killed between writing and committing
    reader = FlatStore(directory, DIM, readonly=True)
    assert reader.count() == 5
    store.upsert(points(5, 5))
    assert np.array_equal(reader.vectors(list(range(10))), np.stack([vector(i) for i in range(10)]))
    store.close()
    reader.close()


def test_a_full_disk_keeps_the_last_commit(store: FlatStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(points(0, 5))
    size = (directory / "vectors-1.f32").stat().st_size
    real_write = os.write

    def write_some(fd: int, data: memoryview) -> int:
        if len(data) < 100 * DIM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(vectorfile.os, "write", write_some)
        with pytest.raises(StorageError, match="full") as caught:
            store.upsert(points(5, 100))
    assert "free some space" in caught.value.hint
    assert (directory / "vectors-1.f32").stat().st_size == size
    assert store.ids().tolist() == [0, 1, 2, 3, 4]
    store.upsert(points(5, 100))
    assert store.count() == 105


def test_a_full_disk_under_the_journal_keeps_the_last_commit(store: FlatStore) -> None:
    store.upsert(points(0, 5))
    connection = store._journal._connected()
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StorageError, match="full"):
        store.upsert([Point(i, vector(0), f"/{i}", 0.0) for i in range(5, 2000)])
    assert store.ids().tolist() == [0, 1, 2, 3, 4]
    connection.execute("PRAGMA max_page_count = 100000")
    store.upsert(points(5, 1))
    assert store.search(vector(5), 1) == [ScoredId(5, 1.0)]


def test_two_writers_take_turns_and_lose_nothing(directory: Path) -> None:
    stores = [FlatStore(directory, DIM) for _ in range(2)]

    def write(store: FlatStore, first: int) -> None:
        for i in range(first, first + 40, 4):
            store.upsert(points(i, 4))

    threads = [threading.Thread(target=write, args=(s, 1000 * n)) for n, s in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = [*range(40), *range(1000, 1040)]
    for store in stores:
        assert store.ids().tolist() == wanted
        assert np.array_equal(store.vectors(wanted), np.stack([vector(i) for i in wanted]))
        store.close()


def test_a_writer_that_waits_too_long_is_told_why(
    store: FlatStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BUSY_TIMEOUT_S", 0.05)
    other = FlatStore(directory, DIM)
    with store._journal.transaction(), pytest.raises(GalleryBusy, match="another process"):
        other.upsert(points(0, 1))
    other.upsert(points(0, 1))
    assert store.count() == 1
    other.close()


def test_threads_search_while_a_writer_commits_and_compacts(store: FlatStore, directory: Path) -> None:
    store.upsert(points(0, 20))
    reader = FlatStore(directory, DIM, readonly=True)
    stop = threading.Event()
    wrong: list[object] = []

    def search() -> None:
        while not stop.is_set():
            try:
                hits = reader.search(vector(3), 1)
                if hits != [ScoredId(3, 1.0)]:
                    wrong.append(hits)
            except Exception as error:  # noqa: BLE001
                wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(15):
        store.upsert(points(20 + 5 * round_, 5))
        store.delete([20 + 5 * round_])
        if round_ % 3 == 0:
            store.compact()
    stop.set()
    for thread in threads:
        thread.join()
    reader.close()
    assert wrong == []


_WRITER = """
import sys, numpy as np
from peyda.gallery.store.flat import FlatStore
from peyda.types import Point
directory, first = sys.argv[1], int(sys.argv[2])
store = FlatStore(directory, 16)
for start in range(first, first + 10**6, 3):
    ids = [start, start + 1, start + 2]
    vectors = np.random.default_rng(start).standard_normal((3, 16)).astype(np.float32)
    store.upsert([Point(i, v, "/a", float(i)) for i, v in zip(ids, vectors)])
    store.upsert([Point(5 * 10**6, vectors[0], "/b", 0.0)])  # the same id again and again
    if start % 4 == 0:
        store.compact()
    sys.stdout.write(f"{start}\\n")
    sys.stdout.flush()
"""


def test_kill_9_at_any_moment_loses_nothing_acknowledged(directory: Path) -> None:
    acknowledged: list[int] = []
    generations = set()
    for attempt in range(6):
        command = [sys.executable, "-c", _WRITER, str(directory), str(10_000 * attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            acknowledged.append(int(child.stdout.readline()))  # it is writing now
            time.sleep(0.05 + 0.03 * attempt)
            child.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
        store = FlatStore(directory, DIM, readonly=True)
        generations.add(store.snapshot().state.generation)
        ids = set(store.ids().tolist())
        for start in acknowledged:
            assert {start, start + 1, start + 2} <= ids
        for start in acknowledged[-10:]:
            written = np.random.default_rng(start).standard_normal((3, DIM)).astype(np.float32)
            assert np.array_equal(store.vectors([start, start + 1, start + 2]), written)
        store.close()
    assert len(acknowledged) > 12
    assert len(generations) > 1


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that another user may enter (pytest's own are private)."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def _as_reader_of_a_readonly_folder(directory: Path) -> Iterator[None]:
    names = [directory, *directory.rglob("*")]
    for name in names:
        name.chmod(0o555 if name.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)  # root may write anywhere
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for name in names:
            name.chmod(0o755 if name.is_dir() else 0o644)


@pytest.mark.parametrize("is_left_by_a_kill", [False, True], ids=["closed", "killed"])
def test_a_folder_that_nobody_may_write_to_can_be_searched(open_to_all: Path, is_left_by_a_kill: bool) -> None:
    writer = FlatStore(open_to_all / "made", DIM)
    writer.upsert(points(0, 10))
    if is_left_by_a_kill:  # the write-ahead log still holds everything, and SQLite's shared memory is gone
        shutil.copytree(open_to_all / "made", open_to_all / "store", ignore=shutil.ignore_patterns("*-shm"))
        assert (open_to_all / "store" / "points.sqlite-wal").stat().st_size
        writer.close()
    else:
        writer.close()
        shutil.copytree(open_to_all / "made", open_to_all / "store")
    for _ in _as_reader_of_a_readonly_folder(open_to_all / "store"):
        reader = FlatStore(open_to_all / "store", DIM, readonly=True)
        assert reader.search(vector(4), 1) == [ScoredId(4, 1.0)]
        assert reader.count() == 10
        reader.close()
    writer = FlatStore(open_to_all / "store", DIM)
    writer.upsert(points(10, 1))
    assert writer.count() == 11
    writer.close()


def test_other_vector_lengths_are_a_mismatch(store: FlatStore, directory: Path) -> None:
    store.upsert(points(0, 1))
    for readonly in (True, False):
        with pytest.raises(GalleryMismatch, match="16"):
            FlatStore(directory, DIM * 2, readonly=readonly)


def test_a_newer_schema_is_refused(directory: Path) -> None:
    FlatStore(directory, DIM).close()
    connection = sqlite3.connect(directory / "points.sqlite")
    connection.execute("UPDATE state SET schema = 99")
    connection.commit()
    connection.close()
    with pytest.raises(GalleryTooNew, match="newer") as caught:
        FlatStore(directory, DIM, readonly=True)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("name", ["points.sqlite", "vectors-1.f32"])
def test_damaged_files_are_named(directory: Path, name: str) -> None:
    store = FlatStore(directory, DIM)
    store.upsert(points(0, 20))
    store.close()
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(b"\0" * 200 if name.endswith("sqlite") else data[:-1])
    with pytest.raises(GalleryCorrupt, match=name.replace(".", r"\.")) as caught:
        FlatStore(directory, DIM, readonly=True).search(vector(0), 1)
    assert caught.value.hint


def test_a_vanished_vector_file_is_named(directory: Path) -> None:
    store = FlatStore(directory, DIM)
    store.upsert(points(0, 2))
    store.close()
    (directory / "vectors-1.f32").unlink()
    reader = FlatStore(directory, DIM, readonly=True)
    with pytest.raises(GalleryCorrupt, match="missing"):
        reader.count()
    reader.close()


@pytest.mark.parametrize("is_large", [False, True], ids=["mapped", "handed back"])
def test_scans_gathers_and_reads_agree(store: FlatStore, is_large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectorfile, "CHUNK_ROWS", 7)
    if is_large:
        monkeypatch.setattr(vectorfile, "RESIDENT_BYTES", 0)
    store.upsert(points(0, 40))
    _, vectors = store.view()
    assert vectors is not None
    rows = np.array([39, 0, 17, 17])
    matrix = np.stack([vector(i) for i in range(40)])
    assert np.allclose(vectors.scan(vector(2), 3, 31), matrix[3:31] @ vector(2), atol=1e-6)
    assert np.allclose(vectors.gather(vector(2), rows), matrix[rows] @ vector(2), atol=1e-6)
    assert np.array_equal(vectors.take(rows), matrix[rows])


def test_opening_and_searching_does_not_load_the_engine(directory: Path) -> None:
    code = (
        "import sys, numpy as np; from peyda.gallery.store import open_store; from peyda.types import Point;"
        f"s = open_store({str(directory)!r}, 4); s.upsert([Point(1, np.eye(4, dtype='f4')[0], '/a', 0.0)]);"
        "assert s.search(np.eye(4, dtype='f4')[0], 1)[0].id == 1; s.close();"
        "print([m for m in ('qdrant_edge', 'onnxruntime', 'torch', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        FlatStore(tmp_path / "file" / "store", DIM)
    assert "write to this folder" in caught.value.hint


def test_a_store_may_live_under_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"\xff?#% \xd9\xbe")
    store = FlatStore(directory, DIM)
    reader = FlatStore(directory, DIM, readonly=True)
    store.upsert(points(0, 3))
    assert reader.search(vector(2), 1) == [ScoredId(2, 1.0)]
    reader.close()
    store.close()


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(st.integers(0, 25), max_size=6)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 25), max_size=6)),
        st.tuples(st.just("compact"), st.just([])),
        st.tuples(st.just("reopen"), st.just([])),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(_STEPS)
def test_any_history_ends_where_a_dictionary_would(steps: list[tuple[str, list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        writer, reader = FlatStore(directory, DIM), FlatStore(directory, DIM, readonly=True)
        model: dict[int, Point] = {}
        for number, (verb, ids) in enumerate(steps):
            if verb == "upsert":
                new = [Point(i, vector(1000 * number + i), f"/{(i + number) % 3}", float(number)) for i in ids]
                writer.upsert(new)
                model.update({point.id: point for point in new})
            elif verb == "delete":
                writer.delete(ids)
                for i in ids:
                    model.pop(i, None)
            elif verb == "compact":
                writer.compact()
            else:
                writer.close()
                writer = FlatStore(directory, DIM)
            for store in (reader, writer):
                assert store.ids().tolist() == sorted(model)
        where = Where(folder="/1", after=5.0)
        for store in (reader, writer):
            kept = {i for i, point in model.items() if point.folder == "/1" and point.taken_at >= 5.0}
            assert {hit.id for hit in store.search(vector(0), 99, where)} == kept
            if model:
                assert np.array_equal(store.vectors(list(model)), np.stack([p.vector for p in model.values()]))
            store.close()
