"""Does a gallery agree with itself and with the disk? Catalogue against vectors against files; mends what it can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from peyda.gallery.catalog import Catalog
from peyda.gallery.directory import GalleryDirectory, storage_error
from peyda.gallery.locks import WriterLock, is_being_indexed
from peyda.gallery.scan import Presence
from peyda.gallery.store.protocol import Store
from peyda.gallery.workers import hash_file
from peyda.types import Photo

_BATCH = 1024
_EXAMPLES = 20
_UNIT_TOLERANCE = 1e-3


@dataclass(slots=True)
class Verification:
    """What `verify` found. Numbers of photographs, and a few example paths for each kind of problem.

    - `missing_vectors`: the catalogue names them, the store has no vector: they cannot be found.
    - `bad_vectors`: vectors with NaN or infinity, or not of length 1.
    - `orphans`: vectors that no photograph owns (left by a crash; harmless). None while an indexer is at work.
    - `gone`: files that are no more. `unreachable`: files whose folder is not there or is empty: its disk is away?
    - `changed`: files whose size or time differs; with `is_deep`, whose content differs.
    - `repaired`: how many of all these were mended.
    """

    photos: int = 0
    vectors: int = 0
    missing_vectors: int = 0
    bad_vectors: int = 0
    orphans: int | None = 0
    gone: int = 0
    unreachable: int = 0
    changed: int = 0
    repaired: int = 0
    is_deep: bool = False
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """True when every photograph that is catalogued can be found: what the files on disk do is another matter."""
        return not (self.missing_vectors or self.bad_vectors or self.orphans)

    @property
    def is_current(self) -> bool:
        """True when the catalogue also agrees with the files on disk."""
        return not (self.gone or self.unreachable or self.changed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above, and `is_sound` and `is_current`."""
        return {**asdict(self), "is_sound": self.is_sound, "is_current": self.is_current}


def verify(
    directory: GalleryDirectory,
    *,
    is_deep: bool = False,
    repair: bool = False,
    forget_missing: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verification:
    """Check a gallery; reading works while others search and index.

    Args:
        directory: The gallery.
        is_deep: Read every file and compare its content with what was indexed.
        repair: Drop orphans and photographs that are gone, and have photographs with a missing or bad vector, or with
            other content, read again by the next `peyda index`.
        forget_missing: With `repair`, also forget photographs whose whole folder is not there.
        progress: Called with photographs done and in all.

    Raises:
        GalleryBusy: `repair` while another process is indexing.
        StorageError: The disk is full, read-only or gone.
    """
    with contextlib.ExitStack() as stack:
        if repair:
            stack.enter_context(WriterLock(directory.path))
        directory.refresh()  # another process may have changed the model since
        catalog = stack.enter_context(contextlib.closing(directory.catalog(readonly=not repair)))
        store = stack.enter_context(contextlib.closing(directory.store(readonly=not repair)))
        check = _Check(directory, catalog, store, is_deep=is_deep)
        check.compare_ids(is_writer_at_work=not repair and is_being_indexed(directory.path))
        check.look_at_photos(progress)
        if repair:
            check.repair(forget_missing=forget_missing)
        return check.result


class _Check:
    """One verification, and the ids of what it found."""

    def __init__(self, directory: GalleryDirectory, catalog: Catalog, store: Store, *, is_deep: bool) -> None:
        self._catalog = catalog
        self._store = store
        self._presence = Presence(directory.manifest.roots)
        self._reachable: dict[str, bool] = {}
        self._orphans: list[int] = []
        self._missing: set[int] = set()
        self._to_forget: list[int] = []
        self._unreachable: list[int] = []
        self._to_read_again: set[int] = set()
        self.result = Verification(is_deep=is_deep)

    def compare_ids(self, *, is_writer_at_work: bool) -> None:
        # The catalogue is read before and after the store: an id that it names both times had its vector all along,
        # whatever an indexer committed in between.
        before = self._catalog.ids()
        stored = self._store.ids()
        after = self._catalog.ids()
        self._missing = set(np.setdiff1d(np.intersect1d(before, after), stored).tolist())
        self.result.photos, self.result.vectors = len(after), len(stored)
        self.result.missing_vectors = len(self._missing)
        self._to_read_again |= self._missing
        if is_writer_at_work:
            self.result.orphans = None  # the latest vectors have no owner yet
        else:
            self._orphans = np.setdiff1d(stored, np.union1d(before, after)).tolist()
            self.result.orphans = len(self._orphans)

    def look_at_photos(self, progress: Callable[[int, int], None]) -> None:
        batch: list[Photo] = []
        done = 0
        for photo in self._catalog.iter_photos(batch=_BATCH):
            self._look_at_file(photo)
            batch.append(photo)
            done += 1
            if len(batch) == _BATCH or self.result.is_deep:
                progress(done, self.result.photos)
            if len(batch) == _BATCH:
                self._look_at_vectors(batch)
                batch = []
        self._look_at_vectors(batch)
        progress(done, self.result.photos)

    def _look_at_file(self, photo: Photo) -> None:
        if photo.id in self._missing:
            self._example("missing_vectors", photo)
        try:
            status = os.stat(photo.path)
            is_changed = (status.st_size, status.st_mtime_ns) != (photo.size_bytes, photo.mtime_ns)
            if self.result.is_deep:
                is_changed = hash_file(photo.path) != photo.content_hash
        except OSError:
            if self._is_reachable(photo.path):
                self.result.gone += 1
                self._to_forget += [photo.id] if self._presence.is_gone(photo.path) else []
                self._example("gone", photo)
            else:
                self.result.unreachable += 1
                self._unreachable.append(photo.id)
                self._example("unreachable", photo)
            return
        if is_changed:
            self.result.changed += 1
            self._to_read_again.add(photo.id)
            self._example("changed", photo)

    def _is_reachable(self, path: str) -> bool:
        root = self._presence.root_of(path)
        if root not in self._reachable:
            self._reachable[root] = self._presence.is_reachable(path)
        return self._reachable[root]

    def _look_at_vectors(self, photos: Iterable[Photo]) -> None:
        with_vector = [photo for photo in photos if photo.id not in self._missing]
        try:
            vectors = self._store.vectors([photo.id for photo in with_vector])
        except KeyError:  # removed by an indexer since we read its id
            pairs = [(photo, self._vector(photo.id)) for photo in with_vector]
            with_vector = [photo for photo, vector in pairs if vector is not None]
            vectors = np.array([vector for _, vector in pairs if vector is not None], np.float32)
        if not with_vector:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            is_good = np.abs(np.linalg.norm(vectors, axis=1) - 1.0) < _UNIT_TOLERANCE  # False for NaN
        for row in np.flatnonzero(~is_good):
            self.result.bad_vectors += 1
            self._to_read_again.add(with_vector[row].id)
            self._example("bad_vectors", with_vector[row])

    def _vector(self, photo_id: int) -> Any:
        try:
            return self._store.vectors([photo_id])[0]
        except KeyError:
            return None

    def _example(self, kind: str, photo: Photo) -> None:
        shown = self.result.examples.setdefault(kind, [])
        if len(shown) < _EXAMPLES:
            shown.append(photo.path)

    def repair(self, *, forget_missing: bool) -> None:
        forget = [*self._to_forget, *(self._unreachable if forget_missing else [])]
        read_again = self._to_read_again.difference(forget)
        with self._catalog.transaction():
            self._catalog.mark_stale(read_again)
            self._catalog.remove(forget)
        try:
            self._store.delete([*forget, *self._orphans])
        except OSError as error:
            raise storage_error("cannot write the vectors", error) from error
        self.result.repaired = len(forget) + len(read_again) + len(self._orphans)


def gallery_size_bytes(path: Path) -> int:
    """Bytes that the files of a gallery, or of one part of it, take on disk."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
