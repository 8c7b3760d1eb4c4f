"""`peyda train clip`: the stages of a run in their order, from data to a model directory."""

from __future__ import annotations

from pathlib import Path

from peyda.training.clip import ClipModel, Report, save_recipe, train_heads, tune
from peyda.training.features import Progress
from peyda.training.prepare import prepare
from peyda.training.recipe import Recipe


def train_clip(recipe: Recipe, data: Path, run: Path, out: Path, *, report: Report, progress: Progress) -> Path:
    """Train by a recipe and export the model; a rerun with the same arguments resumes.

    Args:
        recipe: What to train.
        data: The development data (`peyda.training.data`).
        run: Directory of this run: caches, checkpoints, `metrics.jsonl`, `recipe.json`.
        out: The model directory to write.
        report: Called with a line after every epoch and stage.
        progress: Called with (what, done, total) while features are computed.

    Returns:
        `out`.

    Raises:
        ConfigError: `run` belongs to another recipe.
        DataError: The data is not there, or a val or test photo is among the training captions.
        ModelError: A pretrained piece is not installed.
    """
    from peyda.training.export import export_model

    save_recipe(recipe, run)
    prepared = prepare(recipe, data, run, progress)
    report(
        f"{len(prepared.data.photos)} photos, {len(prepared.data.texts)} texts, "
        f"{prepared.tokenizer.get_vocab_size()} pieces"
    )
    model = ClipModel(train_heads(recipe, prepared, run, report), prepared.tower)
    if recipe.tune.epochs:
        model = tune(recipe, prepared, model, run, report)
    export_model(recipe, prepared, model, out)
    report(f"model written to {out}")
    return out
