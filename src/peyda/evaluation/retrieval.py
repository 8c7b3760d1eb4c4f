"""Text→image and image→text retrieval over a caption table.

The rules, so that numbers compare:

- The gallery is the distinct images of the whole table, plus further ones where asked. `where` chooses queries only:
  the same table gives the same gallery whichever captions are asked for.
- Every caption of the chosen rows is a query, but for empty ones (empty after normalising, too).
- An image without a readable file is in no gallery, and its captions are no queries; both are counted.
- image_to_text ranks the chosen captions; an image has the rank of its best one.
- Ties count against the query (`peyda.metrics.ranking`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.captions import CaptionTable, read_captions
from peyda.errors import DataError, ModelError
from peyda.evaluation.gallery import GalleryImages, Progress, embed_images, gather_images
from peyda.evaluation.report import RetrievalReport, direction_metrics
from peyda.metrics import RetrievalRanks, retrieval_ranks
from peyda.persian import NORMALIZER_VERSION, normalize
from peyda.types import Float32, Int64

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder

DEFAULT_KS = (1, 5, 10)
_TEXT_BATCH = 1_024


def evaluate_retrieval(
    encoder: Encoder,
    table: CaptionTable | str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    column: str = "caption_fa",
    where: Mapping[str, str | Sequence[str]] | None = None,
    gallery_images: str | os.PathLike[str] | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> RetrievalReport:
    """Measure how well a dual encoder finds photographs by their captions, and captions by their photographs.

    Args:
        encoder: The model.
        table: A caption table, or the file of one.
        images_dir: Where its photographs are; names resolve by path, then by file name.
        column: The column whose captions are the queries.
        where: Column → value, or several of which one must match: rows to take as queries.
        gallery_images: Further images of the gallery: "all" of `images_dir`, or a file that lists some.
        ks: The k of Acc@k.
        out: Directory for the result files; None writes nothing.
        progress: Called with a stage ("images", "texts"), how many are done, and how many there are.

    Returns:
        The numbers, the rank of every query, and what was skipped.

    Raises:
        DataError: The table, its column or its photographs cannot be used, or no query is left.
        ModelError: The model gives embeddings that are not finite.
        StorageError: The results cannot be written.
        ValueError: `ks` is empty or holds a k < 1.
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 1:
        raise ValueError(f"ks must be positive integers, not {ks}")
    whole = table if isinstance(table, CaptionTable) else read_captions(table)
    whole.column(column)
    gallery = gather_images(whole.images(), images_dir, gallery_images)
    queries = _queries(whole.select(where) if where else whole, column, gallery)
    image_embeddings, rows, refused = embed_images(encoder, gallery.paths, progress)
    row_in_gallery = np.full(len(gallery.paths), -1, dtype=np.int64)
    row_in_gallery[rows] = np.arange(len(rows))
    queries = queries.readable(row_in_gallery)
    text_embeddings = _embed_texts(encoder, queries.texts, progress)
    if not (np.isfinite(image_embeddings).all() and np.isfinite(text_embeddings).all()):
        raise ModelError(f"model {encoder.name} gives embeddings that are not finite", hint="export the model again")
    ranks = retrieval_ranks(text_embeddings, image_embeddings, queries.image_rows)

    dataset = _dataset_name(whole.source, where or {})
    shared: dict[str, Any] = {"model": encoder.name, "dataset": dataset, "images": len(rows), "ks": ks}
    report = RetrievalReport(
        metrics=[
            direction_metrics("text_to_image", ranks.text_to_image, queries.image_rows, **shared),
            direction_metrics("image_to_text", ranks.image_to_text, ranks.queried_images, **shared),
        ],
        ranks=_rank_lines(queries, ranks),
        run={
            "model": encoder.name,
            "fingerprint": encoder.fingerprint,
            "normalizer_version": NORMALIZER_VERSION,
            "table": os.path.basename(whole.source),
            "column": column,
            "where": {name: value if isinstance(value, str) else list(value) for name, value in (where or {}).items()},
            "gallery_images": None if gallery_images is None else os.path.basename(os.fspath(gallery_images)),
            "images": len(rows),
            "queries": len(queries.texts),
            "empty_captions": queries.empty,
            "captions_without_image": queries.without_image,
            "skipped_images": len(gallery.skipped) + len(refused),
            "skipped_rows": len(whole.skipped),
        },
        skipped=(*gallery.skipped, *refused),
        skipped_rows=[{"line": one.line, "reason": one.reason, "detail": one.detail} for one in whole.skipped],
    )
    if out is not None:
        report.write(out)
    return report


@dataclass(frozen=True, slots=True)
class _Queries:
    """The captions that are asked, column by column; `image_rows` points into the gallery."""

    texts: list[str]
    names: list[str]
    caption_ids: list[str]
    image_rows: Int64
    empty: int
    without_image: int

    def readable(self, row_in_gallery: Int64) -> _Queries:
        """Those whose photograph could be read, pointing to its new row (`row_in_gallery`, -1 for none)."""
        rows = row_in_gallery[self.image_rows]
        kept = np.flatnonzero(rows >= 0).tolist()
        if not kept:
            raise DataError("no photograph with a caption could be read", hint="skipped ones: peyda index says why")
        return _Queries(
            [self.texts[at] for at in kept],
            [self.names[at] for at in kept],
            [self.caption_ids[at] for at in kept],
            rows[kept],
            self.empty,
            self.without_image + len(self.texts) - len(kept),
        )


def _queries(table: CaptionTable, column: str, gallery: GalleryImages) -> _Queries:
    texts: list[str] = []
    names: list[str] = []
    caption_ids: list[str] = []
    rows: list[int] = []
    empty = without_image = 0
    for text, name, caption_id in zip(
        table.column(column), table.column("image"), table.column("caption_id"), strict=True
    ):
        if not normalize(text):
            empty += 1
        elif name not in gallery.row_of_name:
            without_image += 1
        else:
            texts.append(text)
            names.append(name)
            caption_ids.append(caption_id)
            rows.append(gallery.row_of_name[name])
    if not texts:
        raise DataError(
            f"{table.source} leaves no query: {empty} captions in {column} are empty, {without_image} have no image",
            hint="choose another --column or --where, or check --images",
        )
    return _Queries(texts, names, caption_ids, np.asarray(rows, dtype=np.int64), empty, without_image)


def _embed_texts(encoder: Encoder, texts: Sequence[str], progress: Progress | None) -> Float32:
    parts = []
    for start in range(0, len(texts), _TEXT_BATCH):
        parts.append(encoder.encode_texts(texts[start : start + _TEXT_BATCH]))
        if progress is not None:
            progress("texts", min(start + _TEXT_BATCH, len(texts)), len(texts))
    return np.concatenate(parts)


def _dataset_name(source: str, where: Mapping[str, str | Sequence[str]]) -> str:
    name = os.path.basename(source).split(".")[0]
    filters = ",".join(
        f"{key}={value if isinstance(value, str) else '|'.join(value)}" for key, value in sorted(where.items())
    )
    return f"{name}[{filters}]" if filters else name


def _rank_lines(queries: _Queries, ranks: RetrievalRanks) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {"direction": "text_to_image", "image": name, "caption_id": caption_id, "caption": text, "rank": rank}
        for name, caption_id, text, rank in zip(
            queries.names, queries.caption_ids, queries.texts, ranks.text_to_image.tolist(), strict=True
        )
    ]
    name_of_row: dict[int, str] = {}
    for name, row in zip(queries.names, queries.image_rows.tolist(), strict=True):
        name_of_row.setdefault(row, name)
    lines += [
        {"direction": "image_to_text", "image": name_of_row[row], "rank": rank}
        for row, rank in zip(ranks.queried_images.tolist(), ranks.image_to_text.tolist(), strict=True)
    ]
    return lines
