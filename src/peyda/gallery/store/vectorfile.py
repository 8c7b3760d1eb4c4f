"""`vectors-<generation>.f32`: rows of little-endian float32, appended, never changed.

Readers map it; what they have mapped never changes under them, because rows beyond the committed count are not
mapped, committed rows are never rewritten, and compaction writes another file. Beyond `RESIDENT_BYTES` a scan hands
its pages back to the system as it goes, so that a scan of any gallery costs a bounded amount of memory.
"""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path

import numpy as np

from peyda.errors import GalleryCorrupt
from peyda.gallery.store.scoring import fast_scores
from peyda.types import Float32, Int64

CHUNK_ROWS = 8192
RESIDENT_BYTES = 64 * 2**20
_HAS_PREADV = hasattr(os, "preadv")
_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)


def file_name(generation: int) -> str:
    """The name of a generation's vector file."""
    return f"vectors-{generation}.f32"


class VectorFile:
    """The first `rows` rows of a vector file, for reading.

    Args:
        path: The file.
        dim: Numbers in a row.
        rows: How many rows are committed.

    Raises:
        FileNotFoundError: The generation is gone (the caller reads the state again).
        GalleryCorrupt: The file is shorter than what was committed.
    """

    def __init__(self, path: Path, dim: int, rows: int) -> None:
        self.rows = rows
        self._row_bytes = 4 * dim
        size = rows * self._row_bytes
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            if os.fstat(fd).st_size < size:
                hint = "restore the gallery from a copy, or delete it and run `peyda index` again"
                raise GalleryCorrupt(f"{path} is shorter than the {rows} vectors committed to it", hint=hint)
            self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        # The map lives as long as an array looks into it, and the descriptor as long as this object.
        weakref.finalize(self, os.close, fd)
        self._matrix: Float32 = np.frombuffer(self._map, dtype="<f4").reshape(rows, dim)
        self._is_large = size > RESIDENT_BYTES

    def scan(self, query: Float32, start: int, stop: int) -> Float32:
        """Approximate scores of rows `start:stop`, `Float32[stop - start]`."""
        scores = np.empty(stop - start, dtype=np.float32)
        for first in range(start, stop, CHUNK_ROWS):
            last = min(first + CHUNK_ROWS, stop)
            fast_scores(self._matrix[first:last], query, scores[first - start : last - start])
            if self._is_large:
                self._hand_back(first * self._row_bytes, last * self._row_bytes)
        return scores

    def gather(self, query: Float32, rows: Int64) -> Float32:
        """Approximate scores of some rows, `Float32[len(rows)]`; cheaper than a scan when they are few."""
        scores = np.empty(len(rows), dtype=np.float32)
        for first in range(0, len(rows), CHUNK_ROWS):
            part = rows[first : first + CHUNK_ROWS]
            fast_scores(self._matrix[part], query, scores[first : first + len(part)])
            if self._is_large:
                self._hand_back(0, len(self._map))
        return scores

    def take(self, rows: Int64) -> Float32:
        """A copy of some rows, `Float32[len(rows), dim]`."""
        if not (self._is_large and _HAS_PREADV):
            return self._matrix[rows]
        # Reading, not mapping: a page fault maps its neighbours too, and a server's memory would grow by the file.
        out = np.empty((len(rows), self._matrix.shape[1]), dtype="<f4")
        view = out.data.cast("B")
        for i, row in enumerate(rows.tolist()):
            window = view[i * self._row_bytes : (i + 1) * self._row_bytes]
            os.preadv(self._fd, [window], row * self._row_bytes)
        return out

    def _hand_back(self, start: int, stop: int) -> None:
        if _DONTNEED is not None:
            start -= start % mmap.PAGESIZE
            self._map.madvise(_DONTNEED, start, stop - start)


def append_rows(path: Path, first_row: int, matrix: Float32) -> None:
    """Write rows at `first_row` and force them to disk. On failure the file is cut back to its committed rows."""
    data = np.ascontiguousarray(matrix, dtype="<f4").data.cast("B")
    start = first_row * 4 * matrix.shape[1]
    is_new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        if os.fstat(fd).st_size < start:
            raise GalleryCorrupt(f"{path} is shorter than what was committed to it", hint="run `peyda gallery verify`")
        try:
            _write_all(fd, data, start)
        except OSError:
            os.ftruncate(fd, start)  # gives a full disk its space back; nobody maps beyond `start`
            raise
        getattr(os, "fdatasync", os.fsync)(fd)
    finally:
        os.close(fd)
    if is_new:
        _fsync_parent(path)


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    os.lseek(fd, offset, os.SEEK_SET)
    while data:
        data = data[os.write(fd, data) :]


def _fsync_parent(path: Path) -> None:
    if os.name != "posix":
        return
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
