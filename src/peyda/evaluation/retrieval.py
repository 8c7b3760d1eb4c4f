"""Text→image and image→text retrieval over a caption table.

The rules, so that numbers compare:

- The gallery is the distinct images of the whole table, plus further ones where asked. `where` chooses queries only:
  the same table gives the same gallery whichever captions are asked for. A sample is of images with a query.
- Every caption of the chosen rows is a query, but for empty ones (empty after normalising, too).
- An image without a readable file is in no gallery, and its captions are no queries; both are counted.
- image_to_text ranks the chosen captions; an image has the rank of its best one, and its nDCG counts them all.
- Ties count against the query (`peyda.metrics.ranking`).

`protocol="original"` measures as the original project did (arman-aminian/image-search, `acc_at_k.py`): the gallery is
caption rows, so that a photograph with several captions among them is there several times, and whatever scores as
high as a row's own photograph stands behind it. Its numbers are higher, and 1 for an encoder that has collapsed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from peyda.captions import CaptionTable, read_captions
from peyda.evaluation.gallery import gather_images
from peyda.evaluation.queries import (
    Progress,
    Queries,
    collect_queries,
    dataset_name,
    of_split,
    sample_images,
    sample_rows,
)
from peyda.evaluation.report import DirectionResult, Miss, RetrievalReport, compare, direction_metrics
from peyda.evaluation.task import Task, embed_task, filters_record, model_names, model_records, row_records
from peyda.metrics import RetrievalRanks, ndcg_of_queries, retrieval_ranks
from peyda.persian import NORMALIZER_VERSION
from peyda.types import Int64

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder

Protocol = Literal["peyda", "original"]

DEFAULT_KS = (1, 5, 10)
ORIGINAL_ROWS = 1_000
_MISSES = 12
_MISS_HITS = 3


def evaluate_retrieval(
    encoders: Encoder | Sequence[Encoder],
    table: CaptionTable | str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    column: str = "caption_fa",
    where: Mapping[str, str | Sequence[str]] | None = None,
    split: str | None = None,
    split_table: str | os.PathLike[str] | None = None,
    gallery_images: str | os.PathLike[str] | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    sample: int | None = None,
    seed: int | None = None,
    protocol: Protocol = "peyda",
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> RetrievalReport:
    """Measure how well dual encoders find photographs by their captions, and captions by their photographs.

    Args:
        encoders: The model, or several to compare on the same queries.
        table: A caption table, or the file of one.
        images_dir: Where its photographs are; names resolve by path, then by file name.
        column: The column whose captions are the queries.
        where: Column → value, or several of which one must match: rows to take as queries.
        split: Take only photographs of this split: the others are not in the gallery either.
        split_table: Table of images and splits, where `table` has no column split.
        gallery_images: Further images of the gallery: "all" of `images_dir`, or a file that lists some.
        ks: The k of Acc@k and nDCG@k.
        sample: How many images to draw; None takes all. In the original protocol: how many rows (1,000).
        seed: Of the draw, 0 by default. In the original protocol None takes the first rows, as it did.
        protocol: "peyda", or "original", see the module.
        out: Directory for the result files; None writes nothing.
        progress: Called with a stage ("images", "texts"), how many are done, and how many there are.

    Returns:
        The numbers, the rank of every query, and what was skipped.

    Raises:
        DataError: The table, its column or its photographs cannot be used, or no query is left.
        ModelError: A model gives embeddings that are not finite.
        StorageError: The results cannot be written.
        ValueError: No encoder, `ks` is empty or holds a k < 1, `sample` < 1, or further images in the original
            protocol.
    """
    models = list(encoders) if isinstance(encoders, Sequence) else [encoders]
    ks = _checked(models, ks, sample, protocol, gallery_images)
    whole = of_split(table if isinstance(table, CaptionTable) else read_captions(table), split, split_table)
    whole.column(column)
    gallery = gather_images(whole.images(), images_dir, gallery_images)
    queries = collect_queries(whole.select(where) if where else whole, column, gallery)
    if protocol == "original":
        queries = sample_rows(queries, sample or ORIGINAL_ROWS, seed)
        queries, gallery = sample_images(queries, gallery, len(queries), 0)  # only the photographs of those rows
    elif sample is not None:
        queries, gallery = sample_images(queries, gallery, sample, seed or 0)

    task = embed_task(models, queries, gallery, progress)
    measured = [_measure(name, task, at, ks, protocol) for at, name in enumerate(model_names(models))]
    dataset = dataset_name(whole.source, where or {}, split)
    results = tuple(result for one in measured for result in one.results)
    report = RetrievalReport(
        metrics=[direction_metrics(one, dataset=dataset, protocol=protocol, ks=ks) for one in results],
        ranks=[line for one in measured for line in one.lines],
        run={
            "models": model_records(models),
            "model": models[0].name,
            "fingerprint": models[0].fingerprint,
            "normalizer_version": NORMALIZER_VERSION,
            "protocol": protocol,
            "table": os.path.basename(whole.source),
            "column": column,
            **filters_record(where, split, gallery_images),
            "sample": sample if protocol == "peyda" else sample or ORIGINAL_ROWS,
            "seed": seed,
            "k": ks,
            "images": results[0].images,
            **task.counts(gallery),
            "skipped_rows": len(whole.skipped),
        },
        skipped=(*gallery.skipped, *task.refused),
        skipped_rows=row_records(whole.skipped),
        comparisons=compare(results, ks) if len(models) > 1 else [],
        results=results,
        misses=tuple(miss for one in measured for miss in one.misses),
    )
    if out is not None:
        report.write(out)
    return report


def _checked(
    models: Sequence[Encoder], ks: Sequence[int], sample: int | None, protocol: str, further: object
) -> list[int]:
    ordered = sorted(set(ks))
    if not ordered or ordered[0] < 1:
        raise ValueError(f"ks must be positive integers, not {ordered}")
    if not models:
        raise ValueError("there is no model to measure")
    if sample is not None and sample < 1:
        raise ValueError(f"a sample has at least 1 image, not {sample}")
    if protocol not in ("peyda", "original"):
        raise ValueError(f"there is no protocol {protocol!r}")
    if protocol == "original" and further is not None:
        raise ValueError("the original protocol has no further images in its gallery")
    return ordered


@dataclass(frozen=True, slots=True)
class _Measured:
    """One model's outcome."""

    results: list[DirectionResult]
    lines: list[dict[str, Any]]
    misses: list[Miss]


def _measure(name: str, task: Task, at: int, ks: Sequence[int], protocol: Protocol) -> _Measured:
    queries, images, texts = task.queries, task.images[at], task.texts[at]
    own = queries.image_rows
    if protocol == "original":
        ranks = retrieval_ranks(texts, images[own], np.arange(len(queries)), ties="for")
        gallery_size, image_of_query = len(queries), own[ranks.queried_images]
    else:
        ranks = retrieval_ranks(texts, images, own)
        gallery_size, image_of_query = len(images), ranks.queried_images
    to_image = {k: np.where(ranks.text_to_image <= k, 1.0 / np.log2(1.0 + ranks.text_to_image), 0.0) for k in ks}
    texts_of = np.arange(len(queries)) if protocol == "original" else own
    order = np.argsort(texts_of, kind="stable")
    groups = np.split(ranks.own_texts[order], np.flatnonzero(np.diff(texts_of[order])) + 1)
    to_text = {k: ndcg_of_queries(groups, k) for k in ks}
    results = [
        DirectionResult(name, "text_to_image", ranks.text_to_image, own, gallery_size, gallery_size, to_image),
        DirectionResult(
            name, "image_to_text", ranks.image_to_text, image_of_query, gallery_size, len(queries), to_text
        ),
    ]
    return _Measured(
        results, _rank_lines(name, queries, ranks, image_of_query), _worst(name, task, at, ranks.text_to_image)
    )


def _rank_lines(model: str, queries: Queries, ranks: RetrievalRanks, image_of_query: Int64) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {
            "model": model,
            "direction": "text_to_image",
            "image": name,
            "caption_id": caption_id,
            "caption": text,
            "rank": rank,
        }
        for name, caption_id, text, rank in zip(
            queries.names, queries.caption_ids, queries.texts, ranks.text_to_image.tolist(), strict=True
        )
    ]
    name_of_row: dict[int, str] = {}
    for name, row in zip(queries.names, queries.image_rows.tolist(), strict=True):
        name_of_row.setdefault(row, name)
    lines += [
        {"model": model, "direction": "image_to_text", "image": name_of_row[row], "rank": rank}
        for row, rank in zip(image_of_query.tolist(), ranks.image_to_text.tolist(), strict=True)
    ]
    return lines


def _worst(model: str, task: Task, at: int, ranks: Int64) -> list[Miss]:
    """The worst queries, one for each photograph, each with what was found in its place."""
    misses: list[Miss] = []
    seen: set[int] = set()
    own = task.queries.image_rows
    for query in np.argsort(-ranks, kind="stable").tolist():
        row = int(own[query])
        if len(misses) == _MISSES or ranks[query] == 1:
            break
        if row in seen:
            continue
        seen.add(row)
        scores = task.images[at] @ task.texts[at][query]
        scores[row] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(_MISS_HITS, len(scores) - 1)]
        found = tuple(task.paths[hit] for hit in best.tolist())
        misses.append(Miss(model, task.queries.texts[query], int(ranks[query]), task.paths[row], found))
    return misses
