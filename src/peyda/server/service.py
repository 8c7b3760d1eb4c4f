"""What a running server holds: the searcher, the catalogue, the thumbnails, and how much may happen at once.

Endpoints ask this object and contain no logic of their own. Everything here blocks, so it is called in worker threads:
searches, pictures and uploads have separate allowances, and a page full of thumbnails never makes a search wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from peyda._version import __version__
from peyda.encoders.protocol import Encoder
from peyda.gallery.catalog import Catalog
from peyda.gallery.directory import GalleryDirectory, default_gallery_dir
from peyda.gallery.following import Following
from peyda.persian import normalize
from peyda.search import Searcher
from peyda.server.problems import Problem
from peyda.server.thumbnails import ThumbnailCache
from peyda.types import Hit, Photo

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_MAX_ID = 2**63 - 1
WARM_UP_QUERY = "سلام"


@dataclass
class Allowances:
    """How many of each kind of work run at the same time; made inside the event loop."""

    searches: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(8))
    pictures: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(max(2, os.cpu_count() or 2)))
    # Each holds up to 64 MB of bytes while they arrive, so few at once keep memory bounded.
    uploads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))


class Service:
    """One gallery, open for reading, with its model.

    Args:
        directory: The gallery.
        encoder: The model; None loads `model`.
        model: Name or directory of the model; None is the one that the gallery was made with.

    Raises:
        GalleryError: The gallery cannot be read, or was made with another model.
        ModelError: The model cannot be loaded.
    """

    def __init__(
        self, directory: GalleryDirectory, encoder: Encoder | None = None, *, model: str | None = None
    ) -> None:
        self.directory = directory
        self._given = (encoder, model)
        self._began_with = directory.manifest.current
        self._searchers = Following(directory, self._open_searcher, Searcher.close)
        with self._searchers.lease():
            pass  # a gallery that cannot be opened should say so now
        self.catalog: Catalog = directory.catalog(readonly=True)
        self.thumbnails = ThumbnailCache(os.fspath(directory.thumbnails))
        self.allowances = Allowances()
        self.is_stopping = threading.Event()
        self._counted = (-1, 0)

    def _open_searcher(self, directory: GalleryDirectory) -> Searcher:
        # What was given is for the vectors that were there at the start; later ones are searched with their own model.
        encoder, model = self._given if directory.manifest.current == self._began_with else (None, None)
        return Searcher(directory, encoder, model=model)

    @property
    def searcher(self) -> Searcher:
        """The searcher of now; `searching` also keeps it open."""
        with self._searchers.lease() as searcher:
            return searcher

    def searching(self) -> contextlib.AbstractContextManager[Searcher]:
        """A searcher that stays open while the block lasts, whatever becomes of the gallery meanwhile."""
        return self._searchers.lease()

    @property
    def model(self) -> str:
        """Name or directory of the model that answers now."""
        manifest = self.searcher.directory.manifest
        return (self._given[1] if manifest.current == self._began_with else None) or manifest.model

    def warm_up(self) -> None:
        """Load the model and answer one query, so that the first person does not wait for either.

        Raises:
            ModelError: The model cannot be loaded.
            GalleryMismatch: It did not make this gallery.
        """
        with self.searching() as searcher:
            _warm(searcher)

    def follow(self) -> bool:
        """Search with the model that the gallery was brought over to since, if it was. Whether it was.

        The new model is loaded and warm before the first search meets it.

        Raises:
            GalleryError, ModelError, StorageError: The new one cannot be used; the old one goes on answering.
        """
        return self._searchers.follow(_warm)

    def tidy(self) -> None:
        """Let the vector store catch up with what an indexer has added, where it has something to catch up with.

        Raises:
            EngineError: It failed; searches stay right without it, only slower.
        """
        with self.searching() as searcher:
            optimize = getattr(searcher.store, "optimize", None)
            if optimize is not None:
                optimize(should_stop=self.is_stopping.is_set)

    def close(self) -> None:
        """Release files; idempotent."""
        self.is_stopping.set()
        self._searchers.close()
        self.catalog.close()

    async def run(self, limiter: CapacityLimiter, work: Callable[..., _Result], *args: Any) -> _Result:
        """Do blocking work in a thread, within an allowance."""
        return await to_thread.run_sync(work, *args, limiter=limiter)

    def photo(self, photo_id: int) -> Photo:
        """What the catalogue knows of one photograph.

        Raises:
            Problem: There is none with that id (404).
        """
        found = self.catalog.photo(photo_id) if 0 <= photo_id <= _MAX_ID else None
        if found is None:
            raise photo_not_found(photo_id)
        return found

    def count(self) -> int:
        """How many photographs the gallery holds; counted again only after an indexer has committed."""
        version = self.catalog.version()
        if self._counted[0] != version:
            self._counted = (version, self.catalog.count())
        return self._counted[1]

    def health(self) -> dict[str, Any]:
        """The reply of `/api/health`."""
        manifest = self.directory.manifest
        return {
            "status": "ok",
            "version": __version__,
            "gallery_id": manifest.gallery_id,
            "photos": self.count(),
            "model": self.model,
            "index_command": index_command(self.directory),
        }

    def reply(self, query: str, hits: list[Hit], took_s: float) -> dict[str, Any]:
        """The reply of a search of any kind."""
        return {
            "query": query,
            "normalized": normalize(query),
            "photos": self.count(),
            "took_ms": round(took_s * 1000, 2),
            "hits": [hit.to_dict() for hit in hits],
        }


def _warm(searcher: Searcher) -> None:
    warm_store = getattr(searcher.store, "warm", None)
    if warm_store is not None:
        warm_store()
    searcher.search(WARM_UP_QUERY, 1)


def photo_not_found(photo_id: int) -> Problem:
    """The refusal for an id that the catalogue does not know."""
    return Problem(
        "PhotoNotFound",
        404,
        f"There is no photograph with the id {photo_id} in this gallery.",
        hint="It may have been removed since; search again.",
    )


def index_command(directory: GalleryDirectory) -> str:
    """The command that adds photographs to this gallery, as one would type it."""
    command = "peyda index ~/Pictures"
    if directory.path == default_gallery_dir():
        return command
    return f"{command} --gallery {shlex.quote(os.fspath(directory.path))}"


async def keep_store_tidy(service: Service, *, every_s: float = 30.0, after_failure_s: float = 3600.0) -> None:
    """Call `service.tidy` now and then, in a thread of its own; runs until it is cancelled.

    A failure is logged and tried again much later: searches stay exact without the accelerator, only slower.
    """
    allowance = CapacityLimiter(1)
    while True:
        try:
            await service.run(allowance, service.tidy)
            await anyio.sleep(every_s)
        except Exception as error:  # noqa: BLE001 - a background convenience must not take the server down
            _log.warning("%s", error)
            await anyio.sleep(after_failure_s)


async def follow_gallery(service: Service, *, every_s: float = 1.0, after_failure_s: float = 30.0) -> None:
    """Call `service.follow` now and then, in a thread of its own; runs until it is cancelled.

    A failure is logged and tried again later: the server goes on with the model and vectors that it has.
    """
    allowance = CapacityLimiter(1)
    while True:
        try:
            if await service.run(allowance, service.follow):
                _log.warning("The gallery has another model now: %s", service.model)
            await anyio.sleep(every_s)
        except Exception as error:  # noqa: BLE001 - searches go on with what is open
            _log.warning("The gallery has changed and cannot be opened anew: %s", error)
            await anyio.sleep(after_failure_s)
