"""Making outcomes of reading durable, in the one order that a crash at any moment survives.

Vectors first, then the catalogue in one transaction; removals the other way round. So the catalogue never names a
photograph without its vector, and what a crash leaves behind is only vectors that nobody names: readers ignore those
and the next writer sweeps them (`sweep`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from peyda.gallery.catalog import Catalog
from peyda.gallery.directory import storage_error
from peyda.gallery.reasons import FLEETING_REASONS
from peyda.gallery.scan import Found, Presence
from peyda.gallery.store.protocol import Store
from peyda.images import PhotoFacts
from peyda.types import Float32, Photo, Point, Skipped

_COMMIT_EVERY_S = 1.5
_COMMIT_EVERY = 512
_REMOVE_AT_ONCE = 500
_COPIES = 32  # of one photograph that are looked at to tell a move: thousands of copies must not cost millions of looks


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file that was read and embedded: `vector` is `Float32[d]`, of length 1."""

    found: Found
    content_hash: str
    facts: PhotoFacts
    vector: Float32


@dataclass(frozen=True, slots=True)
class Known:
    """A file whose content the gallery has already, under this name or another one."""

    found: Found
    content_hash: str


Outcome = Encoded | Known | Skipped


class Committer:
    """Collects outcomes and commits them together. One thread, holding the `WriterLock`.

    Args:
        catalog: Open to write.
        store: Open to write.
        presence: Says whether the old place of a photograph is really empty.
    """

    def __init__(self, catalog: Catalog, store: Store, presence: Presence) -> None:
        self._catalog = catalog
        self._store = store
        self._presence = presence
        self._encoded: list[Encoded] = []
        self._known: list[Known] = []
        self._skipped: list[Skipped] = []
        self._moved_ids: set[int] = set()
        self._next_id = catalog.next_id()
        self._last_commit = time.monotonic()
        self.added = self.changed = self.moved = self.removed = self.touched = 0
        self.reasons: Counter[str] = Counter()
        self.to_encode: list[Found] = []
        """Files that were taken for known but have to be read after all; the caller empties this."""

    def add(self, outcome: Outcome) -> None:
        """Take one outcome; nothing is durable before `flush`."""
        match outcome:
            case Encoded():
                self._encoded.append(outcome)
            case Known():
                self._known.append(outcome)
            case Skipped():
                self._skipped.append(outcome)

    @property
    def is_due(self) -> bool:
        """Whether it is time to `flush`."""
        waiting = len(self._encoded) + len(self._known) + len(self._skipped)
        return waiting >= _COMMIT_EVERY or (waiting > 0 and time.monotonic() - self._last_commit > _COMMIT_EVERY_S)

    def flush(self) -> None:
        """Commit everything taken so far.

        Raises:
            StorageError: The disk is full, read-only or gone; what was committed earlier stays.
        """
        # All are resolved before anything is written: some copy vectors that others are about to replace.
        rows = [*self._resolve_known(), *map(self._resolve_encoded, self._encoded)]
        unreadable = [known.id for known in map(self._lost_photo, self._skipped) if known is not None]
        with _storage_mapped("the vectors"):
            self._store.upsert([point_of(photo, vector) for photo, vector in rows])
        with self._catalog.transaction():
            self._catalog.put(photo for photo, _ in rows)
            self._catalog.put_skipped(self._skipped)
            self._catalog.remove(unreadable)
        if unreadable:
            with _storage_mapped("the vectors"):
                self._store.delete(unreadable)
        self.removed += len(unreadable)
        self.reasons.update(one.reason for one in self._skipped)
        self._encoded, self._known, self._skipped = [], [], []
        self._last_commit = time.monotonic()

    def remove(self, ids: Iterable[int]) -> None:
        """Forget photographs, a page at a time: first the catalogue, then the vectors."""
        for page in _pages(ids, _REMOVE_AT_ONCE):
            with self._catalog.transaction():
                self._catalog.remove(page)
            with _storage_mapped("the vectors"):
                self._store.delete(page)
            self.removed += len(page)

    def _lost_photo(self, outcome: Skipped) -> Photo | None:
        """What the catalogue has at the path of a file that cannot be read any more, unless that may pass."""
        return None if outcome.reason in FLEETING_REASONS else self._catalog.photo_at(outcome.path)

    def _resolve_encoded(self, outcome: Encoded) -> tuple[Photo, Float32]:
        known = self._catalog.photo_at(outcome.found.path)
        if known is None:
            self.added += 1
        else:
            self.changed += 1
        photo_id = self._new_id() if known is None else known.id
        return _photo(photo_id, outcome.found, outcome.content_hash, outcome.facts), outcome.vector

    def _resolve_known(self) -> Iterator[tuple[Photo, Float32]]:
        resolved = []
        for outcome in self._known:
            if (row := self._resolve_one(outcome)) is None:
                self.to_encode.append(outcome.found)
            else:
                resolved.append(row)
        yield from resolved

    def _resolve_one(self, outcome: Known) -> tuple[Photo, Float32] | None:
        path = outcome.found.path
        twin: Photo | None
        here = self._catalog.photo_at(path)
        twins = self._catalog.photos_with_hash(outcome.content_hash, limit=_COPIES)
        if here is not None and here.content_hash == outcome.content_hash:
            twin = here
        elif here is None:
            # Of several copies, the one whose old place is empty has moved here; each can move only once.
            gone = (one for one in twins if one.id not in self._moved_ids and self._presence.is_gone(one.path))
            twin = next(gone, twins[0] if twins else None)
        else:
            twin = twins[0] if twins else None
        vector = None if twin is None else self._vector_of(twin.id)
        if twin is None or vector is None:
            return None
        if here is not None:
            self.touched, self.changed = self.touched + (twin is here), self.changed + (twin is not here)
            return _photo(here.id, outcome.found, outcome.content_hash, twin), vector
        if twin.id not in self._moved_ids and self._presence.is_gone(twin.path):
            self._moved_ids.add(twin.id)
            self.moved += 1
            return _photo(twin.id, outcome.found, outcome.content_hash, twin), vector
        self.added += 1
        return _photo(self._new_id(), outcome.found, outcome.content_hash, twin), vector

    def _vector_of(self, photo_id: int) -> Float32 | None:
        try:
            return np.array(self._store.vectors([photo_id])[0])
        except KeyError:
            return None

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def sweep(catalog: Catalog, store: Store) -> None:
    """Mend what a crash may have left: drop vectors nobody names, and have files without a vector read again."""
    stored, named = store.ids(), catalog.ids()
    if (orphans := np.setdiff1d(stored, named)).size:
        with _storage_mapped("the vectors"):
            store.delete(orphans.tolist())
    if (missing := np.setdiff1d(named, stored)).size:
        with catalog.transaction():
            catalog.mark_stale(missing.tolist())


def taken_seconds(taken_at: str) -> float:
    """`Photo.taken_at` as seconds since 1970-01-01 of the same zoneless clock."""
    try:
        return datetime.fromisoformat(taken_at).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _photo(photo_id: int, found: Found, content_hash: str, facts: PhotoFacts | Photo) -> Photo:
    is_from_file = facts.taken_from == "file"
    return Photo(
        id=photo_id,
        path=found.path,
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
        content_hash=content_hash,
        format=facts.format,
        width_px=facts.width_px,
        height_px=facts.height_px,
        taken_at=file_time(found.mtime_ns) if is_from_file else facts.taken_at,
        taken_from=facts.taken_from,
        latitude=facts.latitude,
        longitude=facts.longitude,
    )


def point_of(photo: Photo, vector: Float32) -> Point:
    """What the store keeps of a photograph, beside its vector `Float32[d]`."""
    return Point(photo.id, vector, os.path.dirname(photo.path), taken_seconds(photo.taken_at))


def file_time(mtime_ns: int) -> str:
    """A modification time as `Photo.taken_at`: local wall-clock time, ISO 8601, to the second."""
    try:
        return datetime.fromtimestamp(mtime_ns // 1_000_000_000).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):  # a time that no calendar has
        return datetime(1970, 1, 1).isoformat(timespec="seconds")


@contextlib.contextmanager
def _storage_mapped(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(f"cannot write {what}", error) from error


def _pages(values: Iterable[int], size: int) -> Iterator[list[int]]:
    page: list[int] = []
    for value in values:
        page.append(value)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
