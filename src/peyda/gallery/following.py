"""Something opened on a gallery, opened anew when the gallery was brought over to another model.

A search must never mix the vectors of one model with the text tower of another, so whatever holds both is replaced
whole: who is using the old one finishes with it, everybody else gets the new one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from peyda.gallery.directory import MANIFEST_NAME, GalleryDirectory

if TYPE_CHECKING:
    from peyda.gallery.directory import Manifest

Opened = TypeVar("Opened")


class _Held(Generic[Opened]):
    """One opened thing, for which model and vectors it was opened, and how many are using it."""

    def __init__(self, value: Opened, made_for: tuple[object, ...]) -> None:
        self.value = value
        self.made_for = made_for
        self.users = 0


class Following(Generic[Opened]):
    """Thread-safe.

    Args:
        directory: The gallery; its manifest is kept fresh.
        open_one: Opens the thing on a directory of its own, whose manifest stays what it is.
        close_one: Closes it.
    """

    def __init__(
        self,
        directory: GalleryDirectory,
        open_one: Callable[[GalleryDirectory], Opened],
        close_one: Callable[[Opened], None],
    ) -> None:
        self._directory = directory
        self._open_one = open_one
        self._close_one = close_one
        self._lock = threading.RLock()
        self._one_follows = threading.Lock()
        self._current: _Held[Opened] | None = None
        self._retired: list[_Held[Opened]] = []
        self._stamp: tuple[int, int] | None = None
        self._is_closed = False

    @property
    def current(self) -> Opened | None:
        """The thing, without holding on to it; None before anybody asked for it."""
        return None if self._current is None else self._current.value

    def follow(self, prepare: Callable[[Opened], None] = lambda _: None) -> bool:
        """See whether the gallery has another model now, and open the thing anew if so. Costs one `stat` otherwise.

        Args:
            prepare: Called with the new thing before anybody gets it, to warm it up.

        Returns:
            Whether there is a new one.

        Raises:
            GalleryError, ModelError, StorageError: The new one cannot be opened; the old one stays in use.
        """
        stamp = self._look()
        if stamp in (None, self._stamp) or not self._one_follows.acquire(blocking=False):
            return False
        try:
            self._directory.refresh()
            with self._lock:
                current = self._current
            is_new = current is not None and current.made_for != _key(self._directory.manifest)
            if is_new:
                fresh = self._opened()
                try:
                    prepare(fresh.value)
                    self._replace(fresh)
                except BaseException:
                    self._close_one(fresh.value)
                    raise
            self._stamp = stamp
            return is_new
        finally:
            self._one_follows.release()

    @contextlib.contextmanager
    def lease(self) -> Iterator[Opened]:
        """The thing, which stays open while the block lasts. Opened by the first who asks.

        Raises:
            ValueError: `close` was called.
        """
        held = self._take()
        try:
            yield held.value
        finally:
            self._give_back(held)

    def close(self) -> None:
        """Close the thing, also for those who are using it; idempotent."""
        with self._lock:
            self._is_closed = True
            held, self._current = [*self._retired, self._current], None
            self._retired = []
        for one in held:
            if one is not None:
                self._close_one(one.value)

    def _look(self) -> tuple[int, int] | None:
        """Changes whenever another manifest is put in place; None while there is none, its disk being away."""
        try:
            status = os.stat(self._directory.path / MANIFEST_NAME)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _opened(self) -> _Held[Opened]:
        # On a copy: refreshing the gallery's own directory must not change under what model this thing was opened.
        directory = GalleryDirectory(self._directory.path, self._directory.manifest)
        return _Held(self._open_one(directory), _key(directory.manifest))

    def _replace(self, fresh: _Held[Opened]) -> None:
        with self._lock:
            self._check_open()
            old, self._current = self._current, fresh
            if old is not None and old.users:
                self._retired.append(old)  # closed by the last who uses it
                old = None
        if old is not None:
            self._close_one(old.value)

    def _take(self) -> _Held[Opened]:
        with self._lock:
            self._check_open()
            held = self._current = self._current or self._opened()
            held.users += 1
            return held

    def _give_back(self, held: _Held[Opened]) -> None:
        with self._lock:
            held.users -= 1
            is_last = not held.users and held in self._retired
            if is_last:
                self._retired.remove(held)
        if is_last:
            self._close_one(held.value)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("this gallery is closed")


def _key(manifest: Manifest) -> tuple[object, ...]:
    """What must not change under an open gallery: which vectors, and which model for them."""
    return manifest.model, manifest.visual_fingerprint, manifest.embed_dim, manifest.normalizer_version, manifest.store
