"""What all models of an evaluation are asked: the same queries over the same photographs, embedded by each of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.captions import SkippedRow
from peyda.errors import ModelError
from peyda.evaluation.gallery import GalleryImages, embed_images
from peyda.evaluation.queries import Progress, Queries, embed_texts
from peyda.types import Float32, Skipped

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder


@dataclass(frozen=True, slots=True)
class Task:
    """Queries and photographs, with their embeddings by every model.

    Attributes:
        queries: Those whose photograph every model could read.
        paths: The photographs, files.
        images: For each model `Float32[n, d]`.
        texts: For each model `Float32[q, d]`.
        refused: Photographs that could not be read, and why.
    """

    queries: Queries
    paths: list[str]
    images: list[Float32]
    texts: list[Float32]
    refused: list[Skipped]

    def counts(self, gallery: GalleryImages) -> dict[str, int]:
        """For `run.json`: what took part, and what did not."""
        return {
            "distinct_images": len(self.paths),
            "queries": len(self.queries),
            "empty_captions": self.queries.empty,
            "captions_without_image": self.queries.without_image,
            "skipped_images": len(gallery.skipped) + len(self.refused),
        }


def embed_task(
    models: Sequence[Encoder], queries: Queries, gallery: GalleryImages, progress: Progress | None = None
) -> Task:
    """Embed photographs and queries with every model.

    Raises:
        DataError: No photograph with a query could be read.
        ModelError: A model gives embeddings that are not finite.
    """
    embedded = [embed_images(model, gallery.paths, progress) for model in models]
    # A photograph takes part when every model could read it (they may ask for different sizes).
    rows = sorted(set.intersection(*(set(rows) for _, rows, _ in embedded)))
    new_row = np.full(len(gallery.paths), -1, dtype=np.int64)
    new_row[rows] = np.arange(len(rows))
    queries = queries.moved(new_row)
    images = [vectors[np.searchsorted(mine, rows)] for vectors, mine, _ in embedded]
    texts = [embed_texts(model, queries.texts, progress) for model in models]
    for model, image_vectors, text_vectors in zip(models, images, texts, strict=True):
        check_finite(model, image_vectors, text_vectors)
    refused = {one.path: one for _, _, skipped in embedded for one in skipped}
    return Task(queries, [gallery.paths[row] for row in rows], images, texts, list(refused.values()))


def check_finite(model: Encoder, *embeddings: Float32) -> None:
    """Refuse what a broken model gives.

    Raises:
        ModelError: A value is not finite.
    """
    if not all(np.isfinite(one).all() for one in embeddings):
        raise ModelError(f"model {model.name} gives embeddings that are not finite", hint="export the model again")


def model_names(models: Sequence[Encoder]) -> list[str]:
    """Names that tell the models apart: with a piece of the fingerprint where two are called the same."""
    names = [model.name for model in models]
    return [
        name if names.count(name) == 1 else f"{name}@{model.fingerprint[:8]}"
        for name, model in zip(names, models, strict=True)
    ]


def model_records(models: Sequence[Encoder]) -> list[dict[str, str]]:
    """For `run.json`: the models, by the names of this run."""
    return [
        {"model": name, "fingerprint": model.fingerprint}
        for name, model in zip(model_names(models), models, strict=True)
    ]


def row_records(skipped: Sequence[SkippedRow]) -> list[dict[str, Any]]:
    """For `skipped.jsonl`: lines of the table that are no rows."""
    return [{"line": one.line, "reason": one.reason, "detail": one.detail} for one in skipped]


def filters_record(
    where: Mapping[str, str | Sequence[str]] | None, split: str | None, gallery_images: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """For `run.json`: what chose the queries and the gallery. Files without their folders."""
    return {
        "where": {name: value if isinstance(value, str) else list(value) for name, value in (where or {}).items()},
        "split": split,
        "gallery_images": None if gallery_images is None else os.path.basename(os.fspath(gallery_images)),
    }
