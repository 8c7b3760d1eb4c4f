"""Building the vector index, in this process or (as everybody who has users should) in another.

`python -m peyda.gallery.store.build DIRECTORY DIM` is that other process: Edge holds the interpreter's lock while it
builds, 20 seconds for 100,000 photographs, and a server must answer and Ctrl-C must work meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from peyda.errors import EngineError, PeydaError
from peyda.gallery.store.accelerator import FORMAT, Accelerator, Record
from peyda.gallery.store.edge import EdgeStore
from peyda.gallery.store.filelock import FileLock
from peyda.gallery.store.flat import FlatStore
from peyda.gallery.store.snapshot import Snapshot
from peyda.gallery.store.vectorfile import VectorFile
from peyda.types import Point

READ_ROWS = 2048
POLL_S = 0.05
_HINT = "searches stay exact, only slower; free memory and disk space, then run `peyda index` again"
_EXIT_BUILT, _EXIT_BUSY, _EXIT_FAILED = 0, 3, 1


def build(directory: Path, dim: int) -> Record | None:
    """Build a shard over everything committed now and publish it. None when another process is building.

    Holds the interpreter for seconds (see `edge`): servers and indexers call `build_in_child`.
    """
    accelerator = Accelerator(directory, dim)
    accelerator.directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(accelerator.directory / "build.lock")
    if not lock.try_acquire():
        return None
    try:
        _remove_litter(accelerator)
        path = _unused_name(accelerator.directory)
        record = _fill(path, directory, dim)
        _publish(accelerator.directory, record)
        _remove_litter(accelerator)
        return record
    finally:
        lock.release()


def _fill(path: Path, directory: Path, dim: int) -> Record:
    flat = FlatStore(directory, dim, readonly=True)
    edge = EdgeStore(path, dim, is_derived=True)
    try:
        snapshot, vectors = flat.view()
        if vectors is not None:
            _copy_living(snapshot, vectors, edge)
        edge.optimize()
    finally:
        edge.close()
        flat.close()
    # Opening tidies up what the first run left; it also proves that what is about to be published can be opened.
    EdgeStore(path, dim, is_derived=True).close()
    files = {str(f.relative_to(path)): f.stat().st_size for f in path.glob("shard/segments/**/*") if f.is_file()}
    return Record(FORMAT, path.name, snapshot.state.store_id, dim, snapshot.state.seq, len(snapshot), files)


def _copy_living(snapshot: Snapshot, vectors: VectorFile, edge: EdgeStore) -> None:
    rows = np.flatnonzero(snapshot.alive).astype(np.int64)
    for start in range(0, len(rows), READ_ROWS):
        part = rows[start : start + READ_ROWS]
        ids = snapshot.row_ids[part].tolist()
        edge.upsert([Point(i, vector, "", 0.0) for i, vector in zip(ids, vectors.take(part), strict=True)])


def _publish(directory: Path, record: Record) -> None:
    temporary = directory / "current.json.new"
    with temporary.open("w", encoding="utf-8") as out:
        json.dump(asdict(record), out)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(directory / "current.json")


def _remove_litter(accelerator: Accelerator) -> None:
    """Delete shards that do not count, unless a process still searches them."""
    record = accelerator.record()
    for path in accelerator.directory.glob("shard-*"):
        if record is not None and path.name == record.shard:
            continue
        lock = FileLock(path / "lock")
        if lock.try_acquire():
            shutil.rmtree(path, ignore_errors=True)
            lock.release()


def _unused_name(directory: Path) -> Path:
    taken = [int(p.name[6:]) for p in directory.glob("shard-*") if p.name[6:].isdigit()]
    return directory / f"shard-{max(taken, default=0) + 1}"


def build_in_child(directory: Path, dim: int, should_stop: Callable[[], bool] | None = None) -> bool:
    """Run `build` in a child process and wait for it. Whether an index was published.

    Args:
        directory: The store's directory.
        dim: Length of a vector.
        should_stop: Asked some twenty times a second; True ends the child, which leaves the old index in place.

    Raises:
        EngineError: The child failed; the old index, if any, still counts.
    """
    command = [sys.executable, "-m", "peyda.gallery.store.build", os.fspath(directory), str(dim)]
    package_root = str(Path(__file__).resolve().parents[3])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise EngineError(f"the vector index cannot be built: {error}", hint=_HINT) from error
    with child:
        try:
            while True:
                try:
                    _, complaint = child.communicate(timeout=POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if should_stop is not None and should_stop():
                        child.kill()
        except BaseException:
            child.kill()
            raise
    if child.returncode in (_EXIT_BUILT, _EXIT_BUSY) or (child.returncode < 0 and should_stop is not None):
        return child.returncode == _EXIT_BUILT
    last_line = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise EngineError(f"building the vector index failed: {last_line or child.returncode}", hint=_HINT)


def main(arguments: list[str]) -> int:
    """The child process: exit status 0 for a published index, 3 when somebody else is building."""
    directory, dim = arguments
    try:
        return _EXIT_BUSY if build(Path(directory), int(dim)) is None else _EXIT_BUILT
    except (PeydaError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
