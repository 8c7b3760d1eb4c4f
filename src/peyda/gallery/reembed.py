"""Bringing one generation of vectors in line with the catalogue: drop, move, copy, and embed what is left.

Reads the original photographs with the same workers as the indexer. Where an original is out of reach or cannot be
read, a thumbnail of the very same content that is at least as large as the tower's input stands in; where there is none
either, the photograph is noted as missing and reported. Whatever ends a run, what it committed stays, and the next one
embeds only the rest.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from peyda.encoders import Encoder
from peyda.gallery.changes import ToRead
from peyda.gallery.commit import Encoded, Outcome, point_of
from peyda.gallery.contents import Contents
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import Progress, core_count
from peyda.gallery.rate import RateMeter
from peyda.gallery.reasons import MISSING_FOLDER
from peyda.gallery.scan import Found, Presence
from peyda.gallery.store.protocol import Store
from peyda.gallery.workers import CHUNK, Workers
from peyda.types import Float32, Photo, Skipped

COMMIT_EVERY_S = 1.5
COMMIT_EVERY = 256
_PAGE = 512
_POLL_S = 0.1
_PROGRESS_EVERY_S = 0.1


class _Job(NamedTuple):
    photo: Photo
    is_thumbnail: bool


class Reembedding:
    """One run over one generation. For one thread, which holds the right to write that generation.

    Args:
        directory: The gallery.
        contents: The generation's notes, open to write.
        store: The generation's vectors, open to write.
        encoder: The encoder of the generation.
        progress: Called in this thread, some ten times a second.
        should_stop: Asked often; when it says yes, what is done is committed and the run ends.
        workers: Threads; 0 means one for each core.
    """

    def __init__(
        self,
        directory: GalleryDirectory,
        contents: Contents,
        store: Store,
        encoder: Encoder,
        *,
        progress: Callable[[Progress], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        workers: int = 0,
    ) -> None:
        self._contents = contents
        self._store = store
        self._encoder = encoder
        self._presence = Presence(directory.manifest.roots)
        self._thumbnails = directory.thumbnails
        self._progress = progress
        self._should_stop = should_stop
        self._workers = workers or core_count()
        self._jobs: dict[str, _Job] = {}
        self._again: list[ToRead] = []
        self._ready: list[tuple[Photo, str, Float32]] = []
        self._missing: list[tuple[Photo, str, str]] = []
        self._unsettled: Counter[str] = Counter()
        self._last_commit = self._last_progress = 0.0
        self._total = 0
        self._current = ""
        self._rate = RateMeter()
        self.embedded = self.copied = self.from_thumbnails = 0
        self.reading_s = 0.0
        self.reasons: Counter[str] = Counter()
        self._is_stopped = False

    def bring_in_line(self) -> None:
        """All that needs no photograph: drop what is gone or changed, follow what has moved, copy equal content."""
        if outdated := self._contents.outdated():
            self._store.delete(outdated)
            self._contents.forget(outdated)
        last = -1
        while moved := self._contents.moved(last, _PAGE):
            # The vector first: a crash in between leaves a note that still says "moved".
            vectors = self._store.vectors([photo.id for photo, _ in moved])
            self._store.upsert([point_of(photo, vector) for (photo, _), vector in zip(moved, vectors, strict=True)])
            self._contents.put(moved)
            last = moved[-1][0].id
        last = -1
        while not self._stops() and (copies := self._contents.copies(last, _PAGE)):
            vectors = self._store.vectors([twin for _, twin in copies])
            self._contents.put((photo, photo.content_hash) for photo, _ in copies)
            self._store.upsert([point_of(photo, vector) for (photo, _), vector in zip(copies, vectors, strict=True)])
            last = copies[-1][0].id
            self.copied += len(copies)
            self._report()

    def run(self) -> bool:
        """Do everything that can be done now, also for photographs that an indexer adds meanwhile.

        Returns:
            False when it was stopped before.

        Raises:
            ModelError: The encoder does not work.
            StorageError: The disk is full, read-only or gone; what was committed stays.
            KeyboardInterrupt: Handed on, after what was done is committed.
        """
        started = time.monotonic()
        while not self._stops():
            self.bring_in_line()
            self._total = self._done + self._contents.counts()[2]
            if self._total == self._done or not self._read_pass():
                break
        self.reading_s += time.monotonic() - started
        self._last_progress = 0.0
        self._report()
        return not self._is_stopped

    @property
    def _done(self) -> int:
        return self.embedded + self.copied + self.reasons.total()

    def _read_pass(self) -> bool:
        """Read every photograph that is left once, equal content once only; whether that settled any."""
        before = self._done
        self._last_commit = time.monotonic()
        chunks = self._chunks()
        with Workers(self._encoder, self._workers, lambda _: False) as workers:
            try:
                self._feed_and_collect(workers, chunks)
            except BaseException:
                # Ctrl-C, a broken model: what is finished is worth keeping, unless it is the disk that is broken.
                workers.stop()
                with contextlib.suppress(Exception):
                    while workers.in_flight:
                        self._take(workers.collect(_POLL_S) or ())
                    self._flush()
                raise
            finally:
                self._jobs.clear()
                self._again.clear()
                self._unsettled.clear()
        return self._done > before

    def _feed_and_collect(self, workers: Workers, chunks: Iterator[list[ToRead]]) -> None:
        is_fed = False
        while True:
            is_fed = is_fed and not self._again  # thumbnails that stand in for what could not be read
            while not self._stops() and not is_fed and workers.has_room:
                chunk = next(chunks)
                is_fed = not chunk
                if chunk:
                    workers.submit(chunk)
            if self._is_stopped:
                workers.stop()
            if not workers.in_flight and (is_fed or self._is_stopped):
                break
            self._take(workers.collect(_POLL_S) or ())
            if len(self._ready) + len(self._missing) >= COMMIT_EVERY or self._is_late():
                self._flush()
            self._report()
        self._flush()

    def _is_late(self) -> bool:
        return time.monotonic() - self._last_commit > COMMIT_EVERY_S

    def _chunks(self) -> Iterator[list[ToRead]]:
        """What to read, a chunk at a time; an empty one when there is nothing at the moment."""
        photos = self._photos()
        while True:
            chunk, self._again = self._again[:CHUNK], self._again[CHUNK:]
            while len(chunk) < CHUNK and (photo := next(photos, None)) is not None:
                if not self._is_settled_elsewhere(photo):
                    chunk.append(self._job(photo, Found(photo.path, photo.size_bytes, photo.mtime_ns), False))
            yield chunk

    def _photos(self) -> Iterator[Photo]:
        last = -1
        while page := self._contents.to_read(last, _PAGE):
            yield from page
            last = page[-1].id

    def _is_settled_elsewhere(self, photo: Photo) -> bool:
        """Whether the next pass can copy, or must decide: equal content is on its way, or stored already."""
        if photo.path in self._jobs:
            return True
        return bool(photo.content_hash) and (
            self._unsettled[photo.content_hash] > 0 or self._contents.has_embedded(photo.content_hash)
        )

    def _job(self, photo: Photo, found: Found, is_thumbnail: bool) -> ToRead:
        self._jobs[found.path] = _Job(photo, is_thumbnail)
        self._unsettled[photo.content_hash] += 1
        return ToRead(found, has_twin_size=False)

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            path = outcome.path if isinstance(outcome, Skipped) else outcome.found.path
            job = self._jobs.pop(path)
            self._current = job.photo.path
            if isinstance(outcome, Encoded):
                # A thumbnail is named after the content that it was made from.
                embedded = job.photo.content_hash if job.is_thumbnail else outcome.content_hash
                self._ready.append((job.photo, embedded, outcome.vector))
                self.embedded += 1
                self.from_thumbnails += job.is_thumbnail
            elif isinstance(outcome, Skipped):
                self._fail(job, outcome)

    def _fail(self, job: _Job, outcome: Skipped) -> None:
        photo = job.photo
        if not job.is_thumbnail and (thumbnail := self._thumbnail(photo)) is not None:
            self._again.append(self._job(photo, thumbnail, True))
            self._unsettled[photo.content_hash] -= 1
            return
        reason = outcome.reason if self._presence.is_reachable(photo.path) else MISSING_FOLDER
        self.reasons[reason] += 1
        self._missing.append((photo, reason, outcome.detail))

    def _thumbnail(self, photo: Photo) -> Found | None:
        """The largest stored thumbnail of that very content, unless the tower would have to blow it up."""
        folder = self._thumbnails / photo.content_hash[:2]
        named = re.compile(re.escape(photo.content_hash) + r"-([0-9]{2,5})\.jpg")
        sizes = [int(match[1]) for name in _names(folder) if photo.content_hash and (match := named.fullmatch(name))]
        # Its longer side may be less than its name says, when the photograph itself is that small.
        if not sizes or max(sizes) < min(self._encoder.image_size_px, max(photo.width_px, photo.height_px)):
            return None
        return Found(str(folder / f"{photo.content_hash}-{max(sizes)}.jpg"), 0, 0)

    def _flush(self) -> None:
        self._contents.put((photo, embedded) for photo, embedded, _ in self._ready)
        self._store.upsert([point_of(photo, vector) for photo, _, vector in self._ready])
        self._contents.put_missing(self._missing)
        self._unsettled.subtract(photo.content_hash for photo, _, _ in self._ready)
        self._unsettled.subtract(photo.content_hash for photo, _, _ in self._missing)
        self._unsettled = +self._unsettled  # without those that are settled: it must not grow with the gallery
        self._ready, self._missing = [], []
        self._last_commit = time.monotonic()

    def _stops(self) -> bool:
        self._is_stopped = self._is_stopped or self._should_stop()
        return self._is_stopped

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY_S:
            return
        self._last_progress = now
        rate = self._rate.after(self._done)
        eta_s = max(0, self._total - self._done) / rate if rate > 0 else None
        done, failed = self._done, self.reasons.total()
        self._progress(Progress(done, max(done, self._total), done - failed, failed, rate, eta_s, self._current))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
