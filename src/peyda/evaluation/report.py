"""What a retrieval evaluation leaves behind: the numbers and how they came about, as records and as files.

```text
OUT/
├── ranks.jsonl            one line a query and model: model, direction, image, caption_id, caption, rank
├── skipped.jsonl          one line for each image or row of the table that took no part, with its reason
├── comparisons.json       paired tests between models (an empty list where there is one)
├── run.json               models, table, filters and counts, to do it again
├── metrics.json           the numbers (where it is, the files above are whole)
├── accuracy_at_k.png      Acc@k against k, of both directions (where matplotlib is installed)
├── accuracy_at_k_log.png  the same, k logarithmic
└── report.html            all of it on a page, with the worst misses as pictures
```
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.errors import ConfigError
from peyda.evaluation.figures import Curve, draw_accuracy
from peyda.evaluation.writing import json_text, result_folder, write_file, write_json, write_lines
from peyda.metrics import accuracy_at_k, bootstrap_ci, holm, mean_rank, median_rank, mrr, paired_difference
from peyda.types import Int64, Skipped

Float64 = npt.NDArray[np.float64]

_DECIMALS = 6
_CURVE_POINTS = 90
FIGURES = ("accuracy_at_k.png", "accuracy_at_k_log.png")
_FILES = ("metrics.json", "comparisons.json", *FIGURES, "report.html")


@dataclass(frozen=True, slots=True)
class DirectionResult:
    """The ranks of one model in one direction.

    Attributes:
        model: The model's name; different for every model of a run.
        direction: "text_to_image" or "image_to_text".
        ranks: `Int64[q]`.
        image_of_query: `Int64[q]`.
        images: Images in the gallery.
        candidates: What a query chooses among: images of the gallery, or texts.
        ndcg: k → `Float64[q]`, nDCG@k of every query.
    """

    model: str
    direction: str
    ranks: Int64
    image_of_query: Int64
    images: int
    candidates: int
    ndcg: Mapping[int, Float64]


@dataclass(frozen=True, slots=True)
class Miss:
    """A query that went wrong, as a page shows it.

    Attributes:
        model: The model's name.
        caption: What was asked.
        rank: Of its own photograph.
        own: Its own photograph, a file.
        found: What came first instead, files.
    """

    model: str
    caption: str
    rank: int
    own: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """The outcome of `evaluate_retrieval`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each model and direction, text_to_image first.
        ranks: What `ranks.jsonl` holds.
        run: What `run.json` holds.
        skipped: Images that took no part, and why.
        skipped_rows: Lines of the table that took no part, and why.
        comparisons: What `comparisons.json` holds.
        results: The ranks behind the metrics, in their order.
        misses: The worst text-to-image queries.
    """

    metrics: list[dict[str, Any]]
    ranks: list[dict[str, Any]]
    run: Mapping[str, Any]
    skipped: tuple[Skipped, ...] = ()
    skipped_rows: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    results: tuple[DirectionResult, ...] = ()
    misses: tuple[Miss, ...] = ()

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write all files into the directory `out`, made where it is missing.

        The numbers come first, so that nothing that goes wrong with pictures can cost them.

        Raises:
            StorageError: The disk is full, read-only or gone, or `out` is a file.
        """
        from peyda.evaluation.retrieval_page import retrieval_page

        problem: ConfigError | None = None
        with result_folder(out, stale=_FILES) as folder:
            write_lines(folder / "ranks.jsonl", (json_text(line) for line in self.ranks))
            skipped = [{"image": one.path, "reason": one.reason, "detail": one.detail} for one in self.skipped]
            write_lines(folder / "skipped.jsonl", (json_text(line) for line in [*skipped, *self.skipped_rows]))
            write_json(folder / "comparisons.json", self.comparisons)
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                self._draw(folder)
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", retrieval_page(self, folder))
        return WrittenReport(folder, problem)

    def _draw(self, folder: Path) -> None:
        curves = [accuracy_curve(one) for one in self.results]
        what = "photographs" if self.metrics[0]["protocol"] == "peyda" else "caption rows (the original's protocol)"
        title = f"{self.metrics[0]['dataset']}, {self.metrics[0]['images']:,} {what}"
        images = max(one.candidates for one in self.results if one.direction == "text_to_image")
        for name, is_log in zip(FIGURES, (False, True), strict=True):

            def save(path: str, is_log: bool = is_log) -> None:
                draw_accuracy(curves, path, title=title, images=images, is_log=is_log)

            write_file(folder / name, save)


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where a report was written; `figure_problem` says why it has no figures, where it has none."""

    folder: Path
    figure_problem: ConfigError | None = None


def direction_metrics(result: DirectionResult, *, dataset: str, protocol: str, ks: Iterable[int]) -> dict[str, Any]:
    """One object of `metrics.json`; intervals are 95 % ones from resampled images.

    Args:
        result: The ranks, at least one.
        dataset: What was measured on.
        protocol: "peyda" or "original".
        ks: The k of Acc@k and nDCG@k.
    """
    ks = list(ks)
    ranks = result.ranks
    graded = [result.ndcg[k] for k in ks]
    values = np.column_stack([*(ranks <= k for k in ks), *graded, 1.0 / ranks, ranks])  # (queries, 2 len(ks) + 2)
    intervals = np.round(bootstrap_ci(values, result.image_of_query), _DECIMALS).tolist()
    return {
        "model": result.model,
        "dataset": dataset,
        "direction": result.direction,
        "queries": len(ranks),
        "images": result.images,
        "accuracy_at_k": {str(k): round(accuracy_at_k(ranks, k), _DECIMALS) for k in ks},
        "mrr": round(mrr(ranks), _DECIMALS),
        "median_rank": median_rank(ranks),
        "mean_rank": round(mean_rank(ranks), _DECIMALS),
        "ndcg_at_k": {str(k): round(float(one.mean()), _DECIMALS) for k, one in zip(ks, graded, strict=True)},
        "ci95": {
            "accuracy_at_k": {str(k): interval for k, interval in zip(ks, intervals, strict=False)},
            "mrr": intervals[-2],
            "mean_rank": intervals[-1],
            "ndcg_at_k": {str(k): interval for k, interval in zip(ks, intervals[len(ks) :], strict=False)},
        },
        "protocol": protocol,
    }


def accuracy_curve(result: DirectionResult) -> Curve:
    """Acc@k for every k worth a point, with its interval."""
    most = result.candidates
    few = np.arange(1, min(most, 20) + 1)
    spread = [np.geomspace(1, most, _CURVE_POINTS // 2), np.linspace(1, most, _CURVE_POINTS // 2)]
    ks = np.unique(np.concatenate([few, *(np.round(one) for one in spread)])).astype(np.int64)
    is_secondary = result.direction == "image_to_text"
    accuracy = np.searchsorted(np.sort(result.ranks), ks, side="right") / len(result.ranks)
    if is_secondary:
        return Curve(result.model, ks, accuracy, accuracy, accuracy, is_secondary)
    low, high = bootstrap_ci(result.ranks[:, None] <= ks, result.image_of_query, resamples=500).T
    return Curve(result.model, ks, accuracy, low, high)


def compare(results: Sequence[DirectionResult], ks: Sequence[int]) -> list[dict[str, Any]]:
    """Paired tests of every two models, for each direction, Acc@k and MRR.

    `p_holm` is `p` corrected by Holm's method for the number of pairs compared.
    """
    lines: list[dict[str, Any]] = []
    names = [*(f"accuracy_at_{k}" for k in ks), "mrr"]
    for direction in dict.fromkeys(one.direction for one in results):
        same = [one for one in results if one.direction == direction]
        pairs = [(first, second) for at, first in enumerate(same) for second in same[at + 1 :]]
        found = [paired_difference(_values(a, ks), _values(b, ks), a.image_of_query) for a, b in pairs]
        for at, name in enumerate(names):
            corrected = holm([float(one.p_value[at]) for one in found])
            for (first, second), one, p_holm in zip(pairs, found, corrected, strict=True):
                lines.append(
                    {
                        "direction": direction,
                        "metric": name,
                        "first": first.model,
                        "second": second.model,
                        "queries": len(first.ranks),
                        "difference": round(float(one.difference[at]), _DECIMALS),
                        "ci95": np.round(one.interval[at], _DECIMALS).tolist(),
                        "p": round(float(one.p_value[at]), _DECIMALS),
                        "p_holm": round(p_holm, _DECIMALS),
                    }
                )
    return lines


def _values(result: DirectionResult, ks: Sequence[int]) -> Float64:
    return np.column_stack([*(result.ranks <= k for k in ks), 1.0 / result.ranks])
