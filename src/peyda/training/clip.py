"""Training the dual encoder: frozen features and heads first, then the image tower's late stages with them.

Owns the run's directory and its order of stages. Every stage keeps its results there and a rerun goes on where the
last one stopped: feature caches are whole files, and a checkpoint is written after every epoch. An epoch draws its
randomness from (seed, stage, epoch) alone, so that a resumed run makes the very steps that an unbroken one makes.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from peyda.metrics import accuracy_at_k, mrr, text_to_image_ranks
from peyda.training.checkpoint import Checkpoint, log_line
from peyda.training.data import Queries
from peyda.training.heads import DualHeads, contrastive_loss
from peyda.training.lite2 import Lite2
from peyda.training.prepare import Prepared
from peyda.training.recipe import Recipe
from peyda.types import Float32, Int64

Report = Callable[[str], None]


@dataclass
class ClipModel:
    """What a run trains: the heads, and the image tower when it is tuned."""

    heads: DualHeads
    tower: Lite2

    def state_dict(self) -> dict[str, Any]:
        """Weights of both parts."""
        return {"heads": self.heads.state_dict(), "tower": self.tower.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.heads.load_state_dict(state["heads"])
        self.tower.load_state_dict(state["tower"])


class Sampler:
    """Draws batches: every training photo once an epoch, with one of its texts."""

    def __init__(self, prepared: Prepared) -> None:
        self.groups = prepared.data.captions_by_photo()

    def epoch(self, batch: int, rng: np.random.Generator) -> Iterator[tuple[Int64, Int64]]:
        """(photo indices, text indices), both Int64[batch]; the last, smaller batch is left out."""
        order = rng.permutation(len(self.groups))
        for start in range(0, len(order) - batch + 1, batch):
            photos = order[start : start + batch]
            texts = np.asarray([rng.choice(self.groups[p][0], p=self.groups[p][1]) for p in photos])
            yield photos, texts


def pseudo_photographs(
    prepared: Prepared, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Features that stand for ImageNet classes, each with one of its names.

    mean + along · radius · (the class's centred classifier row, unit length) + real · (a real photo's offset): where
    photographs of a class that the backbone knows would lie, for classes that have no photographs here.

    Returns:
        Image features Float32[n, 1280], text features Float32[n, h] and labels Int64[n] (negative, one a class).
    """
    count = recipe.classes.per_batch
    if not count:
        return None
    classes = rng.choice(len(prepared.class_rows), min(count, len(prepared.class_rows)), replace=False)
    real = prepared.image_features[rng.integers(0, len(prepared.image_features), len(classes))]
    offsets = np.asarray(real, np.float32) - prepared.feature_mean
    features = (
        prepared.feature_mean
        + recipe.classes.along * prepared.feature_radius * prepared.class_rows[classes]
        + recipe.classes.real * offsets
    )
    names = [rng.choice(prepared.class_names[c]) for c in classes]
    return (
        torch.from_numpy(np.asarray(features, np.float32)),
        torch.from_numpy(prepared.text_features[names].astype(np.float32)),
        torch.from_numpy(-1 - classes.astype(np.int64)),
    )


@torch.inference_mode()
def evaluate(heads: DualHeads, image_features: Float32, text_features: Float32, queries: Queries) -> dict[str, float]:
    """Acc@1/5/10 and MRR, text to image, gallery = all photos of the set."""
    heads.eval()
    images = heads.image(torch.from_numpy(np.array(image_features, np.float32))).numpy()
    texts = heads.text(torch.from_numpy(np.array(text_features, np.float32))).numpy()
    ranks = text_to_image_ranks(texts, images, queries.photo_of)
    scores = {f"acc@{k}": float(accuracy_at_k(ranks, k)) for k in (1, 5, 10)}
    return {**scores, "mrr": float(mrr(ranks))}


def validate(prepared: Prepared, heads: DualHeads, image_features: Float32) -> dict[str, float]:
    """The numbers that choices are made on: native sentences and short phrases of val, and their mean MRR."""
    out: dict[str, float] = {}
    for kind in ("sentence", "short"):
        queries, features = prepared.queries["val", kind]
        for name, value in evaluate(heads, image_features, features, queries).items():
            out[f"{kind}_{name}"] = round(value, 4)
    out["score"] = round((out["sentence_mrr"] + out["short_mrr"]) / 2, 5)
    return out


def _seed(recipe: Recipe, stage: int, epoch: int) -> np.random.Generator:
    torch.manual_seed(recipe.seed * 1_000_003 + stage * 10_007 + epoch)
    return np.random.default_rng([recipe.seed, stage, epoch])


def _ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - decay)
            else:
                a.copy_(b)


def train_heads(recipe: Recipe, prepared: Prepared, run: Path, report: Report, *, stage: str = "heads") -> DualHeads:
    """Heads on the features of `prepared`; resumes from `STAGE.pt`. Returns the average of the weights (EMA)."""
    settings = recipe.heads
    if stage == "refit":
        plan = recipe.refit
        settings = dataclasses.replace(
            settings, epochs=plan.epochs, batch=plan.batch, learning_rate=plan.learning_rate, scale=plan.scale
        )
        recipe = dataclasses.replace(recipe, classes=dataclasses.replace(recipe.classes, per_batch=plan.per_batch))
    torch.manual_seed(recipe.seed)
    heads = DualHeads(
        prepared.image_features.shape[1],
        prepared.text_features.shape[1],
        settings.dim,
        settings.hidden,
        settings.dropout,
        settings.scale,
    )
    average = copy.deepcopy(heads)
    sampler = Sampler(prepared)
    steps = settings.epochs * (len(sampler.groups) // settings.batch)
    optimizer = torch.optim.AdamW(heads.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(2, steps), pct_start=0.1
    )
    checkpoint = Checkpoint(run / f"{stage}.pt")
    parts = {"heads": heads, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = checkpoint.restore(parts)
    for epoch in range(first, settings.epochs):
        rng = _seed(recipe, 1 if stage == "heads" else 3, epoch)
        heads.train()
        losses = []
        for photos, texts in sampler.epoch(settings.batch, rng):
            views = prepared.feature_views[rng.integers(0, len(prepared.feature_views))]
            images = torch.from_numpy(np.asarray(views[photos], np.float32))
            words = torch.from_numpy(prepared.text_features[prepared.text_row[texts]].astype(np.float32))
            labels = torch.from_numpy(photos)
            if extra := pseudo_photographs(prepared, recipe, rng):
                images, words, labels = (torch.cat(pair) for pair in zip((images, words, labels), extra, strict=True))
            loss = contrastive_loss(heads.image(images), heads.text(words), labels, heads.scale, settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            _ema_update(average, heads, 0.98)
            losses.append(loss.item())
        values = {"loss": float(np.mean(losses)), **validate(prepared, average, prepared.val_features)}
        log_line(run, {"stage": stage, "epoch": epoch + 1, **values}, report)
        checkpoint.save(parts, epoch + 1)
    return average.eval()


def crop_maps(maps: Tensor, smallest: float, rng: np.random.Generator) -> Tensor:
    """A random crop of every map, resized back, and mirrored half of the time: augmentation of cached activations.

    Args:
        maps: Float32[b, c, h, w].
        smallest: Smallest share of a side that is kept.
        rng: Source of randomness.
    """
    b = len(maps)
    sides = torch.from_numpy(rng.uniform(smallest, 1, (b, 2)).astype(np.float32))
    mirror = torch.from_numpy(rng.choice([-1.0, 1.0], b).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-1, 1, (b, 2)).astype(np.float32)) * (1 - sides)
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = sides[:, 0] * mirror, sides[:, 1]
    theta[:, :, 2] = shift
    grid = nn.functional.affine_grid(theta, list(maps.shape), align_corners=False)
    return nn.functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def tune(recipe: Recipe, prepared: Prepared, model: ClipModel, run: Path, report: Report) -> ClipModel:
    """Tune the late stages of the image tower with the heads; resumes from `tune.pt`. Returns the average (EMA)."""
    settings, stage = recipe.tune, recipe.image.stage
    start = model.tower.stage_start[stage]
    late = [*model.tower.blocks[start:].parameters(), *model.tower.head.parameters()]
    average = copy.deepcopy(model)
    sampler = Sampler(prepared)
    steps = settings.epochs * (len(sampler.groups) // settings.batch)
    optimizer = torch.optim.AdamW(
        [
            {"params": late, "lr": settings.tower_learning_rate},
            {"params": list(model.heads.parameters()), "lr": settings.head_learning_rate},
        ],
        weight_decay=settings.weight_decay,
    )
    rates = [settings.tower_learning_rate, settings.head_learning_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(2, steps), pct_start=0.15)
    checkpoint = Checkpoint(run / "tune.pt")
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = checkpoint.restore(parts)
    for m in (model, average):
        m.tower = m.tower.to(memory_format=torch.channels_last)
    for epoch in range(first, settings.epochs):
        began = time.monotonic()
        rng = _seed(recipe, 2, epoch)
        losses = [
            _tune_step(recipe, prepared, model, photos, texts, rng, optimizer, schedule, average)
            for photos, texts in sampler.epoch(settings.batch, rng)
        ]
        values: dict[str, Any] = {
            "loss": float(np.mean(losses)),
            **validate(prepared, average.heads, val_features(recipe, prepared, average)),
        }
        seconds = round(time.monotonic() - began)
        log_line(run, {"stage": "tune", "epoch": epoch + 1, **values, "seconds": seconds}, report)
        checkpoint.save(parts, epoch + 1)
    return average


def val_features(recipe: Recipe, prepared: Prepared, model: ClipModel) -> Float32:
    """Pooled features of the val photos by the model's own tower."""
    from peyda.training.features import late_features

    return late_features(model.tower, prepared.val_maps, stage=recipe.image.stage)


def _tune_step(
    recipe: Recipe,
    prepared: Prepared,
    model: ClipModel,
    photos: Int64,
    texts: Int64,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: ClipModel,
) -> float:
    settings, stage = recipe.tune, recipe.image.stage
    model.heads.train()
    model.tower.train()
    # Batches are small and the photographs few: the running statistics of ImageNet stay.
    for module in model.tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    maps = torch.from_numpy(np.asarray(prepared.maps[np.sort(photos)], np.float32))
    order = torch.from_numpy(np.argsort(np.argsort(photos)))
    maps = crop_maps(maps, settings.crop, rng)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.tower.late(maps.to(memory_format=torch.channels_last), stage)
    images = features.float().mean((2, 3))[order]
    frozen = torch.from_numpy(np.asarray(prepared.image_features[photos], np.float32))
    drift = (images - frozen).square().sum(1).mean() / prepared.feature_radius**2
    words = torch.from_numpy(prepared.text_features[prepared.text_row[texts]].astype(np.float32))
    labels = torch.from_numpy(photos)
    if extra := pseudo_photographs(prepared, recipe, rng):
        images, words, labels = (torch.cat(pair) for pair in zip((images, words, labels), extra, strict=True))
    loss = contrastive_loss(
        model.heads.image(images), model.heads.text(words), labels, model.heads.scale, recipe.heads.smoothing
    )
    loss = loss + settings.anchor * drift
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    _ema_update(average.heads, model.heads, settings.ema)
    _ema_update(average.tower, model.tower, settings.ema)
    return loss.item()
