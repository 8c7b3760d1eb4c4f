"""`peyda train baseline`: from data to a model directory, in the order of the steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peyda.errors import DataError
from peyda.training.baseline.backbone import Backbone, make_backbone
from peyda.training.baseline.card import Counts, write_card
from peyda.training.baseline.export import export_baseline
from peyda.training.baseline.features import photo_features, readable, write_skipped
from peyda.training.baseline.fit import BaselineData, Report, ValSet, fit, validate
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.baseline.sources import Sources, read_sources
from peyda.training.baseline.words import WordVectors, cached_words
from peyda.training.checkpoint import keep_to_data
from peyda.training.data import Queries, TrainingData
from peyda.training.features import Progress
from peyda.training.recipe import save_recipe
from peyda.types import Bool, Float32, Int64


@dataclass(frozen=True)
class Prepared:
    """What everything after the features reads."""

    backbone: Backbone
    words: WordVectors
    data: BaselineData
    counts: Counts


def train_baseline(
    recipe: BaselineRecipe,
    data: Path | None,
    run: Path,
    out: Path,
    *,
    report: Report,
    progress: Progress,
    captions: Path | None = None,
    images: Path | None = None,
) -> Path:
    """Train by a recipe and export the model; a rerun with the same arguments resumes.

    Args:
        recipe: What to train.
        data: The development data (`peyda.training.data`), where no table is named.
        run: Directory of this run: caches, checkpoint, `metrics.jsonl`, `recipe.json`, `skipped.jsonl`.
        out: The model directory to write.
        report: Called with a line after every epoch and step.
        progress: Called with (what, done, total) while features are computed.
        captions: A caption table; its splits train and val are read, and rows that a filter rejected are not.
        images: The folder of its photographs.

    Returns:
        `out`.

    Raises:
        ConfigError: `run` belongs to another recipe or other captions; no data, or a table without its folder.
        DataError: The data is not there, a val or test photo is among the training captions, or nothing is left.
        ModelError: The image encoder cannot be had, or the loss is not finite.
        StorageError: The checkpoint cannot be written.
    """
    save_recipe(recipe, run)
    prepared = prepare_baseline(recipe, data, run, report=report, progress=progress, captions=captions, images=images)
    model = fit(recipe, prepared.data, run, report)
    export_baseline(recipe, prepared.backbone, prepared.words, model, out)
    scores = validate(model, prepared.data)
    for name in write_card(recipe, prepared.backbone, prepared.counts, scores, out, run):
        report(f"{name} was measured with other weights: not on the card")
    report(f"model written to {out}")
    return out


def prepare_baseline(
    recipe: BaselineRecipe,
    data: Path | None,
    run: Path,
    *,
    report: Report,
    progress: Progress,
    captions: Path | None = None,
    images: Path | None = None,
) -> Prepared:
    """Read the data, and compute (or find again) word vectors and image features.

    Raises:
        ConfigError: As `train_baseline`.
        DataError: As `train_baseline`.
        ModelError: As `train_baseline`.
    """
    sources = read_sources(recipe, data=data, captions=captions, images=images)
    training, queries = sources.training, sources.queries
    _keep_to_data(run, sources)
    cache = run / "cache"
    words = cached_words(training.texts, recipe.words, cache, seed=recipe.seed)
    backbone = make_backbone(recipe, training.photos, run)
    val_photos = next(iter(queries.values())).photos
    photos = [*training.photos, *val_photos]
    features = photo_features(backbone, photos, cache, progress)
    kept = readable(features)
    skipped = write_skipped(photos, kept, run / "skipped.jsonl")
    at = len(training.photos)
    fitted = _training_arrays(training, words, features[:at], kept[:at])
    val_images, val = _val_arrays(queries, words, features[at:], kept[at:])
    machine = len(training.texts) - sources.native
    counts = Counts(len(fitted[0]), sources.native, machine, len(words.words), len(skipped), sources.table)
    left_out = f", {len(skipped)} photographs skipped ({run / 'skipped.jsonl'})" if skipped else ""
    report(f"{counts.photos} photographs, {len(fitted[1])} captions, {counts.words} words{left_out}")
    return Prepared(backbone, words, BaselineData(*fitted, val_images, val), counts)


def _keep_to_data(run: Path, sources: Sources) -> None:
    """Note what the run is trained on, so that a checkpoint never goes on with other captions."""
    seen = [photo.name for photo in sources.training.photos] + sources.training.texts
    seen += [text for queries in sources.queries.values() for text in queries.texts]
    keep_to_data(run, seen)


def _training_arrays(
    training: TrainingData, words: WordVectors, features: Float32, kept: Bool
) -> tuple[Float32, Float32, list[tuple[Int64, Float32]]]:
    """Features, caption vectors and captions by photo, of photographs that could be read and have a known word."""
    vectors = words.mean_vectors(training.texts)
    is_said = np.asarray((vectors != 0).any(1))
    groups: list[tuple[Int64, Float32]] = []
    rows: list[int] = []
    for photo, (ids, share) in enumerate(training.captions_by_photo()):
        said = is_said[ids] & (share > 0)
        if kept[photo] and said.any():
            rows.append(photo)
            groups.append((ids[said], share[said] / share[said].sum()))
    if len(rows) < 2:
        raise DataError("fewer than two photographs can be trained on", hint="skipped.jsonl in the run says why")
    return features[rows], vectors, groups


def _val_arrays(
    queries: dict[str, Queries], words: WordVectors, features: Float32, kept: Bool
) -> tuple[Float32, dict[str, ValSet]]:
    """Val features and queries, without the photographs that could not be read."""
    row_of = np.cumsum(kept) - 1
    val = {}
    for kind, found in queries.items():
        chosen = kept[found.photo_of]
        if not chosen.any():
            raise DataError(
                f"there are no val queries of kind {kind}", hint="--data DIR names the folder of DATA/README.md"
            )
        texts = [text for text, is_chosen in zip(found.texts, chosen, strict=True) if is_chosen]
        val[kind] = ValSet(words.mean_vectors(texts), row_of[found.photo_of[chosen]])
    return features[kept], val
