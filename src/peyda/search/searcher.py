"""Query → hits, on this machine: normalise, embed, find the nearest vectors, look the photographs up, rank.

Stores score exactly, round, and break ties by id, so an answer is the same through every door and engine. Points that
the catalogue does not know (yet, or any more) are never shown and never cost a hit. Opening a gallery reads its
manifest, catalogue and vectors; the model is loaded by the first query that needs it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from peyda.errors import QueryError
from peyda.search.query import check_k, check_min_score, prepare_query
from peyda.types import Float32, Hit, Photo, Where

if TYPE_CHECKING:
    from PIL import Image

    from peyda.encoders import Encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.store.protocol import Store

_CACHED_QUERIES = 256  # half a kilobyte per dimension-256 vector: at most a megabyte
_FETCH_GROWTH = 4
_NO_FILTER = Where()


class Searcher:
    """Searches one gallery. Thread-safe; every search sees the last state that an indexer has committed.

    Args:
        directory: The gallery.
        encoder: The dual encoder; when None, the gallery's own model is loaded once a query needs it.
        model: Name or directory of the model to load instead of the one that the gallery names.

    Raises:
        GalleryMismatch: `encoder` did not make this gallery. (A model that is loaded later is checked then.)
        GalleryError, StorageError: The gallery cannot be read.
    """

    def __init__(
        self, directory: GalleryDirectory, encoder: Encoder | None = None, *, model: str | None = None
    ) -> None:
        if encoder is not None:
            directory.check(encoder)
        self.directory = directory
        self._encoder = encoder
        self._model = model
        self._is_closed = threading.Event()
        self._encoder_lock = threading.Lock()
        self._vectors: OrderedDict[str, Float32] = OrderedDict()
        self._vectors_lock = threading.Lock()
        self._catalog = directory.catalog(readonly=True)
        try:
            self._store = directory.store(readonly=True)
        except BaseException:
            self._catalog.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the gallery's files; idempotent."""
        self._is_closed.set()
        self._store.close()
        self._catalog.close()

    @property
    def encoder(self) -> Encoder:
        """The dual encoder, loaded and checked against the gallery on first use.

        Raises:
            ModelError: It cannot be loaded.
            GalleryMismatch: It did not make this gallery.
        """
        with self._encoder_lock:
            if self._encoder is None:
                from peyda.encoders import load_encoder

                loaded = load_encoder(self._model or self.directory.manifest.model)
                self.directory.check(loaded)
                self._encoder = loaded
            return self._encoder

    @property
    def store(self) -> Store:
        """The vectors, open for reading: a long-lived process warms and tidies them."""
        return self._store

    def search(
        self, query: str, k: int = 10, *, min_score: float | None = None, where: Where | None = None
    ) -> list[Hit]:
        """The photographs that a sentence describes best.

        Args:
            query: A plain sentence; nothing in it is an operator.
            k: At most so many hits; exactly min(k, photographs that satisfy `where`) without `min_score`.
            min_score: Leave out hits whose score is lower.
            where: Filters.

        Returns:
            Hits ordered by (score descending, photo_id ascending); ranks start at 1. Empty for an empty gallery.

        Raises:
            QueryError: An empty query, or an argument out of range.
            ModelError, GalleryMismatch: The model cannot be used.
        """
        normalized, wanted, floor = prepare_query(query), check_k(k), check_min_score(min_score)
        return self._nearest(self._text_vector(normalized), wanted, floor, where or _NO_FILTER)

    def search_like(
        self,
        image: Image.Image | Float32,
        k: int = 10,
        *,
        min_score: float | None = None,
        where: Where | None = None,
    ) -> list[Hit]:
        """The photographs that look like a given one; other arguments, order and errors as in `search`.

        `image` is a PIL image of any mode and size, or its embedding `Float32[embed_dim]` (of any length but zero).
        """
        wanted, floor = check_k(k), check_min_score(min_score)
        if isinstance(image, np.ndarray):
            vector = self._checked_vector(image)
        else:
            vector = self.encoder.encode_images([image])[0]
        return self._nearest(vector, wanted, floor, where or _NO_FILTER)

    def similar(
        self, photo_id: int, k: int = 10, *, min_score: float | None = None, where: Where | None = None
    ) -> list[Hit]:
        """The photographs that look like one of the gallery, without that one itself; needs no model.

        Raises:
            QueryError: The gallery has no such photograph.
        """
        wanted, floor = check_k(k), check_min_score(min_score)
        if self._catalog.photo(photo_id) is None:
            raise _no_such_photo(photo_id)
        try:
            vector = self._store.vectors([photo_id])[0]
        except KeyError:
            raise _no_such_photo(photo_id) from None
        return self._nearest(vector, wanted, floor, where or _NO_FILTER, excluded=photo_id)

    def photo(self, photo_id: int) -> Photo | None:
        """What the catalogue knows of one photograph; None when there is no such."""
        return self._catalog.photo(photo_id)

    def count(self) -> int:
        """How many photographs the gallery holds."""
        return self._catalog.count()

    def catch_up(self) -> None:
        """Let the store's accelerator, where it has one, take in what an indexer has added; may take minutes.

        Searches go on meanwhile and lose nothing without it but time. A server calls this now and then, in a thread
        of its own; closing the searcher ends it early.

        Raises:
            EngineError: The accelerator cannot be built.
        """
        optimize, warm = getattr(self._store, "optimize", None), getattr(self._store, "warm", None)
        if optimize is not None and warm is not None:
            optimize(should_stop=self._is_closed.is_set)
            if not self._is_closed.is_set():
                warm()

    def stats(self) -> dict[str, Any]:
        """The gallery at a glance, JSON-ready: the manifest's fields, `path`, and totals of the catalogue."""
        manifest = self.directory.manifest
        return {"path": str(self.directory.path), **manifest.to_dict(), **self._catalog.stats()}

    # Inside

    def _nearest(
        self, vector: Float32, k: int, min_score: float | None, where: Where, *, excluded: int | None = None
    ) -> list[Hit]:
        """Ask the store for more and more until k of its points are photographs that the catalogue knows."""
        fetch = k + (excluded is not None)
        while True:
            scored = self._store.search(vector, fetch, None if where.is_empty else where)
            photos = self._catalog.photos([point.id for point in scored])
            known = [point for point in scored if point.id in photos and point.id != excluded][:k]
            if len(known) == k or len(scored) < fetch:
                break
            fetch *= _FETCH_GROWTH
        kept = [point for point in known if min_score is None or point.score >= min_score]
        return [_hit(rank, point.score, photos[point.id]) for rank, point in enumerate(kept, start=1)]

    def _text_vector(self, normalized: str) -> Float32:
        """`Float32[embed_dim]` of a normalised query; the latest few are remembered."""
        with self._vectors_lock:
            if normalized in self._vectors:
                self._vectors.move_to_end(normalized)
                return self._vectors[normalized]
        vector: Float32 = self.encoder.encode_texts([normalized])[0]
        with self._vectors_lock:
            self._vectors[normalized] = vector
            while len(self._vectors) > _CACHED_QUERIES:
                self._vectors.popitem(last=False)
        return vector

    def _checked_vector(self, vector: Float32) -> Float32:
        dim = self.directory.manifest.embed_dim
        if vector.shape != (dim,):
            raise ValueError(f"an embedding of this gallery has shape ({dim},), not {vector.shape}")
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0:
            raise ValueError("an embedding must be finite and not zero")
        return np.asarray(vector / norm, dtype=np.float32)


def _hit(rank: int, score: float, photo: Photo) -> Hit:
    return Hit(
        rank=rank,
        score=score,
        path=photo.path,
        photo_id=photo.id,
        width_px=photo.width_px,
        height_px=photo.height_px,
        taken_at=photo.taken_at,
        latitude=photo.latitude,
        longitude=photo.longitude,
    )


def _no_such_photo(photo_id: int) -> QueryError:
    return QueryError(f"the gallery has no photograph with id {photo_id}", hint="take the id from a hit of a search")
