"""Indexing: bring a gallery into agreement with folders of photographs.

One run scans (`scan`, `changes`), reads and embeds in all cores (`workers`), and commits every second or so (`commit`)
from the calling thread. Whatever ends a run, what it committed stays and the next run goes on from there; there is no
state of a run that must be recovered.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from peyda.encoders import Encoder
from peyda.errors import DataError, EngineError
from peyda.gallery.catalog import Catalog
from peyda.gallery.changes import STILL_SKIPPED, TO_READ, UNCHANGED, Changes, ToRead
from peyda.gallery.commit import Committer, Encoded, Outcome, sweep
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.gallery.rate import RateMeter
from peyda.gallery.reasons import FLEETING_REASONS, MISSING_FOLDER
from peyda.gallery.scan import Presence, Scope, distinct_roots, holds_something, walk
from peyda.gallery.workers import CHUNK, Workers
from peyda.types import IndexSummary, Skipped

_POLL_S = 0.1
_PROGRESS_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. While it scans, `total` is None and `done` counts files met; then both count files to read.

    `rate` is files a second over the last seconds, `eta_s` seconds to go (None while unknown), `current` the file that
    was finished last.
    """

    done: int
    total: int | None
    added: int = 0
    skipped: int = 0
    rate: float = 0.0
    eta_s: float | None = None
    current: str = ""


def index_photos(
    directory: GalleryDirectory,
    encoder: Encoder,
    roots: Sequence[str] = (),
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    retry_skipped: bool = False,
    remove: bool = True,
    workers: int = 0,
) -> IndexSummary:
    """Bring the gallery into agreement with what is on disk under `roots`.

    Args:
        directory: The gallery.
        encoder: The encoder it was made with.
        roots: Folders (or single photographs); folders are remembered. None at all: everything the gallery knows.
        progress: Called in this thread, some ten times a second.
        should_stop: Asked often; when it says yes, the run commits what is done and ends incomplete.
        retry_skipped: Read files again that were skipped before and have not changed since.
        remove: Forget photographs that are gone from disk.
        workers: Threads; 0 means one for each core.

    Returns:
        What was done. `is_complete` is False when the run was stopped.

    Raises:
        GalleryMismatch: The gallery was made with another model.
        GalleryBusy: Another process is indexing into it.
        DataError: A path was given that does not exist and that the gallery does not know.
        StorageError: The disk is full, read-only or gone; what was committed stays.
        ModelError: The encoder does not work.
        KeyboardInterrupt: Handed on, after what was done is committed.
    """
    directory.check(encoder)
    with WriterLock(directory.path):
        directory.refresh()
        directory.check(encoder)  # again: an upgrade may have ended since
        with contextlib.closing(directory.catalog()) as catalog, contextlib.closing(directory.store()) as store:
            sweep(catalog, store)
            walked, scope = _plan(directory, catalog, roots)
            presence = Presence(directory.manifest.roots)
            committer = Committer(catalog, store, presence)
            with Changes(directory.path, fleeting_reasons=FLEETING_REASONS, retry_skipped=retry_skipped) as changes:
                run = _Run(catalog, committer, changes, progress, should_stop)
                run.scan(walked)
                with directory.catalog(readonly=True) as lookup:
                    run.read(encoder, workers or core_count(), lookup)
                if remove:
                    run.remove_gone(scope, presence)
                summary = run.finish(scope)
            if (optimize := getattr(store, "optimize", None)) is not None and not run.is_stopped:
                # What was indexed is safe already; without its index a big gallery only answers more slowly.
                with contextlib.suppress(EngineError):
                    optimize(should_stop=should_stop)
            return summary


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(directory: GalleryDirectory, catalog: Catalog, roots: Sequence[str]) -> tuple[list[str], Scope]:
    """What to walk, and under what a photograph that is not met may be gone. Remembers new folders."""
    known, presence = Scope(directory.manifest.roots), Presence(directory.manifest.roots)
    if not roots:
        loose = [photo.path for photo in catalog.iter_photos() if not known.covers(photo.path)]
        walked = [*directory.manifest.roots, *(path for path in loose if os.path.exists(path))]
        if not walked and not loose:
            raise DataError("the gallery knows no folder yet", hint="Name one: peyda index ~/Pictures")
        return walked, Scope([*directory.manifest.roots, *loose])
    for path in map(os.path.abspath, roots):
        if not os.path.exists(path) and path not in directory.manifest.roots and not catalog.has_under(path):
            raise DataError(
                f"there is no file or folder {path!r}", hint="Check the spelling, and that its disk is plugged in."
            )
    given = distinct_roots(roots)
    # What is really gone is not walked: then nothing there is met, and it is removed like any other photograph.
    walked = [path for path in given if not presence.is_gone(path)]
    directory.add_roots(path for path in given if os.path.isdir(path) and not known.covers(path))
    return walked, Scope(given)


class _Run:
    """The state of one run."""

    def __init__(
        self,
        catalog: Catalog,
        committer: Committer,
        changes: Changes,
        progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._committer = committer
        self._changes = changes
        self._progress = progress
        self._should_stop = should_stop
        self._started = time.monotonic()
        self._reading_s = 0.0
        self._done = self._total = self._embedded = self._added = self._skipped = 0
        self._current = ""
        self._last_progress = 0.0
        self._rate = RateMeter()
        self.is_stopped = False

    def scan(self, walked: Sequence[str]) -> None:
        """List everything first: it is quick, and only then are the total and the moves known."""
        for count in self._changes.add(walk(walked)):
            if self._stops():
                break
            self._report(Progress(count, None))
        for trouble in self._changes.troubles:
            self._committer.add(trouble)
        self._total = self._changes.count(TO_READ)

    def read(self, encoder: Encoder, count: int, lookup: Catalog) -> None:
        """Read, embed and commit until there is nothing left or it is time to stop."""
        started = time.monotonic()
        chunks = self._chunks()
        with Workers(encoder, count, lookup.has_hash) as workers:
            try:
                self._feed_and_collect(workers, chunks)
            except BaseException:
                # Ctrl-C, a broken model: what is finished is worth keeping, unless it is the disk that is broken.
                workers.stop()
                with contextlib.suppress(Exception):
                    self._drain(workers)
                    self._committer.flush()
                raise
        self._committer.flush()
        self._reading_s = time.monotonic() - started

    def _feed_and_collect(self, workers: Workers, chunks: Iterator[list[ToRead]]) -> None:
        while True:
            while not self._stops() and workers.has_room and (chunk := next(chunks, None)):
                workers.submit(chunk)
            if self.is_stopped:
                workers.stop()
            if not workers.in_flight:
                if self.is_stopped or not self._commit():
                    return
                continue
            self._collect(workers, _POLL_S)
            if self._committer.is_due:
                self._commit()

    def _commit(self) -> bool:
        """Commit; true when that brought up files which have to be read after all."""
        self._committer.flush()
        return bool(self._committer.to_encode)

    def _collect(self, workers: Workers, timeout_s: float) -> None:
        self._take(workers.collect(timeout_s) or ())
        self._report(None)

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self._committer.add(outcome)
            self._done += 1
            is_skipped = isinstance(outcome, Skipped)
            self._skipped += is_skipped
            self._embedded += isinstance(outcome, Encoded)
            self._added += not is_skipped
            self._current = outcome.path if isinstance(outcome, Skipped) else outcome.found.path

    def _drain(self, workers: Workers) -> None:
        while workers.in_flight:  # without a word to `progress`, which may be what failed
            self._take(workers.collect(_POLL_S) or ())

    def _chunks(self) -> Iterator[list[ToRead]]:
        source = self._changes.to_read()
        while True:
            again = [ToRead(found, has_twin_size=False) for found in self._committer.to_encode]
            self._committer.to_encode.clear()
            self._done -= len(again)
            if chunk := again or list(islice(source, CHUNK)):
                yield from (chunk[start : start + CHUNK] for start in range(0, len(chunk), CHUNK))
            else:
                yield []

    def remove_gone(self, scope: Scope, presence: Presence) -> None:
        """Forget photographs that are really gone; those whose root is out of reach are kept and reported."""
        if self.is_stopped:
            return
        kept: dict[str, int] = {}

        def gone() -> Iterator[int]:
            for photo_id, path in self._changes.unseen_photos(scope):
                if presence.is_gone(path):
                    yield photo_id
                elif not presence.is_reachable(path):
                    root = presence.root_of(path)
                    kept[root] = kept.get(root, 0) + 1

        self._committer.remove(gone())
        for root, count in kept.items():
            what = "is empty" if os.path.isdir(root) else "is not there"
            self._committer.add(
                Skipped(
                    root,
                    MISSING_FOLDER,
                    f"This folder {what}, maybe because its disk is not plugged in; its {count} photographs are kept. "
                    "If they are really gone: peyda gallery verify --repair --forget-missing",
                )
            )
        self._committer.flush()

    def finish(self, scope: Scope) -> IndexSummary:
        """Clean the ledger of skipped files, and write down and return what the run did."""
        settled = [] if self.is_stopped else list(self._settled(scope))
        still_skipped = self._changes.count(STILL_SKIPPED)
        committer, seconds = self._committer, time.monotonic() - self._started
        summary = IndexSummary(
            added=committer.added,
            changed=committer.changed,
            moved=committer.moved,
            removed=committer.removed,
            unchanged=self._changes.count(UNCHANGED) + committer.touched,
            skipped=committer.reasons.total() + still_skipped,
            photos=self._catalog.count(),
            seconds=round(seconds, 3),
            photos_per_second=round(self._embedded / self._reading_s, 1) if self._reading_s > 0 else 0.0,
            is_complete=not self.is_stopped,
            reasons=dict(committer.reasons.most_common()),
        )
        with self._catalog.transaction():
            self._catalog.forget_skipped(settled)
            self._catalog.put_run(summary)
        self._last_progress = 0.0
        self._report(None)
        return summary

    def _settled(self, scope: Scope) -> Iterator[str]:
        """Skipped paths with nothing to tell any more: gone from disk, or folders that can be listed again."""
        kept = {trouble.path for trouble in self._changes.troubles}
        for path in self._changes.unseen_skipped(scope):
            if path not in kept and (not os.path.lexists(path) or holds_something(path)):
                yield path

    def _stops(self) -> bool:
        self.is_stopped = self.is_stopped or self._should_stop()
        return self.is_stopped

    def _report(self, progress: Progress | None) -> None:
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY_S:
            return
        self._last_progress = now
        if progress is None:
            rate = self._rate.after(self._done)
            eta_s = (self._total - self._done) / rate if rate > 0 else None
            progress = Progress(self._done, self._total, self._added, self._skipped, rate, eta_s, self._current)
        self._progress(progress)
