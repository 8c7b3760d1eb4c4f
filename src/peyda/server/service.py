"""What a running server holds: the searcher, the catalogue, the thumbnails, and how much may happen at once.

Endpoints ask this object and contain no logic of their own. Everything here blocks, so it is called in worker threads:
searches, pictures and uploads have separate allowances, and a page full of thumbnails never makes a search wait.
"""

from __future__ import annotations

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
        self.model = model or directory.manifest.model
        self.searcher = Searcher(directory, encoder, model=model)
        self.catalog: Catalog = directory.catalog(readonly=True)
        self.thumbnails = ThumbnailCache(os.fspath(directory.thumbnails))
        self.allowances = Allowances()
        self.is_stopping = threading.Event()
        self._counted = (-1, 0)

    def warm_up(self) -> None:
        """Load the model and answer one query, so that the first person does not wait for either.

        Raises:
            ModelError: The model cannot be loaded.
            GalleryMismatch: It did not make this gallery.
        """
        warm_store = getattr(self.searcher.store, "warm", None)
        if warm_store is not None:
            warm_store()
        self.searcher.search(WARM_UP_QUERY, 1)

    def tidy(self) -> None:
        """Let the vector store catch up with what an indexer has added, where it has something to catch up with.

        Raises:
            EngineError: It failed; searches stay right without it, only slower.
        """
        optimize = getattr(self.searcher.store, "optimize", None)
        if optimize is not None:
            optimize(should_stop=self.is_stopping.is_set)

    def close(self) -> None:
        """Release files; idempotent."""
        self.is_stopping.set()
        self.searcher.close()
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
