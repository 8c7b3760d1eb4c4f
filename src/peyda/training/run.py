"""`peyda train clip`: the stages of a run in their order, from data to a model directory."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch

from peyda.errors import ConfigError
from peyda.training.checkpoint import log_line
from peyda.training.clip import Report, train_heads, validate
from peyda.training.data import NATIVE
from peyda.training.features import Progress, cached, digest, quantised_features
from peyda.training.heads import DualHeads, JoinedHeads, correct_hubs, join_heads
from peyda.training.memory import fit_transport
from peyda.training.prepare import Prepared, prepare, text_weights
from peyda.training.recipe import Recipe, save_recipe
from peyda.training.tuning import ClipModel, tune
from peyda.types import Float32, Int64


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
        ConfigError: `run` belongs to another recipe, or began with other texts; or `refit` cannot start so.
        DataError: The data is not there, or a val or test photo is among the training captions.
        ModelError: A pretrained piece is not installed.
    """
    from peyda.training.export import export_model, quantize_tower

    _check_refit(recipe)
    save_recipe(recipe, run)
    prepared = prepare(recipe, data, run, progress)
    pieces = prepared.tokenizer.get_vocab_size()
    report(f"{len(prepared.data.photos)} photos, {len(prepared.data.texts)} texts, {pieces} pieces")
    tower, tuned = prepared.tower, None
    if recipe.tune.epochs:
        heads = train_heads(recipe, prepared, run, report)
        model = tune(recipe, prepared, ClipModel(heads, tower), run, report)
        tower, tuned = model.tower, model.heads
    backbone = quantize_tower(recipe, prepared, tower, run / "backbone.onnx")
    quantised = _with_quantised_features(recipe, prepared, backbone, run, progress)
    quantised.data = prepared.data.reweighted(text_weights(recipe.data, english=recipe.refit.english))
    fitted = refit(recipe, quantised, tuned, run, report)
    export_model(recipe, prepared, backbone, fitted, out)
    report(f"model written to {out}")
    return out


def refit(recipe: Recipe, quantised: Prepared, tuned: DualHeads | None, run: Path, report: Report) -> JoinedHeads:
    """Heads fitted to the quantised tower's features: the tuned ones, or fresh ones joined with them.

    Tuned heads have seen every photograph in many crops, fresh ones what quantisation does to it: together they can be
    better than either, and the mean of their cosines costs a search nothing. Each fresh member has a seed of its own.
    """
    if recipe.refit.start == "tuned":
        members = [train_heads(recipe, quantised, run, report, stage="refit", start=tuned)]
    else:
        members = [] if tuned is None else [tuned]
        for n in range(recipe.refit.members):
            plan = dataclasses.replace(recipe, seed=recipe.seed + n)
            members.append(train_heads(plan, quantised, run, report, stage=f"refit-{n + 1}" if n else "refit"))
    images, texts = (
        torch.from_numpy(np.array(features, np.float32))
        for features in (quantised.image_features, quantised.text_features)
    )
    joined = join_heads(members, images, texts)
    scores = validate(quantised, joined, quantised.val_features)
    log_line(run, {"stage": "joined", "members": len(members), **scores}, report)
    if recipe.hubs.share:
        bank = texts[torch.from_numpy(_bank_rows(recipe, quantised))]
        correct_hubs(joined, images, bank, share=recipe.hubs.share, sharpness=recipe.hubs.sharpness)
        scores = validate(quantised, joined, quantised.val_features)
        log_line(run, {"stage": "hubs", **scores}, report)
    return joined


def _check_refit(recipe: Recipe) -> None:
    """Before the hours that come before it.

    Raises:
        ConfigError: The stage cannot start as the recipe has it.
    """
    if recipe.refit.start not in ("fresh", "tuned"):
        raise ConfigError(f"refit.start must be fresh or tuned, not {recipe.refit.start!r}")
    if recipe.refit.start == "tuned" and not recipe.tune.epochs:
        raise ConfigError("refit.start = 'tuned' needs tuned heads", hint="tune.epochs is 0")


def _bank_rows(recipe: Recipe, quantised: Prepared) -> Int64:
    """Rows of some native captions among the text features, each once."""
    native = np.asarray([kind == NATIVE for kind in quantised.data.kinds])
    rows = np.unique(quantised.text_row[native])
    return np.sort(np.random.default_rng(recipe.seed).permutation(rows)[: recipe.hubs.texts])


def _with_quantised_features(
    recipe: Recipe, prepared: Prepared, backbone: Path, run: Path, progress: Progress
) -> Prepared:
    """The same photographs as the quantised tower sees them."""
    tower_key = digest([hashlib.sha256(backbone.read_bytes()).hexdigest()])

    def features(name: str, photos: list[Path], flip: bool) -> Float32:
        path = run / "cache" / f"{name}-int8-{tower_key}-{flip}.npy"
        size = recipe.image.size_px
        return cached(path, lambda: quantised_features(backbone, photos, size_px=size, progress=progress, flip=flip))

    views = [features("train", prepared.data.photos, flip) for flip in (False, True)]
    return dataclasses.replace(
        prepared,
        image_features=views[0],
        feature_views=views,
        val_features=features("val", prepared.queries["val", "sentence"][0].photos, False),
        transport=fit_transport(np.asarray(prepared.frozen_features, np.float32), np.asarray(views[0], np.float32)),
    )
