"""The same queries as people mistype them: what each kind of mistyping costs, measured on the queries it changes.

A variant (`peyda.persian.typos`) is compared with the clean text of the very queries that it changes, so that a
spelling which few queries have does not look harmless. How many of them the normaliser makes equal again is counted:
those cost nothing, whatever the model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from peyda.captions import CaptionTable, read_captions
from peyda.errors import ConfigError
from peyda.evaluation.figures import draw_bars
from peyda.evaluation.gallery import gather_images
from peyda.evaluation.queries import Progress, collect_queries, dataset_name, embed_texts, of_split, sample_images
from peyda.evaluation.report import WrittenReport
from peyda.evaluation.task import (
    Task,
    check_finite,
    embed_task,
    filters_record,
    model_names,
    model_records,
    row_records,
)
from peyda.evaluation.writing import json_text, result_folder, write_file, write_json, write_lines
from peyda.metrics import bootstrap_ci, mrr, paired_difference, retrieval_ranks
from peyda.persian import NORMALIZER_VERSION, normalize
from peyda.persian.typos import VARIANTS, mistype
from peyda.types import Int64, Skipped

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder

CLEAN = "clean"
_DECIMALS = 6
_EXAMPLES = 3
FIGURE = "robustness.png"
_FILES = ("metrics.json", FIGURE, "report.html")


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """The outcome of `evaluate_robustness`.

    Attributes:
        metrics: What `metrics.json` holds: for each model the clean queries, then one object for each variant.
        run: What `run.json` holds.
        lines: What `ranks.jsonl` holds: model, variant, image, caption_id, text, rank, clean_rank.
        examples: Variant → some queries, clean and mistyped.
        skipped: Images that took no part, and why.
        skipped_rows: Lines of the table that took no part, and why.
    """

    metrics: list[dict[str, Any]]
    run: Mapping[str, Any]
    lines: list[dict[str, Any]]
    examples: Mapping[str, list[tuple[str, str]]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    skipped_rows: list[dict[str, Any]] = field(default_factory=list)

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write the results: metrics, ranks, the figure and the page.

        Raises:
            StorageError: The disk is full, read-only or gone, or `out` is a file.
        """
        from peyda.evaluation.robustness_page import robustness_page

        problem: ConfigError | None = None
        with result_folder(out, stale=_FILES) as folder:
            write_lines(folder / "ranks.jsonl", (json_text(line) for line in self.lines))
            skipped = [{"image": one.path, "reason": one.reason, "detail": one.detail} for one in self.skipped]
            write_lines(folder / "skipped.jsonl", (json_text(line) for line in [*skipped, *self.skipped_rows]))
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                write_file(folder / FIGURE, self._draw)
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", robustness_page(self, folder))
        return WrittenReport(folder, problem)

    def _draw(self, path: str) -> None:
        k = str(self.run["k"][-1])
        models = list(dict.fromkeys(one["model"] for one in self.metrics))
        # One model has its clean queries beside every variant; several have a row of them.
        left_out = {CLEAN} if len(models) == 1 else set()
        mine = [one for one in self.metrics if one["model"] == models[0] and one["queries"]]
        variants = [one["variant"] for one in mine if one["variant"] not in left_out]
        groups = []
        for model in models:
            mine = [one for one in self.metrics if one["model"] == model and one["variant"] in variants]
            if len(models) == 1:
                clean = [one["clean_accuracy_at_k"][k] for one in mine]
                groups.append(("the same queries, clean", clean, [(value, value) for value in clean]))
            name = "as mistyped" if len(models) == 1 else model
            values = [one["accuracy_at_k"][k] for one in mine]
            groups.append((name, values, [one["ci95"]["accuracy_at_k"][k] for one in mine]))
        title = f"Mistyped queries, {self.metrics[0]['dataset']}"
        draw_bars([one.replace("_", " ") for one in variants], groups, path, title=title, label=f"Acc@{k}")


def evaluate_robustness(
    encoders: Encoder | Sequence[Encoder],
    table: CaptionTable | str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    column: str = "caption_fa",
    where: Mapping[str, str | Sequence[str]] | None = None,
    split: str | None = None,
    split_table: str | os.PathLike[str] | None = None,
    gallery_images: str | os.PathLike[str] | None = None,
    ks: Sequence[int] = (10,),
    variants: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> RobustnessReport:
    """Find photographs by mistyped captions.

    Args:
        encoders: The model, or several on the same mistyped queries.
        table: A caption table, or the file of one, with Persian captions.
        images_dir: Where its photographs are.
        column: The column whose captions are the queries.
        where: Column → value, or several: rows to take as queries.
        split: Take only photographs of this split: the others are not in the gallery either.
        split_table: Table of images and splits, where `table` has no column split.
        gallery_images: Further images of the gallery: "all" of `images_dir`, or a file that lists some.
        ks: The k of Acc@k; the last is the one of the figure.
        variants: Codes of `peyda.persian.typos.VARIANTS`; None takes all.
        sample: How many images to draw; None takes all.
        seed: Of the draw and of the slips.
        progress: Called with a stage, how many are done, and how many there are.

    Raises:
        DataError: The table, its column or its photographs cannot be used, or no query is left.
        ModelError: A model gives embeddings that are not finite.
        ValueError: An unknown variant, no encoder, `ks` empty or with a k < 1, or `sample` < 1.
    """
    models = list(encoders) if isinstance(encoders, Sequence) else [encoders]
    ks = sorted(set(ks))
    known = [one.code for one in VARIANTS]
    codes = known if variants is None else list(dict.fromkeys(variants))
    if not models or not ks or ks[0] < 1 or (sample is not None and sample < 1) or not set(codes) <= set(known):
        raise ValueError(f"there must be a model, positive ks and sample, and variants among {', '.join(known)}")
    whole = of_split(table if isinstance(table, CaptionTable) else read_captions(table), split, split_table)
    gallery = gather_images(whole.images(), images_dir, gallery_images)
    queries = collect_queries(whole.select(where) if where else whole, column, gallery)
    if sample is not None:
        queries, gallery = sample_images(queries, gallery, sample, seed)
    task = embed_task(models, queries, gallery, progress)
    dataset = dataset_name(whole.source, where or {}, split)
    mistyped = {code: [mistype(text, code, seed=seed) for text in task.queries.texts] for code in codes}
    metrics: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for at, (name, model) in enumerate(zip(model_names(models), models, strict=True)):
        shared = {"model": name, "dataset": dataset, "task": "robustness", "images": len(task.paths)}
        clean = retrieval_ranks(task.texts[at], task.images[at], task.queries.image_rows).text_to_image
        metrics.append({**shared, "variant": CLEAN, **_accuracy(clean, task.queries.image_rows, ks)})
        for code in codes:
            found, changed, ranks = _variant(model, task, at, clean, mistyped[code], ks)
            metrics.append({**shared, "variant": code, **found})
            lines += _lines(name, code, task, mistyped[code], changed, ranks, clean)
    run = {
        "models": model_records(models),
        "normalizer_version": NORMALIZER_VERSION,
        "table": os.path.basename(whole.source),
        "column": column,
        **filters_record(where, split, gallery_images),
        "sample": sample,
        "seed": seed,
        "k": ks,
        "images": len(task.paths),
        **task.counts(gallery),
        "skipped_rows": len(whole.skipped),
    }
    examples = {code: _examples(task.queries.texts, texts) for code, texts in mistyped.items()}
    return RobustnessReport(
        metrics, run, lines, examples, (*gallery.skipped, *task.refused), row_records(whole.skipped)
    )


def _variant(
    model: Encoder, task: Task, at: int, clean: Int64, texts: list[str], ks: Sequence[int]
) -> tuple[dict[str, Any], list[int], Int64]:
    """The numbers of one variant, the queries that it changes, and their ranks."""
    changed = [one for one, text in enumerate(texts) if text != task.queries.texts[one]]
    same = sum(normalize(texts[one]) == normalize(task.queries.texts[one]) for one in changed)
    counts = {"queries": len(changed), "same_after_normalizing": same}
    if not changed:
        return counts, changed, np.zeros(0, dtype=np.int64)
    vectors = embed_texts(model, [texts[one] for one in changed])
    check_finite(model, vectors)
    own = task.queries.image_rows[changed]
    ranks = retrieval_ranks(vectors, task.images[at], own).text_to_image
    test = paired_difference(_hits(clean[changed], ks), _hits(ranks, ks), own)
    return (
        {
            **counts,
            **{name: value for name, value in _accuracy(ranks, own, ks).items() if name != "queries"},
            "clean_accuracy_at_k": {str(k): round(float((clean[changed] <= k).mean()), _DECIMALS) for k in ks},
            "difference": {
                str(k): {
                    "value": round(float(test.difference[number]), _DECIMALS),
                    "ci95": np.round(test.interval[number], _DECIMALS).tolist(),
                    "p": round(float(test.p_value[number]), _DECIMALS),
                }
                for number, k in enumerate(ks)
            },
        },
        changed,
        ranks,
    )


def _hits(ranks: Int64, ks: Sequence[int]) -> npt.NDArray[np.float64]:
    return np.column_stack([ranks <= k for k in ks]).astype(np.float64)


def _accuracy(ranks: Int64, own: Int64, ks: Sequence[int]) -> dict[str, Any]:
    hits = _hits(ranks, ks)
    intervals = np.round(bootstrap_ci(hits, own), _DECIMALS).tolist()
    return {
        "queries": len(ranks),
        "accuracy_at_k": {
            str(k): round(float(value), _DECIMALS) for k, value in zip(ks, hits.mean(axis=0), strict=True)
        },
        "mrr": round(mrr(ranks), _DECIMALS),
        "ci95": {"accuracy_at_k": {str(k): interval for k, interval in zip(ks, intervals, strict=True)}},
    }


def _lines(
    model: str, code: str, task: Task, texts: list[str], changed: list[int], ranks: Int64, clean: Int64
) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "variant": code,
            "image": task.queries.names[one],
            "caption_id": task.queries.caption_ids[one],
            "text": texts[one],
            "rank": rank,
            "clean_rank": int(clean[one]),
        }
        for one, rank in zip(changed, ranks.tolist(), strict=True)
    ]


def _examples(clean: Sequence[str], mistyped: Sequence[str]) -> list[tuple[str, str]]:
    """Some short queries that the variant changes."""
    pairs = [(one, other) for one, other in zip(clean, mistyped, strict=True) if one != other]
    return sorted(pairs, key=lambda pair: (len(pair[0]), pair))[:_EXAMPLES]
