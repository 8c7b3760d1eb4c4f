"""The vector index of a big gallery: derived from the log, published whole, thrown away at the first doubt.

```text
edge/current.json           which shard counts, how far into the log it reaches, the sizes of its files
edge/shard-<n>/             one Edge shard, built once and never written again
edge/build.lock             held by whoever builds
```

A builder makes a new shard beside the current one and publishes it by renaming `current.json`; so searches go on
meanwhile and a builder killed at any moment leaves only litter. One process at a time can open a shard (Edge writes
into its files even when it only reads); the others scan the log, which is slower and no less right.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peyda.errors import GalleryBusy, PeydaError
from peyda.types import Float32, Int64

if TYPE_CHECKING:
    from peyda.gallery.store.edge import EdgeStore

FORMAT = 1
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """`current.json`: a published shard. It holds every point that was alive at batch `seq` of store `store_id`."""

    format: int
    shard: str
    store_id: str
    dim: int
    seq: int
    points: int
    files: dict[str, int]


class Accelerator:
    """Opens the published shard when it is free and asks it for candidates. Thread-safe.

    Args:
        directory: The store's directory; the accelerator lives in its `edge` folder.
        dim: Length of a vector.
    """

    def __init__(self, directory: Path, dim: int) -> None:
        self.directory = directory / "edge"
        self._dim = dim
        self._mutex = threading.Lock()
        self._edge: EdgeStore | None = None
        self._record: Record | None = None
        self._stamp: tuple[int, int] | None = None
        self._retry_at = 0.0

    def record(self) -> Record | None:
        """The published record, None when there is none that this version can use."""
        with suppress(OSError, ValueError, TypeError):
            record = Record(**json.loads((self.directory / "current.json").read_text("utf-8")))
            if record.format == FORMAT and record.dim == self._dim:
                return record
        return None

    @property
    def is_open(self) -> bool:
        """Whether this object holds a shard."""
        return self._edge is not None

    def candidates(self, store_id: str, query: Float32, limit: int) -> tuple[Int64, int] | None:
        """Ids of about the `limit` nearest points of the shard, and the batch up to which it knows the log.

        None when there is no shard of this store, another process has it open, or it turned out to be broken.
        """
        with self._mutex:
            edge = self._opened(store_id)
            if edge is None or self._record is None:
                return None
            try:
                return edge.candidates(query, min(limit, self._record.points)), self._record.seq
            except PeydaError:
                self._discard()
                return None

    def open(self, store_id: str) -> bool:
        """Open the published shard now instead of at a search. Whether that worked."""
        with self._mutex:
            self._retry_at = 0.0
            return self._opened(store_id) is not None

    def close(self) -> None:
        """Release the shard; idempotent."""
        with self._mutex:
            self._release()

    def _opened(self, store_id: str) -> EdgeStore | None:
        stamp = _stamp(self.directory / "current.json")
        if self._edge is not None and stamp == self._stamp:
            return self._edge
        if stamp is None or (stamp == self._stamp and time.monotonic() < self._retry_at):
            self._release()
            return None
        self._release()
        self._stamp = stamp
        self._retry_at = time.monotonic() + RETRY_S
        record = self.record()
        if record is None or record.store_id != store_id:
            return None
        self._edge = self._load(record)
        self._record = record if self._edge is not None else None
        return self._edge

    def _load(self, record: Record) -> EdgeStore | None:
        try:
            from peyda.gallery.store.edge import EdgeStore
        except ImportError:  # no engine for this platform
            return None
        path = self.directory / record.shard
        edge = None
        try:
            # Checked before Edge maps the files: reading past the end of a short one would kill the process.
            if path.is_dir() and all(_size(path / name) == size for name, size in record.files.items()):
                edge = EdgeStore(path, self._dim, is_derived=True)
                if edge.count() == record.points:
                    return edge
        except GalleryBusy:
            return None
        except (PeydaError, OSError):
            pass
        if edge is not None:
            edge.close()
        if self.record() == record:
            self._unpublish(path)
        return None

    def _discard(self) -> None:
        path = None if self._record is None else self.directory / self._record.shard
        self._release()
        if path is not None:
            self._unpublish(path)

    def _unpublish(self, path: Path) -> None:
        with suppress(OSError):
            (self.directory / "current.json").unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)

    def _release(self) -> None:
        edge, self._edge, self._record = self._edge, None, None
        if edge is not None:
            edge.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever another record is published."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
