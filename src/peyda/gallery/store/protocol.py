"""What the gallery may ask of a vector engine, whichever one runs underneath.

The catalogue (`peyda.gallery.catalog`) says which photographs exist; a store only keeps their vectors and the payload
that filters read. So a store may hold points that the catalogue has already forgotten: readers drop those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from peyda.types import Float32, Int64, Point, ScoredId, Where


class Store(Protocol):
    """Nearest neighbours by cosine similarity over points `(id, unit vector, folder, taken_at)`."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns. Refuses non-finite or wrongly sized vectors (ValueError)."""

    def delete(self, ids: Iterable[int]) -> None:
        """Remove points; unknown ids are ignored; durable when it returns."""

    def search(self, vector: Float32, k: int, where: Where | None = None) -> list[ScoredId]:
        """The `k` nearest points that satisfy `where`, ordered by (score descending, id ascending)."""

    def vectors(self, ids: Sequence[int]) -> Float32:
        """Stored vectors, `Float32[len(ids), dim]`, in that order. Raises KeyError for an unknown id."""

    def ids(self) -> Int64:
        """Every stored id, ascending."""

    def count(self, where: Where | None = None) -> int:
        """How many points satisfy `where`."""

    def close(self) -> None:
        """Release files and locks; idempotent."""
