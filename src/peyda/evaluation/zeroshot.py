"""Zero-shot classification: a photograph belongs to the class whose Persian name, in sentences, is nearest to it.

A class is the mean of the embeddings of its name in every prompt template, as in CLIP (Radford et al., 2021, section
3.1.4). What scores as high as the true class counts as before it, so that an encoder which maps everything to one
point is right nowhere; the confusion matrix follows the same rule.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.errors import ConfigError, DataError
from peyda.evaluation.figures import can_set_persian, draw_confusion
from peyda.evaluation.labelled import LabelledClass, LabelledSet, embed_labelled
from peyda.evaluation.queries import Progress, embed_texts
from peyda.evaluation.report import WrittenReport
from peyda.evaluation.task import check_finite, model_names, model_records
from peyda.evaluation.writing import json_text, result_folder, write_file, write_json, write_lines
from peyda.metrics import bootstrap_ci, class_scores, confusion_matrix, holm, paired_difference, text_to_image_ranks
from peyda.persian import NORMALIZER_VERSION
from peyda.types import Float32, Int64, Skipped

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder

DEFAULT_TEMPLATES = (
    "{}",
    "عکس {}",
    "عکسی از {}",
    "تصویر {}",
    "تصویری از یک {}",
    "عکس یک {} از نزدیک",
    "در این عکس {} دیده می‌شود",
)
_DECIMALS = 6
_FIGURE = "confusion_matrix.png"
_FILES = ("metrics.json", "classes.json", "confusion_matrix.json", "comparisons.json", _FIGURE, "report.html")


@dataclass(frozen=True, slots=True)
class ModelClasses:
    """What one model made of a labelled set.

    Attributes:
        model: Its name.
        ranks: `Int64[n]`, the rank of each photograph's true class.
        predictions: `Int64[n]`, the class it was taken for.
        confusion: `Int64[c, c]`, row the true class.
    """

    model: str
    ranks: Int64
    predictions: Int64
    confusion: Int64


@dataclass(frozen=True, slots=True)
class ZeroShotReport:
    """The outcome of `evaluate_zeroshot`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each model.
        results: The classes that each model gave, in the order of `metrics`.
        labelled: The photographs that took part.
        run: What `run.json` holds.
        comparisons: Paired tests of every two models.
        skipped: Photographs that took no part, and why.
    """

    metrics: list[dict[str, Any]]
    results: tuple[ModelClasses, ...]
    labelled: LabelledSet
    run: dict[str, Any]
    comparisons: list[dict[str, Any]]
    skipped: tuple[Skipped, ...] = ()

    def classes(self, result: ModelClasses) -> list[dict[str, Any]]:
        """Precision, recall and F1 of every class for one model; an entry of `classes.json`."""
        scores = class_scores(result.confusion)
        return [
            {
                "class": one.key,
                "fa": one.fa[0],
                "photos": int(scores.support[at]),
                "predicted": int(scores.predicted[at]),
                "precision": round(float(scores.precision[at]), _DECIMALS),
                "recall": round(float(scores.recall[at]), _DECIMALS),
                "f1": round(float(scores.f1[at]), _DECIMALS),
            }
            for at, one in enumerate(self.labelled.classes)
        ]

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write the results: metrics, classes, predictions, confusion matrix (JSON and PNG) and the page.

        Raises:
            StorageError: The disk is full, read-only or gone, or `out` is a file.
        """
        from peyda.evaluation.zeroshot_page import zeroshot_page

        problem: ConfigError | None = None
        keys = [one.key for one in self.labelled.classes]
        with result_folder(out, stale=[*_FILES, *figure_names(len(self.results))]) as folder:
            write_lines(folder / "predictions.jsonl", (json_text(line) for line in self._predictions()))
            skipped = ({"image": one.path, "reason": one.reason, "detail": one.detail} for one in self.skipped)
            write_lines(folder / "skipped.jsonl", (json_text(line) for line in skipped))
            classes = [{"model": one.model, "classes": self.classes(one)} for one in self.results]
            write_json(folder / "classes.json", classes)
            matrices = [{"model": one.model, "classes": keys, "matrix": one.confusion.tolist()} for one in self.results]
            write_lines(folder / "confusion_matrix.json", [json_text(matrices)])
            write_json(folder / "comparisons.json", self.comparisons)
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                for name, one in zip(figure_names(len(self.results)), self.results, strict=True):
                    write_file(folder / name, lambda path, one=one: self._draw(one, path))  # type: ignore[misc]
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", zeroshot_page(self, folder))
        return WrittenReport(folder, problem)

    def _draw(self, result: ModelClasses, path: str) -> None:
        is_persian = can_set_persian()
        names = [one.fa[0] if is_persian else one.key for one in self.labelled.classes]
        draw_confusion(result.confusion, names, path, title=f"{result.model} on {self.labelled.name}")

    def _predictions(self) -> list[dict[str, Any]]:
        keys = [one.key for one in self.labelled.classes]
        return [
            {"model": result.model, "image": image, "class": keys[label], "predicted": keys[predicted], "rank": rank}
            for result in self.results
            for image, label, predicted, rank in zip(
                self.labelled.images,
                self.labelled.labels.tolist(),
                result.predictions.tolist(),
                result.ranks.tolist(),
                strict=True,
            )
        ]


def figure_names(models: int) -> list[str]:
    """The files of the confusion matrices, the first model's first."""
    return [_FIGURE, *(f"confusion_matrix_{at}.png" for at in range(2, models + 1))][: max(models, 0)]


def check_template(template: str) -> str:
    """A prompt template as it is.

    Raises:
        ConfigError: It does not say, with one `{}`, where the name goes.
    """
    if template.count("{}") != 1 or template.replace("{}", "").count("{"):
        raise ConfigError(f"{template!r} is no template", hint="write {} where the name goes, such as: عکس {}")
    return template


def class_embeddings(
    encoder: Encoder, classes: Sequence[LabelledClass], templates: Sequence[str], *, synonyms: bool = False
) -> Float32:
    """`Float32[c, d]`, L2-normalised: the mean over templates (and synonyms) of each class's sentences."""
    sentences: list[str] = []
    owners: list[int] = []
    for at, one in enumerate(classes):
        for name in one.fa if synonyms else one.fa[:1]:
            sentences += [template.replace("{}", name) for template in templates]
            owners += [at] * len(templates)
    vectors = embed_texts(encoder, sentences)
    sums = np.zeros((len(classes), encoder.embed_dim), dtype=np.float64)
    np.add.at(sums, np.asarray(owners), vectors)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(norms, 1e-12), dtype=np.float32)


def evaluate_zeroshot(
    encoders: Encoder | Sequence[Encoder],
    labelled: LabelledSet,
    *,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    synonyms: bool = False,
    progress: Progress | None = None,
) -> ZeroShotReport:
    """Classify labelled photographs by the Persian names of their classes.

    Args:
        encoders: The model, or several to compare on the same photographs.
        labelled: The set, see `peyda.evaluation.labelled_formats.read_labelled`.
        templates: Sentences with `{}` where the name goes; their embeddings are averaged.
        synonyms: Average over all names of a class instead of its first one.
        progress: Called with a stage, how many are done, and how many there are.

    Raises:
        DataError: No photograph can be read.
        ModelError: A model gives embeddings that are not finite.
        ConfigError: A template does not say where the name goes.
        ValueError: There is no encoder or no template.
    """
    models = list(encoders) if isinstance(encoders, Sequence) else [encoders]
    if not models or not templates:
        raise ValueError("there must be a model and a template")
    for template in templates:
        check_template(template)
    embedded = [embed_labelled(model, labelled, progress) for model in models]
    rows = sorted(set.intersection(*(set(rows) for _, rows, _ in embedded)))
    if not rows:
        raise DataError(f"no photograph of {labelled.name} could be read", hint="check that they are photographs")
    taken = _only(labelled, rows)
    names = model_names(models)
    results = []
    for name, model, (vectors, mine, _) in zip(names, models, embedded, strict=True):
        images = vectors[np.searchsorted(mine, rows)]
        texts = class_embeddings(model, labelled.classes, templates, synonyms=synonyms)
        check_finite(model, images, texts)
        results.append(_classify(name, images, texts, taken.labels))
    skipped = {one.path: one for one in (*labelled.skipped, *(one for _, _, some in embedded for one in some))}
    return ZeroShotReport(
        metrics=[_metrics(one, taken) for one in results],
        results=tuple(results),
        labelled=taken,
        run={
            "models": model_records(models),
            "normalizer_version": NORMALIZER_VERSION,
            "dataset": labelled.name,
            "photos": len(taken),
            "classes": len(labelled.classes),
            "templates": list(templates),
            "synonyms": synonyms,
            "skipped_images": len(skipped),
        },
        comparisons=_compare(results),
        skipped=tuple(skipped.values()),
    )


def _only(labelled: LabelledSet, rows: list[int]) -> LabelledSet:
    if len(rows) == len(labelled):
        return labelled
    return replace(
        labelled,
        labels=labelled.labels[rows],
        images=tuple(labelled.images[row] for row in rows),
        pixels=None if labelled.pixels is None else labelled.pixels[rows],
    )


def _classify(model: str, images: Float32, classes: Float32, labels: Int64) -> ModelClasses:
    ranks = text_to_image_ranks(images, classes, labels)
    scores = images.astype(np.float64) @ classes.astype(np.float64).T
    scores[np.arange(len(labels)), labels] = -np.inf
    rivals = scores.argmax(axis=1) if classes.shape[0] > 1 else labels
    predictions = np.where(ranks == 1, labels, rivals).astype(np.int64)
    return ModelClasses(model, ranks, predictions, confusion_matrix(labels, predictions, len(classes)))


def _metrics(result: ModelClasses, labelled: LabelledSet) -> dict[str, Any]:
    scores = class_scores(result.confusion)
    hits = np.column_stack([result.ranks <= 1, result.ranks <= 5])
    intervals = np.round(bootstrap_ci(hits, np.arange(len(labelled))), _DECIMALS).tolist()
    return {
        "model": result.model,
        "dataset": labelled.name,
        "task": "zeroshot",
        "photos": len(labelled),
        "classes": len(labelled.classes),
        "top1": round(float(hits[:, 0].mean()), _DECIMALS),
        "top5": round(float(hits[:, 1].mean()), _DECIMALS),
        "macro_recall": round(scores.macro_recall, _DECIMALS),
        "macro_f1": round(scores.macro_f1, _DECIMALS),
        "ci95": {"top1": intervals[0], "top5": intervals[1]},
    }


def _compare(results: Sequence[ModelClasses]) -> list[dict[str, Any]]:
    """Paired tests of every two models; `p_holm` is corrected for the number of pairs compared."""
    hits = [np.column_stack([one.ranks <= 1, one.ranks <= 5]) for one in results]
    pairs = list(combinations(range(len(results)), 2))
    found = [paired_difference(hits[a], hits[b], np.arange(len(hits[a]))) for a, b in pairs]
    lines = []
    for at, metric in enumerate(("top1", "top5")):
        corrected = holm([float(one.p_value[at]) for one in found])
        for (a, b), one, p_holm in zip(pairs, found, corrected, strict=True):
            lines.append(
                {
                    "metric": metric,
                    "first": results[a].model,
                    "second": results[b].model,
                    "difference": round(float(one.difference[at]), _DECIMALS),
                    "ci95": np.round(one.interval[at], _DECIMALS).tolist(),
                    "p": round(float(one.p_value[at]), _DECIMALS),
                    "p_holm": round(p_holm, _DECIMALS),
                }
            )
    return lines
